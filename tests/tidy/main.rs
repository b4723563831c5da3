//! Rules for the whole repository: which module may use which, sizes, names, and documents.

#![expect(clippy::expect_used, reason = "a panic fails the test and names the place")]

mod documents;
mod modules;
mod patches;
mod paths;
mod source;
mod tokens;
mod types;

use std::fs;

use crate::modules::{Modules, cycles};
use crate::source::{crate_sources, report, root, sources};

/// A top-level module of the crate and the others that it may use.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("fail_point", &[]),
    ("error", &[]),
    ("json_object", &[]),
    ("metrics", &[]),
    ("domain", &["error"]),
    ("store", &["error", "metrics", "domain"]),
    ("adoption", &["error", "domain", "store"]),
    ("engine", &["error", "metrics", "domain", "store"]),
    ("retry", &["error"]),
    ("outbox", &["error", "metrics", "domain", "store", "engine", "retry"]),
    ("consumer", &["error", "metrics", "domain", "store", "engine", "retry"]),
    ("transport", &["error", "json_object", "domain", "engine", "retry"]),
    ("auth", &["error", "json_object", "domain"]),
    ("setting", &["error"]),
    ("config", &["error", "setting", "domain", "store", "contracts"]),
    ("contracts", &["error", "json_object", "setting", "domain", "engine", "auth", "server"]),
    ("server", &["error", "json_object", "metrics", "domain", "engine", "auth"]),
    ("migration_router", &["error", "domain", "store", "retry", "auth", "server"]),
    (
        "app",
        &[
            "error",
            "metrics",
            "domain",
            "store",
            "engine",
            "retry",
            "outbox",
            "consumer",
            "transport",
            "auth",
            "setting",
            "config",
            "contracts",
            "server",
            "migration_router",
        ],
    ),
    (
        "operations",
        &[
            "error",
            "domain",
            "store",
            "adoption",
            "engine",
            "outbox",
            "consumer",
            "transport",
            "auth",
            "setting",
            "config",
            "contracts",
            "server",
            "app",
        ],
    ),
    ("python", &["error", "domain", "setting", "config", "app", "operations"]),
];

/// A crate, or a module of the standard library, and the only places that may use it.
const BELONGS_TO: &[(&str, &[&str])] = &[
    ("pyo3", &["src/python/"]),
    ("sqlx", &["src/store/", "src/adoption/", "src/config/database.rs"]),
    ("bullmq", &["src/transport/"]),
    ("lapin", &["src/transport/"]),
    ("rdkafka", &["src/transport/"]),
    ("redis", &["src/transport/"]),
    ("reqwest", &["src/transport/"]),
    ("axum", &["src/server/", "src/contracts/", "src/app"]),
    ("async_graphql", &["src/server/", "src/contracts/", "src/app"]),
    ("jsonwebtoken", &["src/auth"]),
    ("prometheus_client", &["src/server/"]),
    // Fail points are not compiled into a release.
    ("std::env", &["src/config/", "src/fail_point.rs"]),
    ("dotenvy", &["src/config/"]),
    ("toml", &["src/config/"]),
];

/// Marks of unfinished work, and what to do instead. Clippy forbids the macros and calls: see
/// `[lints.clippy]` in Cargo.toml.
const UNFINISHED: [(&str, &str); 2] =
    [("TODO", "finish it or write an issue"), ("FIXME", "fix it")];

const LINE_WIDTH_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// File names that do not tell what the file contains.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];

/// The files of every contract's folder.
const CONTRACT_FILES: [&str; 7] =
    ["mod.rs", "docs.md", "wire.rs", "convert.rs", "api", "events.rs", "errors.rs"];

#[test]
fn modules_use_only_what_they_may() {
    let modules = Modules::of(&crate_sources());
    let mut broken = Vec::new();
    for module in modules.iter() {
        let Some(own) = module.room() else { continue };
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| *name == own) else {
            broken.push(format!("{}: the module {own} is not in the table", module.file));
            continue;
        };
        for path in modules.named_by(module) {
            let other = path.first().map_or("", String::as_str);
            let is_module = MAY_KNOW.iter().any(|(name, _)| *name == other);
            if is_module && other != own && !allowed.contains(&other) {
                broken.push(format!("{}: {own} must not use {}", module.file, path.join("::")));
            }
        }
    }
    report("A module uses another that it must not use:", &broken);
}

