//! Checks of a request's variables that the GraphQL library lacks. It panics on a default value for
//! a list of an unknown type, and reports a missing value only during execution.

use std::collections::HashSet;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, OperationDefinition, Type, TypeSystemDefinition,
};
use async_graphql::{Name, Pos, Positioned, ServerError, Value, Variables};

use crate::error::{Error, ErrorKind};
use crate::server::graphql::error::graphql_error;

/// Types that schemas do not define.
const BUILT_IN: [&str; 5] = ["Boolean", "Float", "ID", "Int", "String"];

/// The names of all types of a schema.
pub(super) struct TypeNames(HashSet<Name>);

impl TypeNames {
    /// The types that `sdl` defines, and the built-in ones.
    pub(super) fn of(sdl: &str) -> Self {
        // The library has generated the SDL, so it can be parsed.
        let definitions = parse_schema(sdl).map(|schema| schema.definitions).unwrap_or_default();
        let defined = definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some(definition.node.name.node),
            _ => None,
        });
        Self(defined.chain(BUILT_IN.map(Name::new)).collect())
    }

    /// Rejects variables of unknown types in all operations, because the library validates all
    /// operations of a document.
    pub(super) fn check(&self, document: &ExecutableDocument) -> Result<(), Vec<ServerError>> {
        let definitions =
            document.operations.iter().flat_map(|(_, each)| &each.node.variable_definitions);
        errors_of(definitions.filter_map(|Positioned { pos, node }| {
            let name = innermost(&node.var_type.node);
            (!self.0.contains(name)).then(|| (*pos, format!("Unknown type \"{name}\"")))
        }))
    }
}

/// Rejects an operation if a required variable has no value.
pub(super) fn check_values(
    operation: &OperationDefinition,
    values: &Variables,
) -> Result<(), Vec<ServerError>> {
    errors_of(operation.variable_definitions.iter().filter_map(|Positioned { pos, node }| {
        let is_null = matches!(values.get(&node.name.node), None | Some(Value::Null));
        let is_missing = is_null && !node.var_type.node.nullable && node.default_value.is_none();
        let message =
            || format!("The variable ${} of type {} has no value.", node.name, node.var_type);
        is_missing.then(|| (*pos, message()))
    }))
}

fn innermost(ty: &Type) -> &Name {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => innermost(inner),
    }
}

fn errors_of(problems: impl Iterator<Item = (Pos, String)>) -> Result<(), Vec<ServerError>> {
    let errors: Vec<_> = problems
        .map(|(pos, message)| {
            graphql_error(&Error::new(ErrorKind::InvalidInput, message), Some(pos))
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    const SDL: &str = "
        scalar Time
        enum Kind { A }
        input Line { id: ID! }
        type Query { one(lines: [Line!]): Int }
    ";

    fn messages(query: &str) -> Vec<String> {
        let checked = TypeNames::of(SDL).check(&parse_query(query).unwrap());
        checked.err().unwrap_or_default().into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn variables_of_unknown_types_are_rejected() {
        for known in ["Int", "[ID!]!", "Time!", "[[Line]]", "[Kind!]", "String", "Float", "Boolean"]
        {
            assert_eq!(messages(&format!("query ($a: {known} = 1) {{ a }}")), [""; 0], "{known}");
        }
        for unknown in ["X", "X!", "[X]", "[[X!]!]!"] {
            let query = format!("query A {{ a }} query B($a: Int, $b: {unknown} = [1]) {{ a }}");
            assert_eq!(messages(&query), ["Unknown type \"X\""], "{unknown}");
        }
    }

    #[test]
    fn required_variables_without_a_value_are_rejected() {
        let document = parse_query("query ($a: Int!, $b: Int, $c: Int! = 1) { a }").unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        let is_valid = |values: serde_json::Value| {
            check_values(&operation.node, &Variables::from_json(values)).is_ok()
        };
        assert!(is_valid(serde_json::json!({"a": 1})));
        assert!(!is_valid(serde_json::json!({"b": 1, "c": 1})));
        assert!(!is_valid(serde_json::json!({"a": null})));
    }
}
