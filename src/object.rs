//! JSON objects, and nothing else. What serde derives for a struct also takes a list of its fields'
//! values, which no description of a door promises.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A value that was written as an object.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads a list of objects, for `deserialize_with`.
///
/// # Errors
/// Where it is none.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Line {
        id: String,
        quantity: u32,
    }

    #[derive(Deserialize)]
    struct Wanted {
        #[serde(deserialize_with = "objects")]
        lines: Vec<Line>,
    }

    fn read(json: &str) -> Option<Vec<Line>> {
        serde_json::from_str::<Object<Wanted>>(json).ok().map(|Object(wanted)| wanted.lines)
    }

    #[test]
    fn lists_of_values_are_no_objects() {
        let line = Line { id: "1".to_owned(), quantity: 2 };
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
