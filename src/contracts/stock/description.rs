//! The OpenAPI description in both spellings.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{Content, ObjectBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{OpenApi as _, PartialSchema as _, ToSchema as _};

use crate::contracts::amount;
use crate::contracts::stock::StockSpelling;
use crate::contracts::stock::api::StockOpenApi;
use crate::contracts::stock::wire::{StockMessage, StockPlaced};

/// The media type of all bodies.
const JSON: &str = "application/json";

/// The description in a spelling.
pub(super) fn description(spelling: StockSpelling) -> OpenApi {
    let mut described = StockOpenApi::openapi();
    if spelling == StockSpelling::Documented {
        return described;
    }
    let items = described.paths.paths.iter_mut();
    for (path, item) in items {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            state_errors_as_text(operation);
            if path == "/order/{id}" && operation.operation_id.as_deref() == Some("delete") {
                operation.responses.responses.insert("200".to_owned(), text("Deleted.").into());
            }
        }
        if let (true, Some(get)) = (path == "/order/{id}", &mut item.get) {
            let none = answer("The user has no orders.", "#/components/schemas/stock.Message");
            get.responses.responses.insert("404".to_owned(), none.into());
        }
        if let (true, Some(create)) = (path == "/order/create", &mut item.post) {
            let responses = &mut create.responses.responses;
            responses.remove("201");
            let placed = answer("Placed.", "#/components/schemas/stock.Placed");
            responses.insert("200".to_owned(), placed.into());
        }
    }
    let schemas = &mut described.components.get_or_insert_default().schemas;
    schemas.insert(StockPlaced::name().into_owned(), StockPlaced::schema());
    schemas.insert(StockMessage::name().into_owned(), StockMessage::schema());
    if let Some(RefOr::T(utoipa::openapi::Schema::Object(new))) = schemas.get_mut("stock.NewOrder")
    {
        new.properties.insert("totalAmount".to_owned(), amount::request_schema());
    }
    described
}

fn state_errors_as_text(operation: &mut Operation) {
    for (code, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if !code.starts_with('2') {
            *response = text(&response.description);
        }
    }
}

fn text(about: &str) -> Response {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).build();
    ResponseBuilder::new().description(about).content(JSON, Content::new(Some(text))).build()
}

fn answer(about: &str, schema: &str) -> Response {
    let content = Content::new(Some(Ref::new(schema)));
    ResponseBuilder::new().description(about).content(JSON, content).build()
}
