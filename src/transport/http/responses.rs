//! What the user and product services answer, read. It is understood, or no order rests on it.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::ids::{ProductId, UserId};
use crate::domain::money::{checked_amount, read_amount};
use crate::domain::quote::Quote;
use crate::json_object::JsonObject;

/// What an answer calls the id of a user.
const USER_ID_FIELDS: [&str; 4] = ["_id", "id", "user_id", "userId"];

/// Why an answer is of no use.
#[derive(Debug)]
pub enum Useless {
    /// It is not what was asked for: why, and what the reader of it has met.
    NotUnderstood(&'static str, Option<Box<dyn StdError + Send + Sync>>),
    /// It is an error, which the service words so.
    Failed(String),
}

type ParseResult<T> = std::result::Result<T, Useless>;

/// A product as a service spells it.
#[derive(Deserialize)]
struct Told<'a> {
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

impl Told<'_> {
    /// Its ids as text, whether they came as text or as numbers; none where one of them is neither.
    fn ids(&self) -> Option<Vec<String>> {
        let ids = [self.document_id, self.id];
        ids.into_iter().flatten().map(|id| text_or_number(id.get())).collect()
    }

    /// Whether every id that it has, and it may have none, is that of this product.
    fn is_about(&self, product: &ProductId) -> bool {
        self.ids().is_some_and(|ids| ids.iter().all(|id| id == product.as_str()))
    }

    fn quote(&self, product: &ProductId) -> ParseResult<Quote> {
        let stock = self.quantity.or(self.stock).and_then(|stock| stock.get().parse().ok());
        let stock = stock.ok_or_else(|| wrong("its stock is no whole number"))?;
        let price = self.price.map(|price| {
            read_amount(price.get())
                .and_then(|price| checked_amount(price).ok())
                .ok_or_else(|| wrong("its price is no amount"))
        });
        Ok(Quote { product: product.clone(), price: price.transpose()?, stock })
    }
}

/// Reads what a user service says with a success. The success is what counts; an answer that is
/// about somebody else is not believed.
///
/// # Errors
/// [`Useless`] when it is neither empty nor JSON, or about another user.
pub fn user(user: &UserId, body: &[u8]) -> ParseResult<()> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    let body: Value =
        serde_json::from_slice(body).map_err(|error| unread("it is no JSON", error))?;
    let told = body.get("result").unwrap_or(&body);
    let id = USER_ID_FIELDS.iter().find_map(|field| told.get(field));
    let is_other = match id {
        Some(Value::String(id)) => id != user.as_str(),
        Some(Value::Number(id)) => id.to_string() != user.as_str(),
        _ => false,
    };
    if is_other { Err(wrong("it is about another user")) } else { Ok(()) }
}

/// Reads a product, or it as the `result`; none where it is `null`.
///
/// # Errors
/// [`Useless`] when it is something else, or about another product.
pub fn product(product: &ProductId, body: &[u8]) -> ParseResult<Option<Quote>> {
    let body = text(body)?;
    let unread = |error| unread("it is no product", error);
    let members: Option<BTreeMap<String, &RawValue>> =
        serde_json::from_str(body).map_err(unread)?;
    let json = members.as_ref().and_then(|members| members.get("result"));
    let json = json.map_or(body, |result| result.get());
    let told: Option<JsonObject<Told<'_>>> = serde_json::from_str(json).map_err(unread)?;
    let Some(JsonObject(told)) = told else { return Ok(None) };
    if !told.is_about(product) {
        return Err(wrong("it is about another product"));
    }
    told.quote(product).map(Some)
}

/// Reads a GraphQL answer to a question for `productByIds`, whose order is the service's own.
/// Products that it leaves out, or names as `null`, are none of its.
///
/// # Errors
/// [`Useless`] when it is something else, an error, or about a product that nobody asked for.
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
        products: Option<Vec<Option<JsonObject<Told<'a>>>>>,
    }
    let JsonObject(body): JsonObject<Body<'_>> = serde_json::from_str(text(body)?)
        .map_err(|error| unread("it is no list of products", error))?;
    if let Some(error) = body.errors.as_ref().and_then(|errors| errors.first()) {
        return Err(Useless::Failed(format!("{:.200}", error.get())));
    }
    let list = body.data.and_then(|JsonObject(data)| data.products);
    let list = list.ok_or_else(|| wrong("it has no productByIds"))?;
    let mut asked: HashMap<_, _> = asked.iter().map(|id| (id.as_str(), id)).collect();
    let mut quotes = Vec::with_capacity(list.len());
    for JsonObject(told) in list.into_iter().flatten() {
        let id = told.ids().and_then(|ids| ids.into_iter().next());
        let product = id.and_then(|id| asked.remove(id.as_str()));
        let product = product.filter(|product| told.is_about(product));
        let product = product.ok_or_else(|| wrong("it is about another product"))?;
        quotes.push(told.quote(product)?);
    }
    Ok(quotes)
}

/// What nobody reads of it is text all the same, which serde would not check.
fn text(body: &[u8]) -> ParseResult<&str> {
    std::str::from_utf8(body).map_err(|error| unread("it is not UTF-8", error))
}

fn text_or_number(json: &str) -> Option<String> {
    serde_json::from_str(json).ok().or_else(|| json.parse::<i64>().ok().map(|n| n.to_string()))
}

const fn wrong(why: &'static str) -> Useless {
    Useless::NotUnderstood(why, None)
}

fn unread(why: &'static str, error: impl StdError + Send + Sync + 'static) -> Useless {
    Useless::NotUnderstood(why, Some(Box::new(error)))
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
        let list = |told: &str| {
            let body = format!(r#"{{"data": {{"productByIds": [{told}]}}}}"#);
            products(&[one()], body.as_bytes()).ok()
        };
        assert_eq!(list(r#"{"id": "1", "stock": 3}"#), Some(vec![quote(None, 3)]));
        assert_eq!(list("null"), Some(Vec::new()));
        for told in [
            r#"{"stock": 3}"#,
            r#"{"id": "2", "stock": 3}"#,
            r#"{"id": "1", "stock": 3}, {"id": "1", "stock": 3}"#,
            r#"[null, "1", null, null, 3]"#,
        ] {
            assert_eq!(list(told), None, "{told}");
        }
        let failed = products(&[one()], br#"{"errors": [{"message": "no"}]}"#);
        assert!(matches!(failed, Err(Useless::Failed(error)) if error.contains("no")));
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
