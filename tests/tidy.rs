//! The house as a test: who may know whom, how long things may be, and what is never written.

#![expect(clippy::expect_used, reason = "in a test a panic is a failure, told where it happened")]

use std::fs;
use std::path::{Path, PathBuf};

/// A module and the other modules of the crate that it may name. Deeper rules come first.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("fail_point", &[]),
    ("error", &[]),
    ("object", &[]),
    ("domain", &["error"]),
    ("store", &["error", "domain"]),
    ("engine", &["error", "domain", "store"]),
    ("outage", &["error"]),
    ("outbox", &["error", "domain", "store", "engine", "outage"]),
    ("inbound", &["error", "domain", "store", "engine", "outage"]),
    ("transport", &["error", "object", "domain", "engine", "outage"]),
    ("auth", &["error", "object", "domain"]),
    ("config", &["error", "domain", "store"]),
    ("contracts", &["error", "object", "domain", "engine", "auth", "server"]),
    ("server", &["error", "object", "domain", "engine", "auth"]),
    ("strangler", &["error", "domain", "store", "outage", "auth", "server"]),
    (
        "app",
        &[
            "error",
            "domain",
            "store",
            "engine",
            "outage",
            "outbox",
            "inbound",
            "transport",
            "auth",
            "config",
            "contracts",
            "server",
            "strangler",
        ],
    ),
    (
        "operations",
        &[
            "error",
            "domain",
            "store",
            "engine",
            "outbox",
            "inbound",
            "transport",
            "auth",
            "config",
            "contracts",
            "app",
        ],
    ),
    ("python", &["error", "domain", "config", "app", "operations"]),
];

/// A crate, or a part of the standard library, and the only places that may name it.
const BELONGS_TO: &[(&str, &[&str])] = &[
    ("pyo3", &["src/python/"]),
    ("sqlx", &["src/store/", "src/config/database.rs"]),
    ("bullmq", &["src/transport/"]),
    ("lapin", &["src/transport/"]),
    ("rdkafka", &["src/transport/"]),
    // The settings of Redis have its name too.
    ("redis", &["src/transport/", "src/config/mod.rs"]),
    ("reqwest", &["src/transport/"]),
    ("axum", &["src/server/", "src/contracts/", "src/app"]),
    ("async_graphql", &["src/server/", "src/contracts/", "src/app"]),
    ("jsonwebtoken", &["src/auth"]),
    ("prometheus_client", &["src/server/"]),
    // In a release nothing of the second is left.
    ("std::env", &["src/config/", "src/fail_point.rs"]),
    ("dotenvy", &["src/config/"]),
    ("toml", &["src/config/"]),
];

/// What is written nowhere outside tests, and what to do instead.
const NEVER: &[(&str, &str)] = &[
    ("todo!(", "finish it"),
    ("unimplemented!(", "finish it"),
    ("dbg!(", "use tracing"),
    ("println!(", "use tracing"),
    (".unwrap()", "return an Error"),
    ("TODO", "finish it or write an issue"),
    ("FIXME", "fix it"),
    ("std::process::exit", "return an Error"),
];

const LINE_WIDTH_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];

/// What every contract's folder holds.
const CONTRACT_FILES: [&str; 7] =
    ["mod.rs", "docs.md", "wire.rs", "convert.rs", "surface", "events.rs", "errors.rs"];

struct Source {
    /// With `/`, from the project's root.
    path: String,
    text: String,
}

impl Source {
    /// The text without its unit tests, which stand last in a file.
    fn code(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs")
    }

    /// `engine` for `src/engine/batch.rs`, `app` for `src/app.rs`.
    fn room(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?;
        let room = inner.split('/').next()?;
        let room = room.strip_suffix(".rs").unwrap_or(room);
        (room != "lib").then_some(room)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folders: &[&str], ending: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), ending, &mut found);
    }
    assert!(!found.is_empty(), "no {ending} under {folders:?}");
    found
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<Source>) {
    let skipped = ["static", "node_modules", "__pycache__", "target"];
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !skipped.contains(&name.as_str()) {
            collect(&path, ending, found);
        } else if name.ends_with(ending) {
            let inner = path.strip_prefix(root()).expect("walked from the root");
            let text = fs::read_to_string(&path).expect("a readable source");
            found.push(Source { path: inner.to_string_lossy().replace('\\', "/"), text });
        }
    }
}

fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n  {}\n", broken.join("\n  "));
}

/// Whether `text` names `word` as a path's first part or whole: `sqlx::`, `use sqlx;`.
fn names(text: &str, word: &str) -> bool {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = &line[at + word.len()..];
            let begins = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
            begins && (after.starts_with("::") || after.starts_with(';'))
        })
    })
}

#[test]
fn rooms_know_only_whom_they_may() {
    let mut broken = Vec::new();
    for source in sources(&["src"], ".rs") {
        let Some(room) = source.room() else { continue };
        let Some((_, known)) = MAY_KNOW.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("{}: the room {room} is not in the table", source.path));
            continue;
        };
        for (other, _) in MAY_KNOW {
            let named = names(source.code(), &format!("crate::{other}"));
            if named && *other != room && !known.contains(other) {
                broken.push(format!("{}: {room} must not know {other}", source.path));
            }
        }
    }
    report("A room names another that it must not know:", &broken);
}

