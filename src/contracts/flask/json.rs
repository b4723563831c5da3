//! JSON in the format of Python's `json.dumps`, which consumers rely on: spaces as in

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Serializes `value` as `json.dumps` does.
pub(super) fn dumps(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, PythonFormatter))?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: Write + ?Sized>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }

    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        w: &mut W,
        text: &str,
    ) -> io::Result<()> {
        for character in text.chars() {
            if matches!(character, ' '..='~') {
                write!(w, "{character}")?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(w, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_is_pythons() {
        // json.dumps({"a": [1, 2.0, None, True], "b": {}, "c": "é€😀\x7f\"\n"})
        let value = json!({"a": [1, 2.0, null, true], "b": {}, "c": "é€😀\x7f\"\n"});
        assert_eq!(
            dumps(&value).unwrap(),
            "{\"a\": [1, 2.0, null, true], \"b\": {}, \
             \"c\": \"\\u00e9\\u20ac\\ud83d\\ude00\\u007f\\\"\\n\"}"
        );
    }
}
