//! Makes an answer as the specification wants it: fields in the order of the request, and null in
//! the place of what failed. The GraphQL library leaves failed fields out and puts those that had
//! to wait behind the others.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
    SelectionSet, Type, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, PathSegment, Response, Value};

use crate::server::limits::selected;

/// The types of a schema's fields, by object and field.
pub(super) struct Types(HashMap<Name, HashMap<Name, Type>>);

/// A checked document's operation, kept for its answer.
pub(super) struct Asked {
    document: Arc<ExecutableDocument>,
    name: Option<String>,
}

impl Asked {
    /// The operation of this name; the only one where there is none. None when there is no such.
    pub(super) fn of(document: Arc<ExecutableDocument>, name: Option<&str>) -> Option<Self> {
        selected(&document, name)?;
        Some(Self { document, name: name.map(str::to_owned) })
    }

    pub(super) fn operation(&self) -> &OperationDefinition {
        match selected(&self.document, self.name.as_deref()) {
            Some(operation) => &operation.node,
            None => unreachable!("it was found when this was made"),
        }
    }

    pub(super) fn document(&self) -> &ExecutableDocument {
        &self.document
    }
}

/// Where the fields of an answer stand, by the keys that they answer under.
struct Shape<'a>(IndexMap<&'a str, Shape<'a>>);

impl<'a> Shape<'a> {
    fn of(sets: &[&'a SelectionSet], document: &'a ExecutableDocument) -> Self {
        let mut fields: IndexMap<&str, Vec<&SelectionSet>> = IndexMap::new();
        for_each_field(sets, document, &mut |field| {
            let key = field.response_key().node.as_str();
            fields.entry(key).or_default().push(&field.selection_set.node);
        });
        let shapes = fields.into_iter().map(|(key, sets)| (key, Self::of(&sets, document)));
        Self(shapes.collect())
    }

    /// Whether the keys of `fields` stand as they should.
    fn is_that_of(&self, fields: &IndexMap<Name, Value>) -> bool {
        let mut keys = self.0.keys();
        fields.keys().all(|field| keys.any(|key| key == field))
    }

    fn put_in_order(&self, value: &mut Value) {
        match value {
            Value::List(items) => items.iter_mut().for_each(|item| self.put_in_order(item)),
            Value::Object(fields) => {
                if !self.is_that_of(fields) {
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

impl Types {
    /// The types in a schema's own description.
    pub(super) fn of(sdl: &str) -> Self {
        let mut types = HashMap::new();
        // The library wrote the text, so it can be read.
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

    /// Puts the fields of `response` in order and null where something failed.
    pub(super) fn complete(&self, asked: &Asked, response: &mut Response) {
        for error in &response.errors {
            let nullable = self.nullable_length(asked, &error.path);
            match nullable {
                Some(length) => set_null(&mut response.data, &error.path[..length]),
                None => response.data = Value::Null,
            }
        }
        let selected = &asked.operation().selection_set.node;
        Shape::of(&[selected], &asked.document).put_in_order(&mut response.data);
    }

    /// How much of a failed field's path leads to what may be null; none when nothing does.
    fn nullable_length(&self, asked: &Asked, path: &[PathSegment]) -> Option<usize> {
        let operation = asked.operation();
        let mut object = match operation.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let mut sets = vec![&operation.selection_set.node];
        let mut element: Option<&Type> = None;
        let mut nullable = None;
        for (n, segment) in path.iter().enumerate() {
            let ty = match segment {
                PathSegment::Index(_) => match element.map(|list| &list.base) {
                    Some(BaseType::List(inner)) => inner.as_ref(),
                    Some(BaseType::Named(_)) | None => return nullable,
                },
                PathSegment::Field(key) => {
                    let fields = fields_of(&sets, key, &asked.document);
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
            object = named(ty);
        }
        nullable
    }
}

fn named(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => named(inner),
    }
}

/// The fields of `sets` that answer under `key`, fragments included.
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
    // An object all of whose fields have failed was left out whole.
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
        let asked = Asked::of(document, None).unwrap();
        let mut response = Response::new(data);
        response.errors = paths
            .iter()
            .map(|path| {
                let mut error = ServerError::new("failed", Some(Pos::default()));
                error.path = path.to_vec();
                error
            })
            .collect();
        Types::of(SDL).complete(&asked, &mut response);
        response.data.to_string()
    }

    fn key(name: &str) -> PathSegment {
        PathSegment::Field(name.to_owned())
    }

    #[test]
    fn what_failed_is_null_and_what_must_not_be_takes_its_parent_along() {
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
    fn lists_lose_the_element_or_everything() {
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
    fn fields_stand_in_the_order_of_the_request() {
        let query = "{ b: one { ...f } a: one { id } } fragment f on Item { name id }";
        let data = value!({"a": {"id": "1"}, "b": {"id": "2", "name": "x"}});
        assert_eq!(completed(query, data, &[]), "{b: {name: \"x\", id: \"2\"}, a: {id: \"1\"}}");
        let skipped = "{ one { name @skip(if: true) id } }";
        assert_eq!(completed(skipped, value!({"one": {"id": "1"}}), &[]), "{one: {id: \"1\"}}");
    }
}