#[test]
fn contracts_do_not_know_each_other() {
    let mut broken = Vec::new();
    for source in sources(&["src/contracts"], ".rs") {
        let mut parts = source.path.trim_start_matches("src/contracts/").split('/');
        let (Some(own), Some(_)) = (parts.next(), parts.next()) else {
            continue;
        };
        for other in contract_folders().iter().filter(|other| *other != own) {
            if names(source.code(), &format!("crate::contracts::{other}")) {
                broken.push(format!("{}: {own} must not know {other}", source.path));
            }
        }
    }
    report("A contract names another:", &broken);
}

fn contract_folders() -> Vec<String> {
    let entries = fs::read_dir(root().join("src/contracts")).expect("the contracts");
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_contract_has_the_same_files() {
    let mut broken = Vec::new();
    for contract in contract_folders() {
        let folder = root().join("src/contracts").join(&contract);
        for file in CONTRACT_FILES {
            let there = folder.join(file).exists() || folder.join(format!("{file}.rs")).exists();
            if !there {
                broken.push(format!("src/contracts/{contract} has no {file}"));
            }
        }
    }
    report("A contract's folder is not complete:", &broken);
}

#[test]
fn every_crate_has_its_room() {
    let mut broken = Vec::new();
    for source in sources(&["src"], ".rs") {
        for (name, rooms) in BELONGS_TO {
            let at_home = rooms.iter().any(|room| source.path.starts_with(room));
            if !at_home && names(source.code(), name) {
                broken.push(format!("{}: {name} belongs to {}", source.path, rooms.join(", ")));
            }
        }
    }
    report("A crate is used outside its room:", &broken);
}

#[test]
fn binary_floats_stay_on_the_wire() {
    let mut broken = Vec::new();
    for source in sources(&["src"], ".rs") {
        // Elsewhere a float is a number of seconds or a metric, never money.
        let rooms = ["src/domain/", "src/engine/", "src/contracts/"];
        let has_money = rooms.iter().any(|room| source.path.starts_with(room));
        let float = source.code().split(|c: char| !c.is_alphanumeric()).any(|word| word == "f64");
        if float && has_money && !source.path.contains("/wire") {
            broken.push(source.path);
        }
    }
    report("f64 where money is, outside contracts/*/wire.rs:", &broken);
}

#[test]
fn every_file_says_why_it_exists() {
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "fuzz"], ".rs") {
        // A contract's docs.md says it for its folder.
        let says = ["//! ", "#![doc = include_str!("];
        if !says.iter().any(|start| source.text.starts_with(start)) {
            broken.push(source.path);
        }
    }
    for source in sources(&["python", "tests", "bench"], ".py") {
        if !source.text.starts_with("\"\"\"") {
            broken.push(source.path);
        }
    }
    report("A file's first line does not say why it exists:", &broken);
}

#[test]
fn names_say_something() {
    let mut broken = Vec::new();
    let rust = sources(&["src", "tests", "fuzz"], ".rs");
    for source in rust.iter().chain(&sources(&["python"], ".py")) {
        let parts: Vec<_> = source.path.split(['/', '.']).collect();
        if parts.iter().any(|part| EMPTY_NAMES.contains(part)) {
            broken.push(source.path.clone());
        }
    }
    report("A name says nothing:", &broken);
}

#[test]
fn lines_functions_and_files_are_short() {
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "fuzz"], ".rs") {
        let lines: Vec<_> = source.text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            broken.push(format!("{}: {} lines", source.path, lines.len()));
        }
        for (number, line) in (1..).zip(&lines) {
            if line.chars().count() > LINE_WIDTH_MAX {
                broken.push(format!("{}:{number}: wider than {LINE_WIDTH_MAX}", source.path));
            }
        }
        for (number, length) in long_functions(&lines) {
            broken.push(format!("{}:{number}: a function of {length} lines", source.path));
        }
    }
    report("Too long:", &broken);
}

/// First line and length of every function that is too long. rustfmt ends a function at the
/// indentation at which it began.
fn long_functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut long = Vec::new();
    for (begin, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let is_function = [
            "fn ",
            "pub fn ",
            "async fn ",
            "pub async fn ",
            "pub(super) fn ",
            "pub(super) async fn ",
            "pub(crate) fn ",
            "const fn ",
            "pub const fn ",
        ]
        .iter()
        .any(|start| code.starts_with(start));
        let head_ends = lines[begin..].iter().find(|line| line.ends_with([';', '{', '}']));
        if !is_function || head_ends.is_none_or(|line| !line.ends_with('{')) {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[begin..].iter().position(|line| *line == close).unwrap_or_default();
        if end + 1 > FUNCTION_LINES_MAX {
            long.push((begin + 1, end + 1));
        }
    }
    long
}

#[test]
fn nothing_is_left_unfinished() {
    let mut broken = Vec::new();
    for source in sources(&["src"], ".rs").iter().filter(|source| !source.is_test()) {
        for (word, instead) in NEVER {
            for (number, line) in (1..).zip(source.code().lines()) {
                if line.contains(word) {
                    broken.push(format!("{}:{number}: {word} ({instead})", source.path));
                }
            }
        }
    }
    report("Never written outside tests:", &broken);
}

#[test]
fn every_setting_is_documented() {
    let text = fs::read_to_string(root().join("docs/CONFIG.md")).expect("docs/CONFIG.md");
    let mut broken = Vec::new();
    for setting in order_engine::config::all() {
        for word in std::iter::once(&setting.name).chain(setting.variables) {
            if !text.contains(&format!("`{word}`")) {
                broken.push((*word).to_owned());
            }
        }
    }
    report("docs/CONFIG.md does not name:", &broken);
}
