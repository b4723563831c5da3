//! Parses and validates responses of the user and product services.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::ids::{ProductId, UserId};
use crate::domain::money::{checked_amount, read_amount};
use crate::domain::quote::Quote;
use crate::json_object::JsonObject;

/// Possible names of the user id in a response.
const USER_ID_FIELDS: [&str; 4] = ["_id", "id", "user_id", "userId"];

/// Names under which a response has the product, if it is not the product itself.
const ENVELOPES: [&str; 3] = ["result", "product", "data"];

/// Why a response cannot be used.
#[derive(Debug)]
pub enum UnusableResponse {
    /// The response is malformed or about something else: the reason, and the parser's error.
    Invalid(&'static str, Option<Box<dyn StdError + Send + Sync>>),
    /// The response is a GraphQL error, with this text.
    Failed(String),
}

type ParseResult<T> = std::result::Result<T, UnusableResponse>;

/// A product in a response.
#[derive(Deserialize)]
struct WireProduct<'a> {
    #[serde(rename = "_id", borrow)]
    document_id: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    stock: Option<&'a RawValue>,
}

impl WireProduct<'_> {
    /// Its ids as text, from strings or numbers. `None` if one is neither.
    fn ids(&self) -> Option<Vec<String>> {
        let ids = [self.document_id, self.id];
        ids.into_iter().flatten().map(|id| text_or_number(id.get())).collect()
    }

    /// Whether all its ids are that of `product`. It may have none.
    fn is_about(&self, product: &ProductId) -> bool {
        self.ids().is_some_and(|ids| ids.iter().all(|id| id == product.as_str()))
    }

    fn quote(&self, product: &ProductId) -> ParseResult<Quote> {
        let stock = self.quantity.or(self.stock).map(|stock| single(stock.get()));
        let stock = stock.and_then(|stock| stock.parse().ok());
        let stock = stock.ok_or_else(|| wrong("its stock is no whole number"))?;
        let price = self.price.map(|price| {
            read_amount(single(price.get()))
                .and_then(|price| checked_amount(price).ok())
                .ok_or_else(|| wrong("its price is no amount"))
        });
        Ok(Quote { product: product.clone(), price: price.transpose()?, stock })
    }
}

/// The value in a list of one value, which some services answer with; anything else is unchanged.
fn single(json: &str) -> &str {
    match serde_json::from_str::<[&RawValue; 1]>(json) {
        Ok([value]) => value.get(),
        Err(_) => json,
    }
}

/// Checks the body of a successful response about a user. The status code says that the user
/// exists. The body must not be about another user.
///
/// # Errors
/// If it is neither empty nor JSON, or is about another user.
pub fn user(user: &UserId, body: &[u8]) -> ParseResult<()> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    let body: Value =
        serde_json::from_slice(body).map_err(|error| unread("it is no JSON", error))?;
    let found = body.get("result").unwrap_or(&body);
    let id = USER_ID_FIELDS.iter().find_map(|field| found.get(field));
    let is_other = match id {
        Some(Value::String(id)) => id != user.as_str(),
        Some(Value::Number(id)) => id.to_string() != user.as_str(),
        _ => false,
    };
    if is_other { Err(wrong("it is about another user")) } else { Ok(()) }
}

/// Parses a product, or an object with the product as one of [`ENVELOPES`]. `None` if it is `null`.
///
/// # Errors
/// If it is something else, or is about another product.
pub fn product(product: &ProductId, body: &[u8]) -> ParseResult<Option<Quote>> {
    let body = text(body)?;
    let unread = |error| unread("it is no product", error);
    let members: Option<BTreeMap<String, &RawValue>> =
        serde_json::from_str(body).map_err(unread)?;
    let errors = members.as_ref().and_then(|members| members.get("errors"));
    if let Some(errors) = errors.filter(|errors| !matches!(errors.get(), "null" | "[]")) {
        return Err(UnusableResponse::Failed(format!("{:.200}", errors.get())));
    }
    let json =
        members.as_ref().and_then(|members| ENVELOPES.iter().find_map(|name| members.get(*name)));
    let json = json.map_or(body, |result| result.get());
    let found: Option<JsonObject<WireProduct<'_>>> = serde_json::from_str(json).map_err(unread)?;
    let Some(JsonObject(found)) = found else { return Ok(None) };
    if !found.is_about(product) {
        return Err(wrong("it is about another product"));
    }
    found.quote(product).map(Some)
}

/// Parses the GraphQL response to a query for `productByIds`, in any order. Products that are
/// missing or `null` do not exist.
///
/// # Errors
/// If it is something else, a GraphQL error, or contains a product that was not requested.
pub fn products(asked: &[ProductId], body: &[u8]) -> ParseResult<Vec<Quote>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        data: Option<JsonObject<Data<'a>>>,
        #[serde(borrow)]
        errors: Option<Vec<&'a RawValue>>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(rename = "productByIds", borrow)]
        products: Option<Vec<Option<JsonObject<WireProduct<'a>>>>>,
    }
    let JsonObject(body): JsonObject<Body<'_>> = serde_json::from_str(text(body)?)
        .map_err(|error| unread("it is no list of products", error))?;
    if let Some(error) = body.errors.as_ref().and_then(|errors| errors.first()) {
        return Err(UnusableResponse::Failed(format!("{:.200}", error.get())));
    }
    let list = body.data.and_then(|JsonObject(data)| data.products);
    let list = list.ok_or_else(|| wrong("it has no productByIds"))?;
    let mut asked: HashMap<_, _> = asked.iter().map(|id| (id.as_str(), id)).collect();
    let mut quotes = Vec::with_capacity(list.len());
    for JsonObject(found) in list.into_iter().flatten() {
        let id = found.ids().and_then(|ids| ids.into_iter().next());
        let product = id.and_then(|id| asked.remove(id.as_str()));
        let product = product.filter(|product| found.is_about(product));
        let product = product.ok_or_else(|| wrong("it is about another product"))?;
        quotes.push(found.quote(product)?);
    }
    Ok(quotes)
}

