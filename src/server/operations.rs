//! Names what a request would run, without running it.

use std::collections::BTreeSet;

use async_graphql::Name;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use axum::http::Uri;

use crate::server::limits;
use crate::server::params::Params;

/// What a GraphQL request would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The fields at its root, each once, `introspection` for those of the schema itself.
    pub fields: Vec<String>,
    /// Whether it may change something.
    pub changes: bool,
    /// Whether its answer goes on and on.
    pub streams: bool,
    /// The document with its variables, as JSON.
    pub text: String,
}

/// Names what a request to `/graphql` would run; none when it is no GraphQL request, or one that
/// has a syntax error or leaves open which of its operations is meant.
#[must_use]
pub fn named(method: &str, target: &str, body: &[u8]) -> Option<Named> {
    let params = match method {
        "GET" => Params::from_address(&target.parse::<Uri>().ok()?),
        _ => Params::from_json(body),
    };
    let params = params.ok()?;
    limits::check_text(&params.query).ok()?;
    let document = parse_query(&params.query).ok()?;
    let operation = &limits::selected(&document, params.operation_name.as_deref())?.node;
    let mut roots = Roots { document: &document, seen: BTreeSet::new(), fields: Vec::new() };
    roots.collect(&operation.selection_set.node);
    let text = serde_json::json!({
        "query": params.query,
        "variables": params.variables,
        "operationName": params.operation_name,
    });
    Some(Named {
        fields: roots.fields,
        changes: operation.ty == OperationType::Mutation,
        streams: operation.ty == OperationType::Subscription,
        text: text.to_string(),
    })
}

/// The fields at the root of an operation, its fragments expanded.
struct Roots<'a> {
    document: &'a ExecutableDocument,
    /// Fragments that have been looked into, so that each is once.
    seen: BTreeSet<&'a Name>,
    fields: Vec<String>,
}

impl<'a> Roots<'a> {
    fn collect(&mut self, set: &'a SelectionSet) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    let name = if name.starts_with("__") { "introspection" } else { name };
                    if !self.fields.iter().any(|known| known == name) {
                        self.fields.push(name.to_owned());
                    }
                }
                Selection::InlineFragment(inline) => {
                    self.collect(&inline.node.selection_set.node);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && self.seen.insert(name)
                    {
                        self.collect(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(query: &str) -> Option<Named> {
        let body = serde_json::json!({ "query": query }).to_string();
        named("POST", "/graphql", body.as_bytes())
    }

    #[test]
    fn fields_are_named_whatever_they_are_called_and_wherever_they_stand() {
        let asked = post(
            "mutation { a: createOrder { b } ...f ... on Mutation { __typename createOrder { c } } }
             fragment f on Mutation { ...g placeOrder { d } } fragment g on Mutation { ...f e }",
        );
        let asked = asked.unwrap();
        assert_eq!(asked.fields, ["createOrder", "e", "placeOrder", "introspection"]);
        assert!(asked.changes && !asked.streams);
    }

    #[test]
    fn what_cannot_be_executed_has_no_name() {
        for query in ["{ a", "", "query A { a } query B { b }"] {
            assert_eq!(post(query), None, "{query}");
        }
        assert_eq!(named("POST", "/graphql", b"x"), None);
        assert_eq!(named("GET", "/graphql", b""), None);
    }

    #[test]
    fn a_query_in_the_address_is_one_too() {
        let asked = named("GET", "/graphql?query=%7Ba%7D", b"").unwrap();
        assert_eq!(asked.fields, ["a"]);
        assert!(!asked.changes);
        assert!(post("subscription { a }").unwrap().streams);
    }
}
