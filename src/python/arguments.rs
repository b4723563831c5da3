//! Converts Python arguments to the engine's types. A wrong argument raises `InvalidInput` and is
//! named in the message.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use pyo3::exceptions::{
    PyArithmeticError, PyOverflowError, PyTypeError, PyUnicodeEncodeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyMapping, PyMemoryView, PySequence,
    PyString,
};
use rust_decimal::Decimal;

use crate::app::{Headers, InProcessRequest};
use crate::domain::caller::Caller;
use crate::domain::ids::{Actor, IdempotencyKey, OrderId, OrderName, ProductId, UserId};
use crate::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use crate::domain::replay::{ReplayCursor, ReplayFilter};
use crate::error::{Error, ErrorKind, Result};
use crate::python::errors::{is_invalid_input, message, raise};

/// Settings by name, as text.
pub(super) type Flags = HashMap<String, String>;

/// A Python object that was passed as an argument.
pub(super) type Argument<'py> = Bound<'py, PyAny>;

/// Placement requests in the order of the rows; a row that is no request keeps its error.
pub(super) type Rows = Vec<Result<PlacementRequest>>;

/// Text that can be encoded as UTF-8.
pub(super) fn text(value: &Argument<'_>, name: &str) -> PyResult<String> {
    let Ok(text) = value.cast::<PyString>() else {
        return Err(invalid(value.py(), format!("{name} must be a str, not {}.", shown(value)?)));
    };
    match text.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(value.py()) => {
            let position = error.value(value.py()).getattr("start")?;
            let text = format!(
                "{name} contains a lone surrogate at position {position}, which is not valid text."
            );
            Err(invalid(value.py(), text))
        }
        Err(error) => Err(error),
    }
}

/// Text or None.
pub(super) fn optional_text(value: Option<&Argument<'_>>, name: &str) -> PyResult<Option<String>> {
    value.map(|value| text(value, name)).transpose()
}

/// An integer of 64 bits; a bool is none.
pub(super) fn integer(value: &Argument<'_>, name: &str) -> PyResult<i64> {
    if !value.is_instance_of::<PyInt>() || value.is_instance_of::<PyBool>() {
        return Err(invalid(value.py(), format!("{name} must be an int, not {}.", shown(value)?)));
    }
    value.extract().map_err(|_| invalid(value.py(), format!("{name} is out of range.")))
}

/// The id of a user.
pub(super) fn user_id(value: &Argument<'_>) -> PyResult<UserId> {
    valid(value.py(), UserId::parse(opaque_id(value, "user_id")?))
}

/// The id of a user, or None.
pub(super) fn optional_user_id(value: Option<&Argument<'_>>) -> PyResult<Option<UserId>> {
    value.map(user_id).transpose()
}

/// The id of a product.
pub(super) fn product_id(value: &Argument<'_>) -> PyResult<ProductId> {
    valid(value.py(), ProductId::parse(opaque_id(value, "product_id")?))
}

/// The number of an order, or its id of 24 hex digits.
///
/// Raises `InvalidInput` for anything else, `NotFound` for a number below 1.
pub(super) fn order_id(value: &Argument<'_>) -> PyResult<OrderName> {
    if value.is_instance_of::<PyString>() {
        let text = text(value, "order_id")?;
        return OrderName::parse(&text).ok_or_else(|| {
            let text = format!("order_id must be a number or 24 hex digits, not {text:?}.");
            invalid(value.py(), text)
        });
    }
    let number = integer(value, "order_id")?;
    let id = OrderId::parse(&number.to_string());
    id.map(OrderName::from).ok_or_else(|| raise(value.py(), &order_not_found(number)))
}

/// Error for an order that does not exist.
pub(super) fn order_not_found(order: impl fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, format!("Order with id {order} not found"))
}

/// Parses the `next_cursor` of a page.
///
/// # Errors
/// `InvalidInput` for any other text.
pub(super) fn page_cursor(cursor: &str) -> Result<OrderId> {
    OrderId::parse(cursor).ok_or_else(|| {
        let text = "cursor is not the next_cursor of an earlier page.";
        Error::new(ErrorKind::InvalidInput, text)
    })
}

/// The argument `limit`.
pub(super) fn limit(value: &Argument<'_>) -> PyResult<i64> {
    integer(value, "limit")
}

/// The argument `rate_per_s`.
pub(super) fn rate(value: &Argument<'_>) -> PyResult<i64> {
    integer(value, "rate_per_s")
}

/// The ids of orders; None means all, so an empty list is refused.
pub(super) fn order_ids(values: Option<&Argument<'_>>) -> PyResult<Vec<OrderName>> {
    let Some(values) = values else { return Ok(Vec::new()) };
    let ids = list(values, "order_ids", |value, _| order_id(value))?;
    if ids.is_empty() {
        let text = "order_ids is empty. Leave it out to mean all orders.";
        return Err(invalid(values.py(), text.to_owned()));
    }
    Ok(ids)
}

