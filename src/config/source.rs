//! Where settings come from, in order of precedence, and how what is wrong with them is gathered.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::config::database::{PARTS, url_from_parts};
use crate::config::{Described, all};
use crate::error::{Error, ErrorKind, Result};

/// What a secret is shown as.
const MASK: &str = "********";
/// The file with settings, in the working directory.
const SETTINGS_FILE: &str = "order-engine.toml";
/// The file with variables, in the working directory.
const VARIABLES_FILE: &str = ".env";

/// One setting: how it is called and where it is looked for.
#[derive(Debug)]
pub struct Setting {
    /// Its name as a flag and in `order-engine.toml`.
    pub name: &'static str,
    /// The variables that set it; the first that is set counts.
    pub variables: &'static [&'static str],
    /// Whether its value must not be shown.
    pub is_secret: bool,
    /// Its value when nothing sets it; empty for none.
    pub default: &'static str,
    /// What it does, with unit and range.
    pub help: &'static str,
}

/// A setting's value and its origin.
#[derive(Clone, Debug)]
struct Found {
    value: String,
    origin: String,
}

/// Everything that was set, by the setting's name.
#[derive(Debug)]
pub struct Sources {
    found: HashMap<&'static str, Found>,
}

/// What is wrong, one sentence each.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Notes one thing that is wrong, once.
    pub fn add(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// `value` if nothing is wrong.
    ///
    /// # Errors
    /// `Misconfigured`, one line for each problem, also as the fact `problems`.
    pub fn into_result<T>(self, value: T) -> Result<T> {
        if self.0.is_empty() { Ok(value) } else { Err(self.into_error()) }
    }

    /// `Misconfigured`, one line for each problem, also as the fact `problems`.
    #[must_use]
    pub fn into_error(self) -> Error {
        let problems = self.0.join("\n");
        Error::new(ErrorKind::Misconfigured, &problems).with("problems", &problems)
    }
}

impl Sources {
    /// Gathers what flags, environment, `.env` and `order-engine.toml` set.
    pub fn read(
        flags: &HashMap<String, String>,
        directory: &Path,
        problems: &mut Problems,
    ) -> Self {
        let environment: HashMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
            .collect();
        let dotenv = read_dotenv(&directory.join(VARIABLES_FILE), problems);
        let file = read_toml(&directory.join(SETTINGS_FILE), problems);
        for unknown in flags.keys().chain(file.keys()).filter(|name| !is_setting(name)) {
            problems.add(format!("There is no setting named {unknown}."));
        }
        let mut found = HashMap::new();
        for setting in all() {
            let layers = [
                flags.get(setting.name).map(|value| (value, "flag".to_owned())),
                first_set(&environment, setting)
                    .map(|(name, value)| (value, format!("environment ({name})"))),
                first_set(&dotenv, setting)
                    .map(|(name, value)| (value, format!("{VARIABLES_FILE} ({name})"))),
                file.get(setting.name).map(|value| (value, SETTINGS_FILE.to_owned())),
            ];
            if let Some((value, origin)) = layers.into_iter().flatten().next() {
                found.insert(setting.name, Found { value: value.trim().to_owned(), origin });
            }
        }
        let in_parts = [(&environment, "environment"), (&dotenv, VARIABLES_FILE)];
        for (variables, origin) in in_parts {
            if let Some(value) = url_from_parts(variables) {
                let origin = format!("{origin} ({})", PARTS.join(", "));
                found.entry("database_url").or_insert(Found { value, origin });
            }
        }
        Self { found }
    }

