//! Turns the GraphQL library's response into the one that the specification requires: fields in the
//! order of the request, and `null` for fields that failed. The library omits failed fields, and
//! puts fields that resolve later behind the others.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
    SelectionSet, Type, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, PathSegment, Response, Value};

use crate::server::graphql::limits::select_operation;

/// The types of a schema's fields, by object type and field name.
pub(super) struct FieldTypes(HashMap<Name, HashMap<Name, Type>>);

/// The operation to execute of a checked document.
pub(super) struct PreparedOperation {
    document: Arc<ExecutableDocument>,
    name: Option<String>,
}

impl PreparedOperation {
    /// The operation called `name`, or the only one if `name` is `None`. `None` if there is no such
    /// operation.
    pub(super) fn select(document: Arc<ExecutableDocument>, name: Option<&str>) -> Option<Self> {
        select_operation(&document, name)?;
        Some(Self { document, name: name.map(str::to_owned) })
    }

    pub(super) fn definition(&self) -> &OperationDefinition {
        match select_operation(&self.document, self.name.as_deref()) {
            Some(operation) => &operation.node,
            None => unreachable!("select() has found it"),
        }
    }

    pub(super) fn document(&self) -> &ExecutableDocument {
        &self.document
    }
}

/// The expected order of a response's fields, by response key.
struct SelectionShape<'a>(IndexMap<&'a str, SelectionShape<'a>>);

impl<'a> SelectionShape<'a> {
    fn of(sets: &[&'a SelectionSet], document: &'a ExecutableDocument) -> Self {
        let mut fields: IndexMap<&str, Vec<&SelectionSet>> = IndexMap::new();
        for_each_field(sets, document, &mut |field| {
            let key = field.response_key().node.as_str();
            fields.entry(key).or_default().push(&field.selection_set.node);
        });
        let shapes = fields.into_iter().map(|(key, sets)| (key, Self::of(&sets, document)));
        Self(shapes.collect())
    }

    /// Whether `fields` is in the expected order.
    fn matches(&self, fields: &IndexMap<Name, Value>) -> bool {
        let mut keys = self.0.keys();
        fields.keys().all(|field| keys.any(|key| key == field))
    }

    fn put_in_order(&self, value: &mut Value) {
        match value {
            Value::List(items) => items.iter_mut().for_each(|item| self.put_in_order(item)),
            Value::Object(fields) => {
                if !self.matches(fields) {
                    fields.sort_by_cached_key(|key, _| self.0.get_index_of(key.as_str()));
                }
                let mut shapes = self.0.iter();
                for (field, value) in fields {
                    if let Some((_, shape)) = shapes.find(|(key, _)| *key == field) {
                        shape.put_in_order(value);
                    }
                }
            }
            _ => {}
        }
    }
}

impl FieldTypes {
    /// The types that `sdl` defines.
    pub(super) fn of(sdl: &str) -> Self {
        let mut types = HashMap::new();
        // The library has generated the SDL, so it can be parsed.
        let definitions = parse_schema(sdl).map(|schema| schema.definitions).unwrap_or_default();
        for definition in definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let TypeKind::Object(object) = definition.node.kind else {
                continue;
            };
            let fields = object
                .fields
                .into_iter()
                .map(|field| (field.node.name.node, field.node.ty.node))
                .collect();
            types.insert(definition.node.name.node, fields);
        }
        Self(types)
    }

    /// Puts the fields of `response` in order, and sets failed ones to null.
    pub(super) fn complete(&self, operation: &PreparedOperation, response: &mut Response) {
        for error in &response.errors {
            let nullable = self.nullable_length(operation, &error.path);
            match nullable {
                Some(length) => set_null(&mut response.data, &error.path[..length]),
                None => response.data = Value::Null,
            }
        }
        let selected = &operation.definition().selection_set.node;
        SelectionShape::of(&[selected], &operation.document).put_in_order(&mut response.data);
    }

    /// The length of the part of a failed field's path that ends at the nearest nullable value.
    /// `None` if nothing on the path is nullable.
    fn nullable_length(
        &self,
        operation: &PreparedOperation,
        path: &[PathSegment],
    ) -> Option<usize> {
        let definition = operation.definition();
        let mut object = match definition.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let mut sets = vec![&definition.selection_set.node];
        let mut element: Option<&Type> = None;
        let mut nullable = None;
        for (n, segment) in path.iter().enumerate() {
            let ty = match segment {
                PathSegment::Index(_) => match element.map(|list| &list.base) {
                    Some(BaseType::List(inner)) => inner.as_ref(),
                    Some(BaseType::Named(_)) | None => return nullable,
                },
                PathSegment::Field(key) => {
                    let fields = fields_of(&sets, key, &operation.document);
                    let name = &fields.first()?.name.node;
                    let Some(ty) = self.0.get(object).and_then(|fields| fields.get(name)) else {
                        return nullable;
                    };
                    sets = fields.iter().map(|field| &field.selection_set.node).collect();
                    ty
                }
            };
            if ty.nullable {
                nullable = Some(n + 1);
            }
            element = Some(ty);
            object = innermost_name(ty);
        }
        nullable
    }
}