/// The numbers of messages.
pub(super) fn message_ids(values: &Argument<'_>) -> PyResult<Vec<i64>> {
    list(values, "ids", integer)
}

/// The author of a change; None stands for `system`.
pub(super) fn caller(actor: Option<&Argument<'_>>) -> PyResult<Caller> {
    let Some(actor) = actor else { return Ok(Caller::System) };
    valid(actor.py(), Actor::parse(opaque_id(actor, "actor")?)).map(Caller::Operator)
}

/// An exact amount; a float stands for the digits that Python prints.
pub(super) fn amount(value: &Argument<'_>, name: &str) -> PyResult<Decimal> {
    let decimal = value.py().import("decimal")?.getattr("Decimal")?;
    let is_number = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>()
        || value.is_instance_of::<PyFloat>()
        || value.is_instance_of::<PyString>()
        || value.is_instance(&decimal)?;
    if !is_number {
        return Err(invalid(
            value.py(),
            format!("{name} must be a number, not {}.", shown(value)?),
        ));
    }
    // Through Python's own type, so that every spelling that it accepts is read alike.
    let exact = match decimal.call1((value.str()?,)) {
        Ok(exact) => exact.call_method1("__format__", ("f",))?.extract::<String>()?,
        Err(error) if error.is_instance_of::<PyArithmeticError>(value.py()) => String::new(),
        Err(error) => return Err(error),
    };
    Decimal::from_str_exact(&exact).map_err(|_| {
        let text =
            format!("{name} must be a number below 10^15 with at most four decimals, not {value}.");
        invalid(value.py(), text)
    })
}

/// A number of units in stock, 0 or more. Only the product service itself may report less.
pub(super) fn stock(value: &Argument<'_>) -> PyResult<i64> {
    let quantity = integer(value, "quantity")?;
    if quantity < 0 {
        let text = format!("A stock must be 0 or more, not {quantity}.");
        return Err(invalid(value.py(), text));
    }
    Ok(quantity)
}

/// The part of the history that a replay covers.
pub(super) fn replay_filter(
    orders: Option<&Argument<'_>>,
    since: Option<&Argument<'_>>,
    until: Option<&Argument<'_>>,
    after: Option<&Argument<'_>>,
) -> PyResult<ReplayFilter> {
    let after = match after {
        None => None,
        Some(after) => Some(valid(after.py(), ReplayCursor::parse(&text(after, "after")?))?),
    };
    let since = since.map(|value| moment(value, "since")).transpose()?;
    let until = until.map(|value| moment(value, "until")).transpose()?;
    Ok(ReplayFilter { since, until, orders: order_ids(orders)?, after })
}

/// A point in time: an aware datetime, or a timedelta before now.
fn moment(value: &Argument<'_>, name: &str) -> PyResult<DateTime<Utc>> {
    let py = value.py();
    let out_of_range = || invalid(py, format!("{name} is out of range."));
    let datetime = py.import("datetime")?;
    if value.is_instance(&datetime.getattr("timedelta")?)? {
        let delta = value.extract::<TimeDelta>().map_err(|_| out_of_range())?;
        let moment = Utc::now().checked_sub_signed(delta);
        return moment.filter(|moment| moment.year() >= 1).ok_or_else(out_of_range);
    }
    if !value.is_instance(&datetime.getattr("datetime")?)? {
        let text = format!("{name} must be a datetime or a timedelta, not {}.", shown(value)?);
        return Err(invalid(py, text));
    }
    if value.call_method0("utcoffset")?.is_none() {
        let text = format!("{name} has no time zone. Write datetime(..., tzinfo=timezone.utc).");
        return Err(invalid(py, text));
    }
    let utc = datetime.getattr("timezone")?.getattr("utc")?;
    match value.call_method1("astimezone", (utc,)) {
        Ok(moment) => moment.extract(),
        Err(error) if error.is_instance_of::<PyOverflowError>(py) => Err(out_of_range()),
        Err(error) => Err(error),
    }
}

/// The request that places an order.
pub(super) fn placement(
    user: &Argument<'_>,
    lines: &Argument<'_>,
    key: Option<&Argument<'_>>,
) -> PyResult<PlacementRequest> {
    let key = optional_text(key, "idempotency_key")?;
    Ok(PlacementRequest {
        user: user_id(user)?,
        lines: self::lines(lines)?,
        key: valid(user.py(), key.map(IdempotencyKey::parse).transpose())?,
        pricing: Pricing::Catalogue,
    })
}

