//! Crates that are replaced by a version under `patches/`: still needed, and still in use.

use std::fs;

use crate::source::root;

/// A replaced crate, and the crates that bring it in.
///
/// A replacement can be deleted when nothing needs it any more. `parking_lot` is replaced because
/// its locks do not survive a fork (docs/decisions/0014-fork-safe-locks.md): these crates use it
/// in the engine's process.
const REPLACED: [(&str, &[&str]); 1] = [(
    "parking_lot",
    &["futures-intrusive", "hickory-resolver", "moka", "prometheus-client", "tokio"],
)];

struct Package {
    name: String,
    is_local: bool,
    dependencies: Vec<String>,
}

/// The packages of Cargo.lock.
fn packages() -> Vec<Package> {
    let text = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    text.split("[[package]]").skip(1).map(package).collect()
}

fn package(text: &str) -> Package {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let unquoted = |text: &str| text.trim_matches([' ', '"', ',']).to_owned();
    let dependencies = text.lines().filter(|line| line.starts_with(" \""));
    Package {
        name: unquoted(value("name = ").unwrap_or_default()),
        is_local: value("source = ").is_none(),
        // A dependency with several versions is followed by the one that is meant.
        dependencies: dependencies
            .map(|line| unquoted(line).split(' ').next().unwrap_or_default().to_owned())
            .collect(),
    }
}

#[test]
fn every_replaced_crate_is_still_needed() {
    let packages = packages();
    for (name, expected) in REPLACED {
        let needs_it = |package: &&Package| package.dependencies.iter().any(|each| each == name);
        let users: Vec<_> =
            packages.iter().filter(needs_it).map(|package| package.name.as_str()).collect();
        assert!(
            !users.is_empty(),
            "no dependency uses {name} any more: delete patches/{name} and its [patch] entry"
        );
        assert_eq!(
            users, expected,
            "the crates that use {name} have changed: check that patches/{name} \
             offers what they need, or delete it, and update REPLACED"
        );
    }
}

#[test]
fn every_replacement_is_in_use() {
    let packages = packages();
    for (name, _) in REPLACED {
        let mut versions = packages.iter().filter(|package| package.name == name);
        assert!(
            versions.all(|package| package.is_local),
            "a dependency requires a version of {name} that patches/{name} does not replace: \
             update the replacement, or delete it if that version survives a fork"
        );
    }
}