fn innermost_name(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => innermost_name(inner),
    }
}

/// The fields of `sets` with the response key `key`, with fragments expanded.
fn fields_of<'a>(
    sets: &[&'a SelectionSet],
    key: &str,
    document: &'a ExecutableDocument,
) -> Vec<&'a Field> {
    let mut found = Vec::new();
    for_each_field(sets, document, &mut |field| {
        if field.response_key().node == key {
            found.push(field);
        }
    });
    found
}

fn for_each_field<'a>(
    sets: &[&'a SelectionSet],
    document: &'a ExecutableDocument,
    visit: &mut impl FnMut(&'a Field),
) {
    for selection in sets.iter().flat_map(|set| &set.items) {
        match &selection.node {
            Selection::Field(field) => visit(&field.node),
            Selection::InlineFragment(inline) => {
                for_each_field(&[&inline.node.selection_set.node], document, visit);
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    for_each_field(&[&fragment.node.selection_set.node], document, visit);
                }
            }
        }
    }
}

fn set_null(data: &mut Value, path: &[PathSegment]) {
    let Some((segment, rest)) = path.split_first() else {
        *data = Value::Null;
        return;
    };
    // The library omits an object if all of its fields have failed.
    if *data == Value::Null && matches!(segment, PathSegment::Field(_)) {
        *data = Value::Object(IndexMap::new());
    }
    match (segment, data) {
        (PathSegment::Field(key), Value::Object(fields)) => {
            set_null(fields.entry(Name::new(key)).or_insert(Value::Null), rest);
        }
        (PathSegment::Index(n), Value::List(items)) => {
            if let Some(item) = items.get_mut(*n) {
                set_null(item, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use async_graphql::{Pos, ServerError, value};

    use super::*;

    const SDL: &str = "
        type Query { one: Item  must: Item!  many: [Item]  all: [Item!]! }
        type Item { id: ID!  name: String  inner: Item! }
    ";

    fn completed(query: &str, data: Value, paths: &[&[PathSegment]]) -> String {
        let document = Arc::new(parse_query(query).unwrap());
        let operation = PreparedOperation::select(document, None).unwrap();
        let mut response = Response::new(data);
        response.errors = paths
            .iter()
            .map(|path| {
                let mut error = ServerError::new("failed", Some(Pos::default()));
                error.path = path.to_vec();
                error
            })
            .collect();
        FieldTypes::of(SDL).complete(&operation, &mut response);
        response.data.to_string()
    }

    fn key(name: &str) -> PathSegment {
        PathSegment::Field(name.to_owned())
    }

    #[test]
    fn failed_fields_are_null_and_null_propagates_from_non_null_fields() {
        let one = "{ a: one { id name } }";
        let data = || value!({"a": {"name": "x"}});
        assert_eq!(completed(one, data(), &[&[key("a"), key("id")]]), "{a: null}");
        let data = value!({"a": {"id": "1"}});
        assert_eq!(
            completed(one, data, &[&[key("a"), key("name")]]),
            "{a: {id: \"1\", name: null}}"
        );
        assert_eq!(completed(one, Value::Null, &[&[key("a")]]), "{a: null}");
        let must = "{ must { inner { id } } one { id } }";
        let data = value!({"must": {}, "one": {"id": "1"}});
        let path = [key("must"), key("inner"), key("id")];
        assert_eq!(completed(must, data, &[&path]), "null");
    }

    #[test]
    fn null_propagates_from_list_elements() {
        let path = |list| [key(list), PathSegment::Index(1), key("id")];
        let data = value!({"many": [{"id": "1"}, {}]});
        assert_eq!(
            completed("{ many { id } }", data, &[&path("many")]),
            "{many: [{id: \"1\"}, null]}"
        );
        let data = value!({"all": [{"id": "1"}, {}]});
        assert_eq!(completed("{ all { id } }", data, &[&path("all")]), "null");
    }

    #[test]
    fn fields_have_the_order_of_the_request() {
        let query = "{ b: one { ...f } a: one { id } } fragment f on Item { name id }";
        let data = value!({"a": {"id": "1"}, "b": {"id": "2", "name": "x"}});
        assert_eq!(completed(query, data, &[]), "{b: {name: \"x\", id: \"2\"}, a: {id: \"1\"}}");
        let skipped = "{ one { name @skip(if: true) id } }";
        assert_eq!(completed(skipped, value!({"one": {"id": "1"}}), &[]), "{one: {id: \"1\"}}");
    }
}