    /// The value of a setting: what was set, else its default; none if both are empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let set = self.found.get(name).map(|found| found.value.as_str());
        set.filter(|value| !value.is_empty())
            .or_else(|| all().find(|setting| setting.name == name).map(|setting| setting.default))
            .filter(|value| !value.is_empty())
    }

    /// A number within bounds; a wrong one is a problem and reads as the lower bound.
    pub(super) fn number<T>(
        &self,
        name: &str,
        bounds: RangeInclusive<T>,
        problems: &mut Problems,
    ) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let text = self.text(name).unwrap_or_default();
        match text.parse::<T>() {
            Ok(number) if bounds.contains(&number) => number,
            _ => {
                problems.add(format!(
                    "{} must be a number from {} to {}, not {text:?}.",
                    self.called(name),
                    bounds.start(),
                    bounds.end()
                ));
                *bounds.start()
            }
        }
    }

    /// A number of seconds within bounds, as a duration.
    pub(super) fn seconds(
        &self,
        name: &str,
        bounds: RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Duration {
        Duration::from_secs(self.number(name, bounds, problems))
    }

    /// Yes or no.
    pub(super) fn flag(&self, name: &str, problems: &mut Problems) -> bool {
        let text = self.text(name).unwrap_or_default();
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            _ => {
                problems.add(format!("{} must be true or false, not {text:?}.", self.called(name)));
                false
            }
        }
    }

    /// One of a few words; a wrong one is a problem and reads as the first.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let text = self.text(name).unwrap_or_default();
        let chosen = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        if chosen.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            problems.add(format!(
                "{} must be one of {}, not {text:?}.",
                self.called(name),
                known.join(", ")
            ));
        }
        chosen.or(words.first()).map(|(_, value)| *value)
    }

    /// How to speak of a setting: by its name, and by what set it.
    pub(super) fn called(&self, name: &str) -> String {
        match self.found.get(name) {
            Some(found) => format!("{name} (set by {})", found.origin),
            None => name.to_owned(),
        }
    }

    /// A setting for people.
    pub(super) fn describe(&self, setting: &'static Setting) -> Described {
        let (value, origin) = match (self.found.get(setting.name), setting.default) {
            (Some(found), _) => (Some(found.value.clone()), found.origin.clone()),
            (None, "") => (None, "not set".to_owned()),
            (None, default) => (Some(default.to_owned()), "default".to_owned()),
        };
        let value = value.map(|value| match setting.is_secret {
            true => MASK.to_owned(),
            false => value,
        });
        Described { name: setting.name, value, origin }
    }
}

fn is_setting(name: &str) -> bool {
    all().any(|setting| setting.name == name)
}

fn first_set<'a>(
    variables: &'a HashMap<String, String>,
    setting: &Setting,
) -> Option<(&'static str, &'a String)> {
    setting.variables.iter().find_map(|name| {
        variables.get(*name).filter(|value| !value.is_empty()).map(|value| (*name, value))
    })
}

fn read_dotenv(path: &Path, problems: &mut Problems) -> HashMap<String, String> {
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return HashMap::new(),
        Err(error) => {
            problems.add(format!("{} cannot be read: {error}.", path.display()));
            return HashMap::new();
        }
    };
    let mut variables = HashMap::new();
    for line in lines {
        match line {
            Ok((name, value)) => _ = variables.insert(name, value),
            // The line itself may hold a secret.
            Err(_) => {
                problems.add(format!("{} has a line that is not NAME=value.", path.display()));
            }
        }
    }
    variables
}

fn read_toml(path: &Path, problems: &mut Problems) -> HashMap<String, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return HashMap::new(),
        Err(error) => {
            problems.add(format!("{} cannot be read: {error}.", path.display()));
            return HashMap::new();
        }
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let place = error.span().map_or(0, |span| text[..span.start].lines().count());
            problems.add(format!(
                "{} is not TOML near line {place}: {}.",
                path.display(),
                error.message()
            ));
            return HashMap::new();
        }
    };
    let mut settings = HashMap::new();
    for (name, value) in table {
        match plain(&value) {
            Some(text) => _ = settings.insert(name, text),
            None => problems.add(format!(
                "{name} in {} must be text, a number, true, false or a list of those.",
                path.display()
            )),
        }
    }
    settings
}