/// The requests of `place_orders`. A wrong row does not raise: it keeps its place.
pub(super) fn rows(values: &Argument<'_>) -> PyResult<Rows> {
    list(values, "rows", |value, name| match row(value) {
        Ok(request) => Ok(Ok(request)),
        Err(error) if is_invalid_input(value.py(), &error) => {
            let text = format!("{name}: {}", message(value.py(), &error)?);
            Ok(Err(Error::new(ErrorKind::InvalidInput, text)))
        }
        Err(error) => Err(error),
    })
}

fn row(value: &Argument<'_>) -> PyResult<PlacementRequest> {
    // Names come before positions: a named tuple has both, and its names decide.
    if let Some([user, lines]) = named(value, ["user_id", "lines"])? {
        let key = optional_member(value, "idempotency_key")?;
        return placement(&user, &lines, key.as_ref());
    }
    match members(value)?.as_slice() {
        [user, lines] => placement(user, lines, None),
        [user, lines, key] => placement(user, lines, Some(key).filter(|key| !key.is_none())),
        _ => {
            let text = format!(
                "an order must be (user_id, lines) or (user_id, lines, idempotency_key), or have \
                 user_id and lines, not {}.",
                shown(value)?
            );
            Err(invalid(value.py(), text))
        }
    }
}

fn lines(values: &Argument<'_>) -> PyResult<Vec<PlacementLine>> {
    list(values, "lines", line)
}

fn line(value: &Argument<'_>, name: &str) -> PyResult<PlacementLine> {
    let found = match named(value, ["product_id", "quantity"])? {
        Some(found) => Some(found),
        None => named(value, ["productId", "quantity"])?,
    };
    let [product, quantity] = match found {
        Some(found) => found,
        None => <[_; 2]>::try_from(members(value)?).map_err(|_| {
            let text =
                format!("{name} must be (product_id, quantity), or have product_id and quantity.");
            invalid(value.py(), text)
        })?,
    };
    let product = opaque_id(&product, &format!("{name}: product_id"))?;
    let quantity = integer(&quantity, &format!("{name}: quantity"))?;
    let quantity = u32::try_from(quantity).map_err(|_| {
        let text =
            format!("The quantity of product {product:?} must be 1 or more, not {quantity}.");
        invalid(value.py(), text)
    })?;
    Ok(PlacementLine { product: valid(value.py(), ProductId::parse(product))?, quantity })
}

/// The body of a message: its bytes, its text, or the value that its JSON stands for.
pub(super) fn message_body(value: &Argument<'_>) -> PyResult<Vec<u8>> {
    if is_bytes(value) {
        return bytes(value);
    }
    if value.is_instance_of::<PyString>() {
        return text(value, "body").map(String::into_bytes);
    }
    json(value, "body").map(String::into_bytes)
}

/// A mapping as a JSON object.
pub(super) fn json_object(value: &Argument<'_>, name: &str) -> PyResult<String> {
    let Ok(mapping) = value.cast::<PyMapping>() else {
        return Err(invalid(value.py(), format!("{name} must be a dict, not {}.", shown(value)?)));
    };
    let object = value.py().get_type::<PyDict>().call1((mapping,))?;
    json(&object, name)
}

fn json(value: &Argument<'_>, name: &str) -> PyResult<String> {
    let options = PyDict::new(value.py());
    options.set_item("allow_nan", false)?;
    let written = value.py().import("json")?.call_method("dumps", (value,), Some(&options));
    match written {
        Ok(text) => text.extract(),
        Err(error)
            if error.is_instance_of::<PyTypeError>(value.py())
                || error.is_instance_of::<PyValueError>(value.py()) =>
        {
            let text = format!("{name} cannot be written as JSON: {}.", error.value(value.py()));
            Err(invalid(value.py(), text))
        }
        Err(error) => Err(error),
    }
}

/// Bytes of a body.
pub(super) fn bytes(value: &Argument<'_>) -> PyResult<Vec<u8>> {
    let bytes = value.py().get_type::<PyBytes>().call1((value,))?;
    Ok(bytes.cast::<PyBytes>()?.as_bytes().to_vec())
}

fn is_bytes(value: &Argument<'_>) -> bool {
    value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>()
}

/// HTTP headers, from a mapping or from pairs; `token` becomes `Authorization: Bearer`.
pub(super) fn headers(
    values: Option<&Argument<'_>>,
    token: Option<&Argument<'_>>,
) -> PyResult<Headers> {
    let mut headers = Headers::new();
    if let Some(values) = values {
        let pairs = match values.cast::<PyMapping>() {
            Ok(mapping) => mapping.items()?.into_any(),
            Err(_) => values.clone(),
        };
        for pair in pairs.try_iter()? {
            let (name, value) = pair?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            headers.push((header_part(&name)?, header_part(&value)?));
        }
    }
    if let Some(token) = token {
        let value = format!("Bearer {}", text(token, "token")?);
        headers.push((b"authorization".to_vec(), value.into_bytes()));
    }
    Ok(headers)
}

