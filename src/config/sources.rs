//! The sources of settings, in order of precedence: flags, environment, `.env`,
//! `order-engine.toml`.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::Path;

use crate::config::all;
use crate::config::database::{PARTS, url_from_parts};
use crate::config::suggestion::closest;
use crate::setting::{Problems, Setting, SettingValue, Values};

/// The file with settings, in the working directory.
const SETTINGS_FILE: &str = "order-engine.toml";
/// The file with variables, in the working directory.
const VARIABLES_FILE: &str = ".env";
/// Prefix of the variables that only the engine reads.
const PREFIX: &str = "ORDER_ENGINE_";
/// Prefixes of variables with that prefix that are no settings: those of the tests.
#[cfg(feature = "fail-points")]
const NO_SETTINGS: &[&str] = &["ORDER_ENGINE_TEST_", "ORDER_ENGINE_FAIL_POINT"];
#[cfg(not(feature = "fail-points"))]
const NO_SETTINGS: &[&str] = &["ORDER_ENGINE_TEST_"];

/// Gathers the values that flags, environment, `.env` and `order-engine.toml` set.
pub(super) fn gather(
    flags: &HashMap<String, String>,
    directory: &Path,
    problems: &mut Problems,
) -> Values {
    let environment = environment();
    let dotenv = read_dotenv(&directory.join(VARIABLES_FILE), problems);
    let file = read_toml(&directory.join(SETTINGS_FILE), problems);
    for unknown in flags.keys().chain(file.keys()).filter(|name| !is_setting(name)) {
        problems.add(unknown_setting(unknown));
    }
    let mut values = Values::default();
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
            let text = value.trim().to_owned();
            values.set(setting.name, SettingValue { text, origin });
        }
    }
    for (variables, origin) in [(&environment, "environment"), (&dotenv, VARIABLES_FILE)] {
        if let Some(text) = url_from_parts(variables) {
            let origin = format!("{origin} ({})", PARTS.join(", "));
            values.set("database_url", SettingValue { text, origin });
        }
    }
    values
}

fn environment() -> HashMap<String, String> {
    let text =
        |(name, value): (OsString, OsString)| name.into_string().ok().zip(value.into_string().ok());
    std::env::vars_os().filter_map(text).collect()
}

/// One sentence for each variable of the environment and `.env` that begins as the engine's
/// variables do but sets nothing. They are no errors: another version may know them.
pub(super) fn unknown_variables(directory: &Path) -> Vec<String> {
    let dotenv = read_dotenv(&directory.join(VARIABLES_FILE), &mut Problems::default());
    let names: BTreeSet<String> = environment().into_keys().chain(dotenv.into_keys()).collect();
    names.iter().filter_map(|name| unknown_variable(name)).collect()
}

fn unknown_variable(name: &str) -> Option<String> {
    let variables = || all().flat_map(|setting| setting.variables.iter().copied());
    let is_ours = name.starts_with(PREFIX) && !NO_SETTINGS.iter().any(|no| name.starts_with(no));
    if !is_ours || variables().any(|known| known == name) {
        return None;
    }
    Some(match closest(name, variables()) {
        Some(known) => format!("{name} sets nothing. Did you mean {known}?"),
        None => format!("{name} sets nothing: there is no such setting."),
    })
}

fn unknown_setting(name: &str) -> String {
    match closest(name, all().map(|setting| setting.name)) {
        Some(known) => format!("There is no setting named {name}. Did you mean {known}?"),
        None => format!("There is no setting named {name}."),
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
            // The line may contain a secret.
            Err(_) => {
                problems.add(format!(
                    "{} has a line that is not of the form NAME=value.",
                    path.display()
                ));
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
                "{} is not valid TOML near line {place}: {}.",
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
                "{name} in {} must be a string, an integer, true, false or a list of those.",
                path.display()
            )),
        }
    }
    settings
}

/// The text of a TOML value, as a flag would give it.
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
    use crate::error::ErrorKind;

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
    fn a_misspelled_variable_is_named_with_a_suggestion() {
        let sentence = |name| unknown_variable(name);
        let suggested = "ORDER_ENGINE_PROT sets nothing. Did you mean ORDER_ENGINE_PORT?";
        assert_eq!(sentence("ORDER_ENGINE_PROT").as_deref(), Some(suggested));
        let unknown = "ORDER_ENGINE_COFFEE_WITH_MILK sets nothing: there is no such setting.";
        assert_eq!(sentence("ORDER_ENGINE_COFFEE_WITH_MILK").as_deref(), Some(unknown));
        for known in ["ORDER_ENGINE_PORT", "PORT", "PROT", "ORDER_ENGINE_TEST_REDIS_URL"] {
            assert_eq!(sentence(known), None, "{known}");
        }
        let folder = Folder::new("variables");
        std::fs::write(folder.0.join(".env"), "ORDER_ENGINE_PROT=3\n").unwrap();
        assert!(unknown_variables(&folder.0).contains(&suggested.to_owned()));
    }

    #[test]
    fn all_problems_are_reported_at_once_without_secrets() {
        let folder = Folder::new("problems");
        let given = flags(&[
            ("database_url", "mysql://root:hunter2@db/shop"),
            ("access", "everybody"),
            ("port", "99999"),
            ("no_such_setting", "1"),
        ]);
        let error = Settings::load(&given, &folder.0, Needs::NOTHING).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        let message = error.message();
        for part in ["database_url", "access", "port", "no_such_setting"] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
        assert!(!message.contains("hunter2"));
        assert_eq!(
            error.context_value("problems").map(|problems| problems.lines().count()),
            Some(4)
        );
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
    fn sqlalchemy_urls_are_accepted() {
        let folder = Folder::new("sqlalchemy");
        let url = "postgresql+psycopg2://shop:s%40crt@db:6432/orders";
        let settings =
            Settings::load(&flags(&[("database_url", url)]), &folder.0, Needs::NOTHING).unwrap();
        let database = settings.database.unwrap();
        assert_eq!(database.address, "db:6432/orders");
        assert!(!format!("{database:?}").contains("crt"));
    }

    #[test]
    fn a_missing_required_setting_is_a_problem() {
        let folder = Folder::new("needs");
        let given = flags(&[("access", "everybody")]);
        let error = Settings::load(&given, &folder.0, Needs::SERVING).unwrap_err();
        for part in ["DATABASE_URL", "JWT_SECRET_KEY", "access"] {
            assert!(error.message().contains(part), "{part} is missing in: {error}");
        }
    }

    #[test]
    fn the_variables_of_the_old_services_name_a_database() {
        let folder = Folder::new("parts");
        let parts = "POSTGRES_USER=shop\nPOSTGRES_PASSWORD='p@ss/w'\nPOSTGRES_DB=orders\n";
        std::fs::write(folder.0.join(".env"), parts).unwrap();
        let settings = Settings::load(&flags(&[]), &folder.0, Needs::DATABASE).unwrap();
        let address = settings.database.map(|database| database.address);
        assert_eq!(address.as_deref(), Some("localhost:5432/orders"));
    }
}
