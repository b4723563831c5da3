//! Converts message headers between AMQP tables and JSON.

use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value};

/// Headers as JSON. Byte arrays become text, timestamps become seconds since 1970.
pub(super) fn to_json(table: &FieldTable) -> Map<String, Value> {
    table.into_iter().map(|(name, value)| (name.as_str().to_owned(), json(value))).collect()
}

/// JSON as headers. Names that are too long for AMQP are omitted. No broker can have sent them.
pub(super) fn to_amqp(headers: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, amqp(value));
        }
    }
    table
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Float(value) => (*value).into(),
        AMQPValue::Double(value) => (*value).into(),
        AMQPValue::DecimalValue(value) => format!("{}e-{}", value.value, value.scale).into(),
        AMQPValue::ShortString(value) => value.as_str().into(),
        AMQPValue::LongString(value) => value.to_string().into(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json).collect(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::FieldTable(table) => Value::Object(to_json(table)),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::Void => Value::Null,
    }
}

fn amqp(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => AMQPValue::LongLongInt(whole),
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            AMQPValue::FieldArray(values.iter().map(amqp).collect::<Vec<_>>().into())
        }
        Value::Object(headers) => AMQPValue::FieldTable(to_amqp(headers)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_a_round_trip() {
        let said = json!({
            "text": "a", "number": -1, "half": 0.5, "yes": true, "nothing": null,
            "x-death": [{"count": 2, "queue": "q"}],
        });
        let Value::Object(headers) = said else { unreachable!("an object") };
        assert_eq!(to_json(&to_amqp(&headers)), headers);
    }
}