#[test]
fn files_do_not_use_each_other_in_circles() {
    let modules = Modules::of(&crate_sources());
    let found = cycles(&modules.uses());
    report(&format!("{} files are part of a cycle:", found.len()), &found);
}

#[test]
fn type_names_are_unique() {
    let shared = types::shared_names(&crate_sources());
    report(&format!("{} names have more than one type:", shared.len()), &shared);
}

#[test]
fn contracts_do_not_use_each_other() {
    let modules = Modules::of(&crate_sources());
    let folders = contract_folders();
    let mut broken = Vec::new();
    for module in modules.iter() {
        let Some(own) = folders.iter().find(|own| module.is_inside(&["contracts", own])) else {
            continue;
        };
        for path in modules.named_by(module) {
            let other = match path.as_slice() {
                [room, other, ..] if room == "contracts" => other,
                _ => continue,
            };
            if other != own && folders.contains(other) {
                broken.push(format!("{}: {own} must not use {}", module.file, path.join("::")));
            }
        }
    }
    report("A contract uses another:", &broken);
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
fn crates_are_used_only_where_they_belong() {
    let modules = Modules::of(&crate_sources());
    let mut broken = Vec::new();
    for module in modules.iter() {
        for path in modules.outside_paths(module) {
            for (name, places) in BELONGS_TO {
                let is_used = path == *name || path.starts_with(&format!("{name}::"));
                if is_used && !places.iter().any(|place| module.file.starts_with(place)) {
                    broken.push(format!("{}: {path} is for {}", module.file, places.join(", ")));
                }
            }
        }
    }
    report("A crate is used outside the places that may use it:", &broken);
}

#[test]
fn money_is_never_a_binary_float() {
    let mut broken = Vec::new();
    for source in crate_sources() {
        // Elsewhere a float is a number of seconds or a metric.
        let places = ["src/domain/", "src/engine/", "src/contracts/"];
        let has_money = places.iter().any(|place| source.path.starts_with(place));
        let has_float = tokens::tokens(&source.text).iter().any(|token| token == "f64");
        if has_float && has_money && !source.path.contains("/wire") {
            broken.push(source.path);
        }
    }
    report("f64 in a module that handles money, outside contracts/*/wire.rs:", &broken);
}

#[test]
fn every_file_begins_with_its_purpose() {
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "fuzz"], ".rs") {
        // The text of a contract's module is its docs.md.
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
    report("A file does not begin with a comment on its purpose:", &broken);
}

#[test]
fn file_names_are_specific() {
    let mut broken = Vec::new();
    let rust = sources(&["src", "tests", "fuzz"], ".rs");
    for source in rust.iter().chain(&sources(&["python"], ".py")) {
        let parts: Vec<_> = source.path.split(['/', '.']).collect();
        if parts.iter().any(|part| EMPTY_NAMES.contains(part)) {
            broken.push(source.path.clone());
        }
    }
    report("A file name does not tell what the file contains:", &broken);
}

#[test]
fn lines_functions_and_files_are_short() {
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "fuzz"], ".rs") {
        let lines: Vec<_> = source.text.lines().collect();
        // The doc comments of the Python module are its users' documentation, not the file's.
        let is_counted = |line: &&&str| {
            !source.path.starts_with("src/python/") || !line.trim_start().starts_with("///")
        };
        let length = lines.iter().filter(is_counted).count();
        if length > FILE_LINES_MAX {
            broken.push(format!("{}: {length} lines", source.path));
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

/// First line and length of every function that is too long. rustfmt closes a function at the
/// indentation of its first line.
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
    for source in crate_sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            for (word, instead) in UNFINISHED {
                if line.contains(word) {
                    broken.push(format!("{}:{number}: {word} ({instead})", source.path));
                }
            }
        }
    }
    report("Unfinished work:", &broken);
}
