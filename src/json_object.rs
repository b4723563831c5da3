//! Deserializes structs from JSON objects only. What serde derives also accepts an array of the
//! fields' values, which no API description mentions.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A value deserialized from a JSON object.
#[derive(Debug)]
pub struct JsonObject<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JsonObjectVisitor(PhantomData)).map(Self)
    }
}

struct JsonObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for JsonObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Deserializes an array of objects, for `deserialize_with`.
///
/// # Errors
/// For anything else.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<JsonObject<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|JsonObject(value)| value).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct BodyLine {
        id: String,
        quantity: u32,
    }

    #[derive(Deserialize)]
    struct Body {
        #[serde(deserialize_with = "objects")]
        lines: Vec<BodyLine>,
    }

    fn read(json: &str) -> Option<Vec<BodyLine>> {
        serde_json::from_str::<JsonObject<Body>>(json).ok().map(|JsonObject(body)| body.lines)
    }

    #[test]
    fn arrays_of_field_values_are_rejected() {
        let line = BodyLine { id: "1".to_owned(), quantity: 2 };
        assert_eq!(read(r#"{"lines": [{"id": "1", "quantity": 2}]}"#), Some(vec![line]));
        for json in [
            r#"[[{"id": "1", "quantity": 2}]]"#,
            r#"{"lines": [["1", 2]]}"#,
            r#"{"lines": {"id": "1", "quantity": 2}}"#,
            r#"{"lines": [null]}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
