//! Documents: the table of settings agrees with the code, and links lead to files that exist.

use std::collections::HashSet;
use std::fs;

use crate::source::{Source, report, root, sources};

/// The documents in the root of the repository.
const TOP_LEVEL: [&str; 4] = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

#[test]
fn every_setting_is_documented() {
    let text = fs::read_to_string(root().join("docs/CONFIG.md")).expect("docs/CONFIG.md");
    let lines: HashSet<_> = text.lines().collect();
    let mut missing = Vec::new();
    for setting in order_engine::config::all() {
        let variables: Vec<_> = setting.variables.iter().map(|name| format!("`{name}`")).collect();
        let default = match setting.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let secret = if setting.is_secret { " Secret." } else { "" };
        let row = format!(
            "| `{}` | {} | {default} | {}{secret} |",
            setting.name,
            variables.join(", "),
            setting.help
        );
        if !lines.contains(row.as_str()) {
            missing.push(row);
        }
    }
    report("docs/CONFIG.md lacks these rows, or has them with other texts:", &missing);
}

#[test]
fn links_lead_to_existing_files() {
    let mut broken = Vec::new();
    let mut documents = sources(&["docs", "migrations", "patches", "src"], ".md");
    documents.extend(TOP_LEVEL.map(|path| {
        let text = fs::read_to_string(root().join(path)).expect("a document");
        Source { path: path.to_owned(), text }
    }));
    for document in documents {
        let folder = root().join(&document.path);
        let folder = folder.parent().expect("a file is in a folder");
        for link in document.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                broken.push(format!("{}: {link}", document.path));
            }
        }
    }
    report("A link leads nowhere:", &broken);
}
