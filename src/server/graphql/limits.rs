//! Limits of a GraphQL document, checked before the document is validated or executed.
//!
//! The GraphQL library has limits too, but applies them while it expands fragments, which can take
//! exponential time. These checks take time linear in the length of the document.

use std::collections::HashMap;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, FragmentDefinition, OperationType, Selection,
    SelectionSet,
};
use async_graphql::{Name, Positioned};

use crate::error::{Error, ErrorKind, Result};

/// Longest GraphQL document, in bytes.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;
/// Most tokens in a document.
pub const TOKENS_MAX: usize = 10_000;
/// Deepest nesting of brackets of any kind in a document.
pub const NESTING_MAX: usize = 40;
/// Most fields in a document, with fragments expanded. Introspection needs about 260.
pub const FIELDS_MAX: usize = 500;
/// Most aliases in a document, with fragments expanded.
pub const ALIASES_MAX: usize = 100;
/// Most directives in a document, with fragments expanded.
pub const DIRECTIVES_MAX: usize = 100;
/// Most directives on one field.
pub const DIRECTIVES_PER_FIELD_MAX: usize = 4;
/// Most fields at the root of a query.
pub const ROOT_FIELDS_MAX: usize = 20;
/// Most mutations in one request.
pub const MUTATIONS_MAX: usize = 4;
/// Deepest nesting of fields. Introspection needs 15.
pub const DEPTH_MAX: usize = 15;
/// Deepest nesting of fields and fragments combined.
pub const RECURSION_MAX: usize = 32;
/// Highest complexity. Each schema assigns weights to its fields.
pub const COMPLEXITY_MAX: usize = 5_000;
/// Most concurrent operations on one WebSocket.
pub const OPERATIONS_PER_SOCKET_MAX: usize = 50;

/// Checks the limits that need no parsing: length, number of tokens, nesting of brackets.
///
/// # Errors
/// `TooLarge`, naming the limit.
pub fn check_text(query: &str) -> Result<()> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(exceeded("bytes", QUERY_BYTES_MAX));
    }
    let bytes = query.as_bytes();
    let (mut at, mut tokens, mut nesting) = (0, 0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += bytes[at..].iter().take_while(|byte| **byte != b'\n').count();
                continue;
            }
            b'"' => at += string_length(&bytes[at..]),
            b'{' | b'[' | b'(' => {
                nesting += 1;
                at += 1;
            }
            b'}' | b']' | b')' => {
                nesting = nesting.saturating_sub(1);
                at += 1;
            }
            _ if is_word(byte) => {
                at += bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
            }
            _ => at += 1,
        }
        tokens += 1;
        if nesting > NESTING_MAX {
            return Err(exceeded("levels of brackets", NESTING_MAX));
        }
        if tokens > TOKENS_MAX {
            return Err(exceeded("tokens", TOKENS_MAX));
        }
    }
    Ok(())
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.')
}

/// Length of the string or block string at the start of `bytes`. An unterminated one extends to
/// the end of the text.
fn string_length(bytes: &[u8]) -> usize {
    let quote: &[u8] = if bytes.starts_with(br#"""""#) { br#"""""# } else { br#"""# };
    let mut at = quote.len();
    while at < bytes.len() && !bytes[at..].starts_with(quote) {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + quote.len()).min(bytes.len())
}

/// The size of a selection set with fragments expanded.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Top-level fields.
    roots: usize,
    /// Fields at all levels.
    fields: usize,
    aliases: usize,
    directives: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.roots = self.roots.saturating_add(other.roots);
        self.fields = self.fields.saturating_add(other.fields);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
    }
}

/// Checks the limits of a parsed document, with fragments expanded.
///
/// # Errors
/// `TooLarge`, naming the limit; `InvalidInput` if a fragment contains itself.
pub fn check_document(document: &ExecutableDocument) -> Result<()> {
    let mut costs = Costs { fragments: &document.fragments, known: HashMap::new() };
    let mut total = Cost::default();
    for (_, operation) in document.operations.iter() {
        let cost = costs.of(&operation.node.selection_set.node)?;
        match operation.node.ty {
            OperationType::Mutation if cost.roots > MUTATIONS_MAX => {
                return Err(exceeded("mutations", MUTATIONS_MAX));
            }
            OperationType::Subscription if cost.roots > 1 => {
                return Err(exceeded("field at the root of a subscription", 1));
            }
            _ if cost.roots > ROOT_FIELDS_MAX => {
                return Err(exceeded("fields at the root", ROOT_FIELDS_MAX));
            }
            _ => total.add(cost),
        }
    }
    // Validation also visits fragments that no operation uses.
    for fragment in document.fragments.keys() {
        costs.of_fragment(fragment)?;
    }
    for (count, what, max) in [
        (total.fields, "fields", FIELDS_MAX),
        (total.aliases, "aliases", ALIASES_MAX),
        (total.directives, "directives", DIRECTIVES_MAX),
    ] {
        if count > max {
            return Err(exceeded(what, max));
        }
    }
    Ok(())
}

/// Computes costs. The cost of each fragment is computed once.
struct Costs<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    /// `None` while the cost is being computed. A lookup that finds `None` is a cycle.
    known: HashMap<&'a str, Option<Cost>>,
}