/// The body as text. serde would not check the encoding of fields that it ignores.
fn text(body: &[u8]) -> ParseResult<&str> {
    std::str::from_utf8(body).map_err(|error| unread("it is not UTF-8", error))
}

fn text_or_number(json: &str) -> Option<String> {
    serde_json::from_str(json).ok().or_else(|| json.parse::<i64>().ok().map(|n| n.to_string()))
}

const fn wrong(why: &'static str) -> UnusableResponse {
    UnusableResponse::Invalid(why, None)
}

fn unread(why: &'static str, error: impl StdError + Send + Sync + 'static) -> UnusableResponse {
    UnusableResponse::Invalid(why, Some(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> ProductId {
        ProductId::parse("1").unwrap()
    }

    fn quote(price: Option<&str>, stock: i64) -> Quote {
        Quote { product: one(), price: price.map(|price| price.parse().unwrap()), stock }
    }

    #[test]
    fn a_product_comes_bare_or_as_the_result_under_either_name() {
        for (body, read) in [
            (r#"{"quantity": 3}"#, Some(quote(None, 3))),
            (
                r#"{"result": {"_id": "1", "price": 9.5, "quantity": 3}}"#,
                Some(quote(Some("9.5"), 3)),
            ),
            (r#"{"_id": "1", "id": 1, "stock": 0, "quantity": 4}"#, Some(quote(None, 4))),
            (r#"{"id": "1", "stock": 5, "more": 1e999}"#, Some(quote(None, 5))),
            (
                r#"{"success": true, "product": {"id": 1, "price": 9.5, "quantity": 3}}"#,
                Some(quote(Some("9.5"), 3)),
            ),
            (
                r#"{"data": {"id": 1, "price": [9.5], "quantity": [3]}}"#,
                Some(quote(Some("9.5"), 3)),
            ),
            ("null", None),
            (r#"{"result": null}"#, None),
        ] {
            assert_eq!(product(&one(), body.as_bytes()).unwrap(), read, "{body}");
        }
    }

    #[test]
    fn what_is_no_product_is_not_guessed_at() {
        for body in [
            r#"["1", null, 9.5, 3]"#,
            r#"[{"_id": "1", "quantity": 3}]"#,
            r#"{"result": ["1", null, 9.5, 3]}"#,
            r#"{"_id": "2", "quantity": 3}"#,
            r#"{"_id": "1", "id": "2", "quantity": 3}"#,
            r#"{"_id": {}, "quantity": 3}"#,
            r#"{"quantity": 1.5}"#,
            r#"{"quantity": [3, 4]}"#,
            r#"{"quantity": []}"#,
            r#"{"quantity": "3"}"#,
            r#"{"price": -1, "quantity": 3}"#,
            r#"{"error": "not found"}"#,
            "",
        ] {
            assert!(product(&one(), body.as_bytes()).is_err(), "{body}");
        }
        assert!(product(&one(), b"{\"quantity\": 3, \"name\": \"\xff\"}").is_err());
    }

    #[test]
    fn a_list_is_matched_to_what_was_asked() {
        let list = |found: &str| {
            let body = format!(r#"{{"data": {{"productByIds": [{found}]}}}}"#);
            products(&[one()], body.as_bytes()).ok()
        };
        assert_eq!(list(r#"{"id": "1", "stock": 3}"#), Some(vec![quote(None, 3)]));
        assert_eq!(list("null"), Some(Vec::new()));
        for found in [
            r#"{"stock": 3}"#,
            r#"{"id": "2", "stock": 3}"#,
            r#"{"id": "1", "stock": 3}, {"id": "1", "stock": 3}"#,
            r#"[null, "1", null, null, 3]"#,
        ] {
            assert_eq!(list(found), None, "{found}");
        }
        let failed = products(&[one()], br#"{"errors": [{"message": "no"}]}"#);
        assert!(matches!(failed, Err(UnusableResponse::Failed(error)) if error.contains("no")));
    }

    #[test]
    fn a_user_is_not_somebody_else() {
        let seven = UserId::parse("7").unwrap();
        for body in ["", " \n", "{}", "null", r#"{"id": 7}"#, r#"{"result": {"_id": "7"}}"#] {
            assert!(user(&seven, body.as_bytes()).is_ok(), "{body}");
        }
        for body in [r#"{"id": 8}"#, r#"{"result": {"userId": "8"}}"#, "<html>"] {
            assert!(user(&seven, body.as_bytes()).is_err(), "{body}");
        }
    }
}
