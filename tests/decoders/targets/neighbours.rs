//! Data of other systems: responses of user and product services, and entries of the order cache in
//! Redis.

use order_engine::domain::ids::{ProductId, UserId};
use order_engine::domain::quote::Quote;
use order_engine::transport::http::responses;
use order_engine::transport::redis::cached_orders;
use serde_json::Value;

/// The product in a response, with or without an envelope.
fn content(value: &Value) -> &Value {
    let envelopes = ["product", "data", "result"];
    envelopes.iter().find_map(|name| value.get(*name)).unwrap_or(value)
}

/// The body of a successful response, parsed as each kind of response.
pub fn answers(data: &[u8]) {
    let value: Option<Value> = serde_json::from_slice(data).ok();
    let products = ["1", "2"].map(|id| ProductId::parse(id).expect("a product id"));
    match responses::product(&products[0], data) {
        Ok(Some(quote)) => {
            assert_eq!(quote.product, products[0]);
            if let Some(value) = &value {
                check_quote(&quote, content(value));
            }
        }
        Ok(None) => {
            if let Some(value) = &value {
                assert!(content(value).is_null(), "{value}");
            }
        }
        Err(_) => {}
    }
    if let Ok(quotes) = responses::products(&products, data) {
        for product in &products {
            assert!(quotes.iter().filter(|quote| quote.product == *product).count() <= 1);
        }
        if let Some(value) = &value {
            let shown = value["data"]["productByIds"].as_array().expect("a list");
            let shown: Vec<_> = shown.iter().filter(|each| !each.is_null()).collect();
            assert_eq!(shown.len(), quotes.len(), "{value}");
            quotes.iter().zip(shown).for_each(|(quote, each)| check_quote(quote, each));
        }
    }
    let user = UserId::parse("1").expect("a user id");
    if responses::user(&user, data).is_ok() {
        let id = value.and_then(|value| value.get("result").unwrap_or(&value).get("_id").cloned());
        let is_other = |id: Value| (id.is_string() || id.is_number()) && !is_id(&id, "1");
        assert!(!id.is_some_and(is_other));
    }
}

/// Checks that a quote agrees with the JSON of the product.
fn check_quote(quote: &Quote, shown: &Value) {
    for name in ["_id", "id"] {
        let id = shown.get(name).filter(|id| !id.is_null());
        assert!(id.is_none_or(|id| is_id(id, quote.product.as_str())), "{shown}");
    }
    // serde_json does not parse -0 as an integer.
    let number = |value: &Value| value.as_i64().or((value.as_f64()? == 0.0).then_some(0));
    let stock = ["quantity", "stock"].iter().find_map(|name| number(&shown[name]));
    assert_eq!(stock, Some(quote.stock), "{shown}");
    let price = shown.get("price").filter(|price| !price.is_null());
    assert_eq!(price.is_some(), quote.price.is_some(), "{shown}");
    assert!(
        quote.price.is_none_or(|price| !price.is_sign_negative() || price.is_zero()),
        "{shown}"
    );
}

fn is_id(value: &Value, id: &str) -> bool {
    match value {
        Value::String(text) => text == id,
        Value::Number(number) => number.as_i64().is_some_and(|number| number.to_string() == id),
        _ => false,
    }
}

/// A cache entry. What is parsed survives a round trip.
pub fn copies(data: &[u8]) {
    let Some(orders) = cached_orders::read(data) else { return };
    let written = cached_orders::write(&orders).expect("orders in JSON");
    assert_eq!(cached_orders::read(&written), Some(orders));
}