impl<'a> Costs<'a> {
    fn of(&mut self, set: &'a SelectionSet) -> Result<Cost> {
        let mut total = Cost::default();
        for selection in &set.items {
            let cost = match &selection.node {
                Selection::Field(field) => {
                    let inner = self.of(&field.node.selection_set.node)?;
                    Cost {
                        roots: 1,
                        fields: inner.fields.saturating_add(1),
                        aliases: inner
                            .aliases
                            .saturating_add(usize::from(field.node.alias.is_some())),
                        directives: inner.directives,
                    }
                }
                Selection::InlineFragment(inline) => self.of(&inline.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => {
                    self.of_fragment(&spread.node.fragment_name.node)?
                }
            };
            total.add(cost);
            total.directives = total.directives.saturating_add(selection.node.directives().len());
        }
        Ok(total)
    }

    fn of_fragment(&mut self, name: &Name) -> Result<Cost> {
        // Validation reports undefined fragments.
        let Some((name, fragment)) = self.fragments.get_key_value(name) else {
            return Ok(Cost::default());
        };
        match self.known.get(name.as_str()) {
            Some(Some(cost)) => Ok(*cost),
            Some(None) => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("The fragment {name} contains itself."),
            )),
            None => {
                self.known.insert(name, None);
                let cost = self.of(&fragment.node.selection_set.node)?;
                self.known.insert(name, Some(cost));
                Ok(cost)
            }
        }
    }
}

/// The operation called `name`, or the document's only operation if `name` is `None`. `None` if
/// there is no such operation.
#[must_use]
pub fn select_operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a Positioned<async_graphql::parser::types::OperationDefinition>> {
    match (&document.operations, name) {
        (DocumentOperations::Single(only), None) => Some(only),
        (DocumentOperations::Single(_), Some(_)) => None,
        (DocumentOperations::Multiple(named), Some(name)) => named.get(name),
        (DocumentOperations::Multiple(named), None) => {
            named.values().next().filter(|_| named.len() == 1)
        }
    }
}

fn exceeded(what: &str, max: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("A GraphQL document has at most {max} {what}."))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use async_graphql::parser::parse_query;

    use super::*;

    fn text_is_rejected(query: &str) -> bool {
        check_text(query).is_err()
    }

    fn document_is_rejected(query: &str) -> bool {
        check_text(query).unwrap();
        check_document(&parse_query(query).unwrap()).is_err()
    }

    #[test]
    fn brackets_in_strings_and_comments_are_not_counted() {
        let deep = |open: &str, close: &str, n| format!("{}a{}", open.repeat(n), close.repeat(n));
        assert!(!text_is_rejected(&deep("{a", "}", NESTING_MAX)));
        assert!(text_is_rejected(&deep("{a", "}", NESTING_MAX + 1)));
        assert!(text_is_rejected(&deep("[", "]", 10_000)));
        for text in [r#""{{{{ \" {{{{""#, r#""""{{{{ " {{{{""""#, "#{{{{{{{{\n"] {
            assert!(!text_is_rejected(&text.repeat(8)), "{text}");
        }
        assert!(text_is_rejected(&format!("\"\" {}", "{".repeat(NESTING_MAX + 1))));
        assert!(!text_is_rejected("\"never closed {{{{"));
        assert!(!text_is_rejected("\"\\"));
    }

    #[test]
    fn length_and_tokens_are_limited() {
        assert!(!text_is_rejected(&"a ".repeat(TOKENS_MAX)));
        assert!(text_is_rejected(&"a ".repeat(TOKENS_MAX + 1)));
        assert!(text_is_rejected(&" ".repeat(QUERY_BYTES_MAX + 1)));
    }

    #[test]
    fn expanded_fragments_are_counted_in_linear_time() {
        let mut query = "{ ...f0 }".to_owned();
        for n in 0..200 {
            let _ = write!(query, " fragment f{n} on Query {{ ...f{0} ...f{0} }}", n + 1);
        }
        query.push_str(" fragment f200 on Query { a }");
        assert!(document_is_rejected(&query), "2^200 fields");
    }

    #[test]
    fn a_fragment_that_contains_itself_is_rejected() {
        assert!(document_is_rejected("{ ...a } fragment a on Q { b { ...a ...a } }"));
        assert!(document_is_rejected("{ x } fragment a on Q { ...b } fragment b on Q { ...a }"));
        assert!(!document_is_rejected("{ ...a ...a } fragment a on Q { b }"));
        assert!(!document_is_rejected("{ ...unknown }"));
    }

    #[test]
    fn each_kind_of_repetition_is_limited() {
        let repeated = |part: &str, n: usize| format!("{{ {} }}", part.repeat(n));
        assert!(document_is_rejected(&repeated("a ", ROOT_FIELDS_MAX + 1)));
        assert!(!document_is_rejected(&repeated("a ", ROOT_FIELDS_MAX)));
        let inner = |part: &str, n: usize| format!("{{ a {} }}", repeated(part, n));
        assert!(!document_is_rejected(&inner("b ", FIELDS_MAX - 1)));
        assert!(document_is_rejected(&inner("b ", FIELDS_MAX)));
        assert!(!document_is_rejected(&inner("b: c ", ALIASES_MAX)));
        assert!(document_is_rejected(&inner("b: c ", ALIASES_MAX + 1)));
        let directives = "@skip(if: false) ".repeat(DIRECTIVES_MAX + 1);
        assert!(document_is_rejected(&format!("{{ a {directives} }}")));
        let hidden = "mutation { ...m ...m ...m } fragment m on Mutation { a b }";
        assert!(document_is_rejected(hidden), "six mutations");
        assert!(document_is_rejected("subscription { a b }"));
    }

    #[test]
    fn the_named_or_the_only_operation_is_selected() {
        let document = parse_query("query A { a } mutation B { b }").unwrap();
        let kind = |name| select_operation(&document, name).map(|operation| operation.node.ty);
        assert_eq!(kind(Some("B")), Some(OperationType::Mutation));
        assert_eq!(kind(None), None);
        assert_eq!(kind(Some("C")), None);
        let document = parse_query("{ a }").unwrap();
        assert!(select_operation(&document, None).is_some());
    }
}
