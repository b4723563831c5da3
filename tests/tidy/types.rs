//! The names of the crate's types.

use std::collections::BTreeMap;

use crate::paths::is_word;
use crate::source::Source;
use crate::tokens::{Token, tokens};

/// The names that more than one struct, enum, trait or alias has, with the files that define them.
pub fn shared_names(sources: &[Source]) -> Vec<String> {
    let mut places: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for source in sources {
        for name in type_names(&tokens(&source.text)) {
            places.entry(name).or_default().push(&source.path);
        }
    }
    places.retain(|_, files| files.len() > 1);
    places.iter().map(|(name, files)| format!("{name}: {}", files.join(", "))).collect()
}

/// The types that a file defines, without the associated types of its traits.
fn type_names(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    // For each open brace, whether it is the body of an `impl` or a `trait`.
    let mut bodies: Vec<bool> = Vec::new();
    let mut begins_body = false;
    for pair in tokens.windows(2) {
        let (token, next) = (pair[0].as_str(), pair[1].as_str());
        let is_associated = bodies.last() == Some(&true);
        match token {
            "{" => bodies.push(std::mem::take(&mut begins_body)),
            "}" => drop(bodies.pop()),
            ";" => begins_body = false,
            "impl" => begins_body = true,
            "struct" | "enum" | "trait" | "union" if is_word(next) => found.push(next.to_owned()),
            "type" if is_word(next) && !is_associated => found.push(next.to_owned()),
            _ => {}
        }
        begins_body |= token == "trait";
    }
    found
}

#[test]
fn associated_types_are_no_types_of_the_crate() {
    let text = "struct A<T>(T); enum B {} type C = A<B>; trait D { type E; fn f(); } \
                impl D for B { type E = C; fn f() { struct G; } } fn h(_: impl D) {} type I = B;";
    assert_eq!(type_names(&tokens(text)), ["A", "B", "C", "D", "G", "I"]);
}
