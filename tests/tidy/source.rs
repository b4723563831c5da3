//! Source files as the rules read them.

use std::fs;
use std::path::{Path, PathBuf};

pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs")
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folders` whose names end with `ending`.
pub fn sources(folders: &[&str], ending: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), ending, &mut found);
    }
    assert!(!found.is_empty(), "no {ending} under {folders:?}");
    found
}

/// The Rust files of the crate, without unit tests in files of their own.
pub fn crate_sources() -> Vec<Source> {
    let mut found = sources(&["src"], ".rs");
    found.retain(|source| !source.is_test());
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

/// Fails with every violation of a rule.
pub fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n  {}\n", broken.join("\n  "));
}