/// A TOML value as a flag would give it.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(values) => {
            let parts: Option<Vec<_>> = values.iter().map(plain).collect();
            parts.map(|parts| parts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Needs, Settings};

    fn flags(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// An empty folder of this test's own, gone when the test ends.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("oe-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_flag_beats_dotenv_and_dotenv_beats_the_file() {
        let folder = Folder::new("layers");
        std::fs::write(folder.0.join(".env"), "ORDER_ENGINE_QUEUE=from_dotenv\n").unwrap();
        std::fs::write(
            folder.0.join("order-engine.toml"),
            "rabbitmq_queue = \"from_file\"\nlines_max = 7\n",
        )
        .unwrap();
        let given = flags(&[("rabbitmq_exchange", "from_flag")]);
        let described = Settings::describe(&given, &folder.0);
        let shown = |name: &str| {
            let found = described.iter().find(|setting| setting.name == name).unwrap();
            (found.value.clone(), found.origin.clone())
        };
        let origin = |value: &str, origin: &str| (Some(value.to_owned()), origin.to_owned());
        assert_eq!(shown("rabbitmq_exchange"), origin("from_flag", "flag"));
        assert_eq!(shown("rabbitmq_queue"), origin("from_dotenv", ".env (ORDER_ENGINE_QUEUE)"));
        assert_eq!(shown("lines_max"), origin("7", "order-engine.toml"));
        assert_eq!(shown("quantity_max"), origin("2147483647", "default"));
    }

    #[test]
    fn everything_wrong_is_told_at_once_and_no_secret_is() {
        let folder = Folder::new("problems");
        let given = flags(&[
            ("database_url", "mysql://root:hunter2@db/shop"),
            ("access", "everybody"),
            ("port", "99999"),
            ("no_such_setting", "1"),
        ]);
        let error = Settings::load(&given, &folder.0, Needs::NOTHING).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        let told = error.message();
        for part in ["database_url", "access", "port", "no_such_setting"] {
            assert!(told.contains(part), "{part} is missing in: {told}");
        }
        assert!(!told.contains("hunter2"));
        assert_eq!(error.context_value("problems").map(|told| told.lines().count()), Some(4));
    }

    #[test]
    fn secrets_are_masked() {
        let folder = Folder::new("masked");
        let given = flags(&[("jwt_secret_key", "hunter2hunter2hunter2hunter2hunter2")]);
        let described = Settings::describe(&given, &folder.0);
        assert!(
            described.iter().all(|one| !one.value.as_deref().unwrap_or("").contains("hunter2"))
        );
        let settings = Settings::load(&given, &folder.0, Needs::NOTHING).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn sqlalchemy_urls_are_understood() {
        let folder = Folder::new("sqlalchemy");
        let url = "postgresql+psycopg2://shop:s%40crt@db:6432/orders";
        let settings =
            Settings::load(&flags(&[("database_url", url)]), &folder.0, Needs::NOTHING).unwrap();
        let database = settings.database.unwrap();
        assert_eq!(database.options.address, "db:6432/orders");
        assert!(!format!("{database:?}").contains("crt"));
    }

    #[test]
    fn what_is_needed_and_not_set_is_a_problem_like_any_other() {
        let folder = Folder::new("needs");
        let given = flags(&[("access", "everybody")]);
        let error = Settings::load(&given, &folder.0, Needs::DOORS).unwrap_err();
        for part in ["DATABASE_URL", "JWT_SECRET_KEY", "access"] {
            assert!(error.message().contains(part), "{part} is missing in: {error}");
        }
    }

    #[test]
    fn a_database_named_in_parts_is_a_database() {
        let folder = Folder::new("parts");
        let parts = "POSTGRES_USER=shop\nPOSTGRES_PASSWORD='p@ss/w'\nPOSTGRES_DB=orders\n";
        std::fs::write(folder.0.join(".env"), parts).unwrap();
        let settings = Settings::load(&flags(&[]), &folder.0, Needs::DATABASE).unwrap();
        let address = settings.database.map(|database| database.options.address);
        assert_eq!(address.as_deref(), Some("localhost:5432/orders"));
    }
}
