//! What is checked of a request's variables before the GraphQL library sees them. It panics over
//! the default of a list whose type the schema does not have, and notices only while it executes
//! that a value is missing.

use std::collections::HashSet;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, OperationDefinition, Type, TypeSystemDefinition,
};
use async_graphql::{Name, Pos, Positioned, ServerError, Value, Variables};

use crate::error::{Error, ErrorKind};
use crate::server::graphql::told;

/// Those that no schema defines.
const BUILT_IN: [&str; 5] = ["Boolean", "Float", "ID", "Int", "String"];

/// The names of a schema's types.
pub(super) struct TypeNames(HashSet<Name>);

impl TypeNames {
    /// The names in a schema's own description, and those of the types that every schema has.
    pub(super) fn of(sdl: &str) -> Self {
        // The library wrote the text, so it can be read.
        let definitions = parse_schema(sdl).map(|schema| schema.definitions).unwrap_or_default();
        let defined = definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some(definition.node.name.node),
            _ => None,
        });
        Self(defined.chain(BUILT_IN.map(Name::new)).collect())
    }

    /// Refuses variables of types that there are not, of whichever operation: all of them are
    /// validated.
    pub(super) fn check(&self, document: &ExecutableDocument) -> Result<(), Vec<ServerError>> {
        let definitions =
            document.operations.iter().flat_map(|(_, each)| &each.node.variable_definitions);
        refused(definitions.filter_map(|Positioned { pos, node }| {
            let name = innermost(&node.var_type.node);
            (!self.0.contains(name)).then(|| (*pos, format!("Unknown type \"{name}\"")))
        }))
    }
}

/// Refuses an operation one of whose required variables has no value.
pub(super) fn check_values(
    operation: &OperationDefinition,
    values: &Variables,
) -> Result<(), Vec<ServerError>> {
    refused(operation.variable_definitions.iter().filter_map(|Positioned { pos, node }| {
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

fn refused(wrong: impl Iterator<Item = (Pos, String)>) -> Result<(), Vec<ServerError>> {
    let errors: Vec<_> = wrong
        .map(|(pos, message)| told(&Error::new(ErrorKind::InvalidInput, message), Some(pos)))
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

    fn told_of(query: &str) -> Vec<String> {
        let checked = TypeNames::of(SDL).check(&parse_query(query).unwrap());
        checked.err().unwrap_or_default().into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn a_variable_has_a_type_of_the_schema() {
        for known in ["Int", "[ID!]!", "Time!", "[[Line]]", "[Kind!]", "String", "Float", "Boolean"]
        {
            assert_eq!(told_of(&format!("query ($a: {known} = 1) {{ a }}")), [""; 0], "{known}");
        }
        for unknown in ["X", "X!", "[X]", "[[X!]!]!"] {
            let query = format!("query A {{ a }} query B($a: Int, $b: {unknown} = [1]) {{ a }}");
            assert_eq!(told_of(&query), ["Unknown type \"X\""], "{unknown}");
        }
    }

    #[test]
    fn what_is_required_has_a_value() {
        let document = parse_query("query ($a: Int!, $b: Int, $c: Int! = 1) { a }").unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        let is_good = |values: serde_json::Value| {
            check_values(&operation.node, &Variables::from_json(values)).is_ok()
        };
        assert!(is_good(serde_json::json!({"a": 1})));
        assert!(!is_good(serde_json::json!({"b": 1, "c": 1})));
        assert!(!is_good(serde_json::json!({"a": null})));
    }
}
