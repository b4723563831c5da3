//! Declarations of settings. [`settings!`] declares each setting once, with its parser, default,
//! environment variables and help text; `config` gathers the values.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use crate::error::{Error, ErrorKind, Result};

/// The declaration of one setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name as a flag and in `order-engine.toml`.
    pub name: &'static str,
    /// The environment variables that set it; the first one that is set takes precedence.
    pub variables: &'static [&'static str],
    /// Whether its value is masked wherever it is shown.
    pub is_secret: bool,
    /// Its default; empty for none.
    pub default: &'static str,
    /// Its meaning, with unit and range.
    pub help: &'static str,
}

impl Setting {
    /// The problem of a required setting that is not set.
    #[must_use]
    pub fn missing(&self) -> String {
        let variables = self.variables.join(" or ");
        format!("{} is not set. Set {variables}, or give it as a flag.", self.name)
    }
}

/// A value and where it was set.
#[derive(Clone, Debug)]
pub struct SettingValue {
    /// The text.
    pub text: String,
    /// `flag`, `environment (DATABASE_URL)`, `.env (DATABASE_URL)` or `order-engine.toml`.
    pub origin: String,
}

/// The values that were set, by the name of the setting. Empty, every setting has its default.
#[derive(Debug, Default)]
pub struct Values(HashMap<&'static str, SettingValue>);

impl Values {
    /// Sets a value, unless the setting has one.
    pub fn set(&mut self, name: &'static str, value: SettingValue) {
        self.0.entry(name).or_insert(value);
    }

    /// The value that was set, also an empty one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SettingValue> {
        self.0.get(name)
    }
}

/// What is wrong with the settings, one sentence each.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem, once.
    pub fn add(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Returns `value` when there are no problems.
    ///
    /// # Errors
    /// `Misconfigured`, one line for each problem, also under the context key `problems`.
    pub fn into_result<T>(self, value: T) -> Result<T> {
        if self.0.is_empty() { Ok(value) } else { Err(self.into_error()) }
    }

    /// `Misconfigured`, one line for each problem, also under the context key `problems`.
    #[must_use]
    pub fn into_error(self) -> Error {
        let problems = self.0.join("\n");
        Error::new(ErrorKind::Misconfigured, &problems).with("problems", &problems)
    }
}

/// One setting while it is parsed. A wrong value is a problem and reads as some valid value.
pub struct Reader<'a> {
    /// The setting.
    pub setting: &'static Setting,
    values: &'a Values,
    problems: &'a mut Problems,
}

impl<'a> Reader<'a> {
    /// Reads `setting` from `values`.
    pub fn new(setting: &'static Setting, values: &'a Values, problems: &'a mut Problems) -> Self {
        Self { setting, values, problems }
    }

    /// The value that was set, otherwise the default; none when that is empty.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        let set = self.values.get(self.setting.name).map(|value| value.text.as_str());
        set.filter(|text| !text.is_empty())
            .or(Some(self.setting.default))
            .filter(|text| !text.is_empty())
    }

    /// Adds a problem: the setting's name and origin, and `what` is wrong with it.
    pub fn problem(&mut self, what: impl Display) {
        let name = self.setting.name;
        self.problems.add(match self.values.get(name) {
            Some(value) => format!("{name} (set by {}) {what}.", value.origin),
            None => format!("{name} {what}."),
        });
    }
}

/// Text as it was set; empty when it was not.
pub fn text(reader: &mut Reader<'_>) -> String {
    reader.text().unwrap_or_default().to_owned()
}

/// Text, if there is any.
pub fn optional_text(reader: &mut Reader<'_>) -> Option<String> {
    reader.text().map(str::to_owned)
}

/// A secret, if there is one.
pub fn secret(reader: &mut Reader<'_>) -> Option<SecretString> {
    reader.text().map(SecretString::from)
}

/// A path, if there is one.
pub fn path(reader: &mut Reader<'_>) -> Option<PathBuf> {
    reader.text().map(PathBuf::from)
}

/// Names, separated by commas.
pub fn list(reader: &mut Reader<'_>) -> Vec<String> {
    let names = reader.text().unwrap_or_default().split(',');
    names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The name of an exchange or queue of RabbitMQ: at most 255 bytes, the longest short string of
/// AMQP.
pub fn exchange_name(reader: &mut Reader<'_>) -> String {
    let name = reader.text().unwrap_or_default();
    if name.len() > 255 || name.chars().any(char::is_control) {
        reader.problem("must be at most 255 bytes without control characters");
    }
    name.to_owned()
}

/// `true` or `false`.
pub fn flag(reader: &mut Reader<'_>) -> bool {
    let text = reader.text().unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => true,
        "false" | "no" | "off" | "0" => false,
        _ => {
            reader.problem(format!("must be true or false, not {text:?}"));
            false
        }
    }
}

