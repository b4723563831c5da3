//! The paths that a file names, in imports and elsewhere, whatever their spelling.

use crate::tokens::Token;

/// A name that a `use` brings in.
#[derive(Debug, PartialEq)]
pub struct Import {
    pub path: Vec<String>,
    /// What the file calls it; `*` for all names of a module.
    pub name: String,
    /// Whether other files may import it from this one.
    pub is_exported: bool,
}

#[derive(Debug, Default)]
pub struct Paths {
    pub imports: Vec<Import>,
    /// Paths of at least two parts outside imports.
    pub in_code: Vec<Vec<String>>,
}

impl Paths {
    pub fn of(tokens: &[Token]) -> Self {
        let mut found = Self::default();
        // For each open brace, whether it is the body of a module.
        let mut bodies: Vec<bool> = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let inner = bodies.iter().filter(|is_module| **is_module).count();
            if is_import(tokens, at) {
                let is_exported = is_exported(tokens, at);
                let mut imports = Vec::new();
                at = import_tree(tokens, at + 1, &[], &mut imports);
                found.imports.extend(imports.into_iter().map(|import| Import {
                    path: from_file(import.path, inner),
                    is_exported,
                    ..import
                }));
            } else if starts_path(tokens, at) {
                let mut path = vec![tokens[at].clone()];
                at += 1;
                while token(tokens, at) == "::" && is_word(token(tokens, at + 1)) {
                    path.push(tokens[at + 1].clone());
                    at += 2;
                }
                if path.len() > 1 {
                    found.in_code.push(from_file(path, inner));
                }
            } else {
                match tokens[at].as_str() {
                    "{" => bodies.push(at > 1 && tokens[at - 2] == "mod"),
                    "}" => drop(bodies.pop()),
                    _ => {}
                }
                at += 1;
            }
        }
        found
    }

    /// All paths, of imports too.
    pub fn all(&self) -> impl Iterator<Item = &[String]> {
        let imported = self.imports.iter().map(|import| import.path.as_slice());
        imported.chain(self.in_code.iter().map(Vec::as_slice))
    }
}

/// A path in modules within the file as the file itself would spell it.
fn from_file(path: Vec<String>, inner: usize) -> Vec<String> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    match supers.min(inner) {
        0 => path,
        dropped if dropped < supers => path[dropped..].to_vec(),
        dropped => [&["self".to_owned()], &path[dropped..]].concat(),
    }
}

/// `use`, unless it begins the captures of `impl Trait + use<'a>`.
fn is_import(tokens: &[Token], at: usize) -> bool {
    tokens[at] == "use" && token(tokens, at + 1) != "<"
}

/// Whether `pub` or `pub(…)` stands before the token.
fn is_exported(tokens: &[Token], at: usize) -> bool {
    let before = |distance: usize| at.checked_sub(distance).map_or("", |at| token(tokens, at));
    before(1) == "pub" || before(1) == ")" && (before(4) == "pub" || before(5) == "pub")
}

fn starts_path(tokens: &[Token], at: usize) -> bool {
    let before = |distance: usize| at.checked_sub(distance).map_or("", |at| token(tokens, at));
    let goes_on = before(1) == "::" && before(2) == ">";
    is_word(&tokens[at]) && token(tokens, at + 1) == "::" && !goes_on && before(1) != "$"
}

/// Reads `a::{b, c as d}` and the like from `at` on; returns the position after it.
fn import_tree(tokens: &[Token], at: usize, prefix: &[String], found: &mut Vec<Import>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = at;
    loop {
        match token(tokens, at) {
            "::" => at += 1,
            "{" => {
                at += 1;
                while !["}", ""].contains(&token(tokens, at)) {
                    at = import_tree(tokens, at, &path, found);
                    at += usize::from(token(tokens, at) == ",");
                }
                return at + 1;
            }
            "*" => {
                found.push(Import { path, name: "*".to_owned(), is_exported: false });
                return at + 1;
            }
            word if is_word(word) && word != "as" => {
                path.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    // `a::{self}` imports `a`.
    if path.len() > 1 {
        path.pop_if(|last| last == "self");
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if token(tokens, at) == "as" {
        token(tokens, at + 1).clone_into(&mut name);
        at += 2;
    }
    found.push(Import { path, name, is_exported: false });
    // An unknown sign must not hold the reader up.
    if [",", "}", ";"].contains(&token(tokens, at)) { at } else { at + 1 }
}

fn token(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", String::as_str)
}

pub fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[test]
fn every_spelling_is_read() {
    let text = "
        use std::fmt;
        pub use crate::{a::{self, B as C}, d::*};
        pub(in crate::x) use super::super::{e, f};
        fn g() -> impl Sized + use<> { crate::h::i::<u8>(); warn!(super::j::K); l.m() }
        mod n { use super::{o, super::p}; }
    ";
    let found = Paths::of(&crate::tokens::tokens(text));
    let imports: Vec<_> = found
        .imports
        .iter()
        .map(|each| format!("{} = {} {}", each.name, each.path.join("::"), each.is_exported))
        .collect();
    assert_eq!(
        imports,
        [
            "fmt = std::fmt false",
            "a = crate::a true",
            "C = crate::a::B true",
            "* = crate::d true",
            "e = super::super::e false",
            "f = super::super::f false",
            "o = self::o false",
            "p = super::p false",
        ]
    );
    let in_code: Vec<_> = found.in_code.iter().map(|path| path.join("::")).collect();
    assert_eq!(in_code, ["crate::x", "crate::h::i", "super::j::K"]);
}
