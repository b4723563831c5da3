//! Python annotations of Rust types, for the generated stub and for `__annotations__`.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

/// A Rust type that has an annotation in Python.
pub(super) trait Annotation {
    /// The annotation, such as `str | None`.
    fn annotation() -> String;
}

macro_rules! annotation {
    ($($type:ty => $annotation:literal,)+) => {
        $(impl Annotation for $type {
            fn annotation() -> String {
                $annotation.to_owned()
            }
        })+
    };
}

annotation! {
    String => "str",
    bool => "bool",
    u8 => "int",
    u16 => "int",
    u32 => "int",
    u64 => "int",
    i32 => "int",
    i64 => "int",
    Decimal => "Decimal",
    DateTime<Utc> => "datetime",
}

impl<T: Annotation> Annotation for Option<T> {
    fn annotation() -> String {
        format!("{} | None", T::annotation())
    }
}