/// `true`, `false` or unset.
pub fn optional_flag(reader: &mut Reader<'_>) -> Option<bool> {
    reader.text().is_some().then(|| flag(reader))
}

/// A number within `bounds`.
pub fn number<T>(bounds: RangeInclusive<T>) -> impl Fn(&mut Reader<'_>) -> T
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |reader| {
        let text = reader.text().unwrap_or_default();
        match text.parse::<T>() {
            Ok(number) if bounds.contains(&number) => number,
            _ => {
                let (start, end) = (bounds.start(), bounds.end());
                reader.problem(format!("must be a number from {start} to {end}, not {text:?}"));
                *bounds.start()
            }
        }
    }
}

/// A number within `bounds`, or unset.
pub fn optional_number<T>(bounds: RangeInclusive<T>) -> impl Fn(&mut Reader<'_>) -> Option<T>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let number = number(bounds);
    move |reader| reader.text().is_some().then(|| number(reader))
}

/// A number within `0..=max`, where 0 stands for no limit.
pub fn limit(max: u32) -> impl Fn(&mut Reader<'_>) -> Option<u32> {
    let number = number(0..=max);
    move |reader| Some(number(reader)).filter(|limit| *limit > 0)
}

/// Seconds within `bounds`.
pub fn seconds(bounds: RangeInclusive<u64>) -> impl Fn(&mut Reader<'_>) -> Duration {
    let number = number(bounds);
    move |reader| Duration::from_secs(number(reader))
}

/// Milliseconds within `bounds`.
pub fn milliseconds(bounds: RangeInclusive<u64>) -> impl Fn(&mut Reader<'_>) -> Duration {
    let number = number(bounds);
    move |reader| Duration::from_millis(number(reader))
}

/// Hours within `bounds`.
pub fn hours(bounds: RangeInclusive<u64>) -> impl Fn(&mut Reader<'_>) -> Duration {
    let number = number(bounds);
    move |reader| Duration::from_secs(number(reader) * 3600)
}

/// One of a few words, in any case. A wrong word reads as the first one.
pub fn choice<T: Copy, const N: usize>(
    words: [(&'static str, T); N],
) -> impl Fn(&mut Reader<'_>) -> T {
    const { assert!(N > 0, "a choice needs a word") };
    move |reader| {
        let text = reader.text().unwrap_or_default();
        let chosen = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        if chosen.is_none() {
            let known = words.map(|(word, _)| word).join(", ");
            reader.problem(format!("must be one of {known}, not {text:?}"));
        }
        chosen.unwrap_or(&words[0]).1
    }
}

/// One of a few words, in any case, or unset.
pub fn optional_choice<T: Copy, const N: usize>(
    words: [(&'static str, T); N],
) -> impl Fn(&mut Reader<'_>) -> Option<T> {
    let choice = choice(words);
    move |reader| reader.text().is_some().then(|| choice(reader))
}

/// Declares settings that belong together: a struct with one field for each, the list of their
/// declarations, and a function that reads all of them.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($setting:ident: $type:ty {
                parse: $parse:expr,
                default: $default:expr,
                variables: [$($variable:literal),+],
                help: $help:expr
                $(, secret: $secret:literal)?
                $(,)?
            })+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $(#[doc = concat!("The setting `", stringify!($setting), "`.")] pub $setting: $type,)+
        }

        impl $name {
            /// The declarations.
            pub const SETTINGS: &'static [$crate::setting::Setting] = &[
                $($crate::setting::Setting {
                    name: stringify!($setting),
                    variables: &[$($variable),+],
                    is_secret: [$($secret,)? false][0],
                    default: $default,
                    help: $help,
                },)+
            ];

            /// Reads the values. Whatever is wrong is added to `problems`.
            pub fn read(
                values: &$crate::setting::Values,
                problems: &mut $crate::setting::Problems,
            ) -> Self {
                $(let $setting: $type = {
                    let setting = $crate::setting::declared(Self::SETTINGS, stringify!($setting));
                    ($parse)(&mut $crate::setting::Reader::new(setting, values, &mut *problems))
                };)+
                Self { $($setting),+ }
            }
        }
    };
}

pub(crate) use settings;

/// The declaration of `name` in a list that has it.
///
/// # Panics
/// When the list does not have it.
#[must_use]
pub fn declared(settings: &'static [Setting], name: &str) -> &'static Setting {
    let Some(setting) = settings.iter().find(|setting| setting.name == name) else {
        panic!("no setting is named {name}");
    };
    setting
}
