//! Analyses a GraphQL request without executing it: its root fields and the type of its operation.

use std::collections::BTreeSet;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{
    ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Value, Variables};
use axum::http::Uri;

use crate::server::graphql::limits;
use crate::server::graphql::params::Params;

/// The arguments that name an order.
const ORDER_ARGUMENTS: [&str; 2] = ["id", "orderId"];

/// What a GraphQL request would execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationSummary {
    /// Its root fields, without duplicates. `introspection` stands for all introspection fields.
    pub fields: Vec<String>,
    /// Whether it is a mutation.
    pub is_mutation: bool,
    /// Whether it is a subscription.
    pub is_subscription: bool,
    /// The document and its variables, as JSON.
    pub text: String,
}

/// Analyses a request to `/graphql`. `None` if it is malformed, has a syntax error, or does not
/// name one of several operations.
#[must_use]
pub fn summarize(method: &str, target: &str, body: &[u8]) -> Option<OperationSummary> {
    let params = match method {
        "GET" => Params::from_url(&target.parse::<Uri>().ok()?),
        _ => Params::from_json(body),
    };
    let params = params.ok()?;
    limits::check_text(&params.query).ok()?;
    let document = parse_query(&params.query).ok()?;
    let operation = &limits::select_operation(&document, params.operation_name.as_deref())?.node;
    let mut roots = Roots { document: &document, seen: BTreeSet::new(), fields: Vec::new() };
    roots.collect(&operation.selection_set.node);
    let text = serde_json::json!({
        "query": params.query,
        "variables": params.variables,
        "operationName": params.operation_name,
    });
    Some(OperationSummary {
        fields: roots.fields,
        is_mutation: operation.ty == OperationType::Mutation,
        is_subscription: operation.ty == OperationType::Subscription,
        text: text.to_string(),
    })
}

/// The order that the only root field of an operation names, in its own arguments or in those of an
/// input object.
pub(super) fn order(operation: &OperationDefinition, variables: &Variables) -> Option<String> {
    let [only] = operation.selection_set.node.items.as_slice() else { return None };
    let Selection::Field(field) = &only.node else { return None };
    let mut arguments = field.node.arguments.iter();
    arguments.find_map(|(name, value)| {
        let known = |name: Name| variables.get(&name).cloned().ok_or(());
        let value = value.node.clone().into_const_with(known).ok()?;
        named_order(name.node.as_str(), &value)
    })
}

fn named_order(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) if ORDER_ARGUMENTS.contains(&name) => Some(text.clone()),
        Value::Number(number) if ORDER_ARGUMENTS.contains(&name) => Some(number.to_string()),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| named_order(name, value)),
        _ => None,
    }
}

/// Collects the root fields of an operation, with fragments expanded.
struct Roots<'a> {
    document: &'a ExecutableDocument,
    /// Fragments that have been visited.
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

    fn post(query: &str) -> Option<OperationSummary> {
        let body = serde_json::json!({ "query": query }).to_string();
        summarize("POST", "/graphql", body.as_bytes())
    }

    #[test]
    fn aliases_and_fragments_do_not_hide_fields() {
        let summary = post(
            "mutation { a: createOrder { b } ...f ... on Mutation { __typename createOrder { c } } }
             fragment f on Mutation { ...g placeOrder { d } } fragment g on Mutation { ...f e }",
        );
        let summary = summary.unwrap();
        assert_eq!(summary.fields, ["createOrder", "e", "placeOrder", "introspection"]);
        assert!(summary.is_mutation && !summary.is_subscription);
    }

    #[test]
    fn invalid_requests_have_no_summary() {
        for query in ["{ a", "", "query A { a } query B { b }"] {
            assert_eq!(post(query), None, "{query}");
        }
        assert_eq!(summarize("POST", "/graphql", b"x"), None);
        assert_eq!(summarize("GET", "/graphql", b""), None);
    }

    #[test]
    fn the_query_can_be_in_the_url() {
        let summary = summarize("GET", "/graphql?query=%7Ba%7D", b"").unwrap();
        assert_eq!(summary.fields, ["a"]);
        assert!(!summary.is_mutation);
        assert!(post("subscription { a }").unwrap().is_subscription);
    }
}