/// The bytes of a header's name or value; text is Latin-1, as in HTTP.
fn header_part(value: &Argument<'_>) -> PyResult<Vec<u8>> {
    if is_bytes(value) {
        return bytes(value);
    }
    let text = text(value, "a header")?;
    let bytes = text.chars().map(|character| u8::try_from(u32::from(character)));
    bytes.collect::<std::result::Result<_, _>>().map_err(|_| {
        invalid(value.py(), "A header contains a character outside Latin-1.".to_owned())
    })
}

/// The text of a user's or product's id, from a str or an int.
fn opaque_id(value: &Argument<'_>, name: &str) -> PyResult<String> {
    if value.is_instance_of::<PyString>() {
        return text(value, name);
    }
    if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        return integer(value, name).map(|number| number.to_string());
    }
    Err(invalid(value.py(), format!("{name} must be a str or an int, not {}.", shown(value)?)))
}

/// Converts the members of an iterable, which are named `name[0]`, `name[1]` and so on. A str or
/// a mapping would be iterable too, and is refused.
fn list<T>(
    values: &Argument<'_>,
    name: &str,
    convert: impl Fn(&Argument<'_>, &str) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    let is_refused = values.is_instance_of::<PyString>() || values.cast::<PyMapping>().is_ok();
    if is_refused || !values.hasattr("__iter__")? {
        let text = format!("{name} must be a list, not {}.", shown(values)?);
        return Err(invalid(values.py(), text));
    }
    let members = values.try_iter()?.enumerate();
    members.map(|(index, value)| convert(&value?, &format!("{name}[{index}]"))).collect()
}

/// The two members with these names: keys of a mapping, or attributes of an object.
fn named<'py>(value: &Argument<'py>, names: [&str; 2]) -> PyResult<Option<[Argument<'py>; 2]>> {
    let [first, second] = names;
    if let Ok(mapping) = value.cast::<PyMapping>() {
        let has_both = mapping.contains(first)? && mapping.contains(second)?;
        return match has_both {
            true => Ok(Some([mapping.get_item(first)?, mapping.get_item(second)?])),
            false => Ok(None),
        };
    }
    match (value.getattr_opt(first)?, value.getattr_opt(second)?) {
        (Some(first), Some(second)) => Ok(Some([first, second])),
        _ => Ok(None),
    }
}

/// A key of a mapping or an attribute of an object; None where it is missing or None.
fn optional_member<'py>(value: &Argument<'py>, name: &str) -> PyResult<Option<Argument<'py>>> {
    let found = match value.cast::<PyMapping>() {
        Ok(mapping) if mapping.contains(name)? => Some(mapping.get_item(name)?),
        Ok(_) => None,
        Err(_) => value.getattr_opt(name)?,
    };
    Ok(found.filter(|found| !found.is_none()))
}

/// The members of a tuple or list; none of anything else.
fn members<'py>(value: &Argument<'py>) -> PyResult<Vec<Argument<'py>>> {
    if value.is_instance_of::<PyString>() || is_bytes(value) {
        return Ok(Vec::new());
    }
    match value.cast::<PySequence>() {
        Ok(sequence) => sequence.try_iter()?.collect(),
        Err(_) => Ok(Vec::new()),
    }
}

/// How a message names a wrong value: a float or bool by its value, all else by its type.
fn shown(value: &Argument<'_>) -> PyResult<String> {
    let kind = value.get_type().name()?;
    if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyBool>() {
        return Ok(format!("{} ({kind})", value.repr()?));
    }
    Ok(format!("{kind}"))
}

/// The value, or the exception for the error.
pub(super) fn valid<T>(py: Python<'_>, result: Result<T>) -> PyResult<T> {
    result.map_err(|error| raise(py, &error))
}

fn invalid(py: Python<'_>, text: String) -> PyErr {
    raise(py, &Error::new(ErrorKind::InvalidInput, text))
}

/// The address of a client. A server that listens on a Unix socket names none, or its path.
pub(super) fn address(client: Option<&Argument<'_>>) -> PyResult<Option<IpAddr>> {
    let given = client.map(|client| text(client, "client")).transpose()?;
    Ok(given.and_then(|text| text.parse().ok()))
}

/// A request that another server has received.
pub(super) fn http_request(
    method: &Argument<'_>,
    target: &Argument<'_>,
    all_headers: &Argument<'_>,
    body: Option<&Argument<'_>>,
    client: Option<&Argument<'_>>,
) -> PyResult<InProcessRequest> {
    Ok(InProcessRequest {
        method: text(method, "method")?,
        target: text(target, "target")?,
        headers: headers(Some(all_headers), None)?,
        client: address(client)?,
        body: body.map(bytes).transpose()?.unwrap_or_default(),
    })
}
