//! Media types: content negotiation with `Accept` and checks of `Content-Type`.
//!
//! Clients of the legacy service send no `Accept` header or `*/*`, and expect status 400 for an
//! invalid document. The GraphQL-over-HTTP specification requires status 200 for clients that
//! accept only `application/json`. Both are supported.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};

/// The format of a GraphQL response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// `application/json`, with status 400 if nothing was executed.
    Legacy,
    /// `application/json`, with status 200 for every well-formed request.
    Json,
    /// `application/graphql-response+json`.
    GraphQlResponse,
    /// `text/event-stream`.
    EventStream,
}

impl ResponseFormat {
    /// The client's preferred format. `None` if it accepts none of them.
    #[must_use]
    pub fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let mut ranges: Vec<MediaRange> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(MediaRange::parse)
            .collect();
        if ranges.is_empty() && !headers.contains_key(ACCEPT) {
            return Some(Self::Legacy);
        }
        let takes_anything = ranges.iter().any(MediaRange::is_wildcard);
        // Of equal quality, a named media type is preferred to a wildcard.
        ranges.sort_by_key(|range| (std::cmp::Reverse(range.quality), range.is_wildcard()));
        ranges.iter().find_map(|range| match range.media.as_str() {
            "application/graphql-response+json" => Some(Self::GraphQlResponse),
            "text/event-stream" => Some(Self::EventStream),
            "application/json" if !takes_anything => Some(Self::Json),
            "application/json" | "application/*" | "*/*" => Some(Self::Legacy),
            _ => None,
        })
    }

    /// The `Content-Type` of the response.
    #[must_use]
    pub const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Legacy | Self::Json => "application/json",
            Self::GraphQlResponse => "application/graphql-response+json; charset=utf-8",
            Self::EventStream => "text/event-stream",
        })
    }
}

/// Whether a page is an acceptable response: the client names HTML, as browsers do, or accepts
/// anything and does not name JSON, as curl and the probes of load balancers do.
#[must_use]
pub fn accepts_page(headers: &HeaderMap) -> bool {
    if !headers.contains_key(ACCEPT) {
        return true;
    }
    let ranges = || {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).filter_map(MediaRange::parse)
    };
    let names = |media: &str| ranges().any(|range| range.media == media);
    let names_json = names("application/json") || names("application/graphql-response+json");
    names("text/html") || ((names("*/*") || names("text/*")) && !names_json)
}

/// Whether the client prefers OpenMetrics to the Prometheus format, which is the default.
#[must_use]
pub fn prefers_open_metrics(headers: &HeaderMap) -> bool {
    let ranges = || {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).filter_map(MediaRange::parse)
    };
    let quality_of = |media: &str| {
        ranges().filter(|range| range.media == media).map(|range| range.quality).max()
    };
    let plain = quality_of("text/plain").unwrap_or_default();
    quality_of("application/openmetrics-text").is_some_and(|quality| quality >= plain)
}

/// Whether the body is declared as JSON in UTF-8. Other types are rejected to prevent cross-site
/// request forgery: a browser sends forms and plain text to other sites without a preflight
/// request.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    let mut parts = value.split(';');
    parts.next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
        && parts.all(is_utf8_or_no_charset)
}

fn is_utf8_or_no_charset(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let value = value.trim().trim_matches('"');
    !name.trim().eq_ignore_ascii_case("charset")
        || value.eq_ignore_ascii_case("utf-8")
        || value.eq_ignore_ascii_case("utf8")
}

/// An entry of `Accept` with a quality above zero.
struct MediaRange {
    media: String,
    /// The `q` parameter, in thousandths.
    quality: u16,
}

impl MediaRange {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let media = parts.next()?.trim().to_ascii_lowercase();
        let mut quality = 1000;
        for parameter in parts {
            let (name, value) = parameter.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("q") {
                quality = thousandths(value.trim())?;
            } else if !is_utf8_or_no_charset(parameter) {
                return None;
            }
        }
        (quality > 0 && !media.is_empty()).then_some(Self { media, quality })
    }

    fn is_wildcard(&self) -> bool {
        matches!(self.media.as_str(), "*/*" | "application/*")
    }
}

/// Parses a `q` value such as `0`, `0.5` or `1.000`.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{fraction:0<3}");
    let is_sound = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let fraction: u16 = is_sound.then(|| digits.parse().ok()).flatten()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &axum::http::HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn answer(accept: &[&'static str]) -> Option<ResponseFormat> {
        ResponseFormat::negotiate(&headers(&ACCEPT, accept))
    }

    #[test]
    fn legacy_and_specification_clients_get_the_format_they_expect() {
        for (accept, expected) in [
            ("*/*", ResponseFormat::Legacy),
            ("application/json, text/plain, */*", ResponseFormat::Legacy),
            ("text/html,application/xhtml+xml,*/*;q=0.8", ResponseFormat::Legacy),
            ("application/*", ResponseFormat::Legacy),
            ("application/json", ResponseFormat::Json),
            ("Application/JSON; charset=utf-8", ResponseFormat::Json),
            ("application/graphql-response+json", ResponseFormat::GraphQlResponse),
            (
                "application/graphql-response+json,application/json;q=0.9",
                ResponseFormat::GraphQlResponse,
            ),
            ("*/*, application/graphql-response+json", ResponseFormat::GraphQlResponse),
            ("application/graphql-response+json;q=0.5,application/json", ResponseFormat::Json),
            ("text/event-stream", ResponseFormat::EventStream),
            ("application/json;q=0, */*", ResponseFormat::Legacy),
        ] {
            assert_eq!(answer(&[accept]), Some(expected), "{accept}");
        }
        assert_eq!(answer(&[]), Some(ResponseFormat::Legacy));
        assert_eq!(answer(&["text/html", "application/json"]), Some(ResponseFormat::Json));
    }

    #[test]
    fn a_page_is_for_clients_that_do_not_ask_for_json() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("*/*", true),
            ("text/*", true),
            ("application/json", false),
            ("application/json, text/plain, */*", false),
            ("text/html;q=0, */*;q=0", false),
            ("text/event-stream", false),
            ("", false),
        ] {
            assert_eq!(accepts_page(&headers(&ACCEPT, &[accept])), expected, "{accept}");
        }
        assert!(accepts_page(&HeaderMap::new()));
    }

    #[test]
    fn unsupported_media_types_are_not_acceptable() {
        for accept in [
            "text/html",
            "image/png",
            "application/json;q=0",
            "application/json;charset=utf-16",
            "",
        ] {
            assert_eq!(answer(&[accept]), None, "{accept}");
        }
    }

    #[test]
    fn metrics_have_the_preferred_format() {
        let prefers = |accept| prefers_open_metrics(&headers(&ACCEPT, &[accept]));
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        ] {
            assert!(prefers(accept), "{accept}");
        }
        for accept in [
            "*/*",
            "text/plain",
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;q=0.5",
            "application/openmetrics-text;q=0,*/*",
        ] {
            assert!(!prefers(accept), "{accept}");
        }
        assert!(!prefers_open_metrics(&HeaderMap::new()));
    }

    #[test]
    fn only_json_in_utf8_is_read() {
        for value in ["application/json", "application/JSON; charset=UTF-8", "application/json;a=b"]
        {
            assert!(is_json(&headers(&CONTENT_TYPE, &[value])), "{value}");
        }
        for value in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-16",
            "application/jsonp",
        ] {
            assert!(!is_json(&headers(&CONTENT_TYPE, &[value])), "{value}");
        }
        assert!(!is_json(&headers(&CONTENT_TYPE, &[])));
        assert!(!is_json(&headers(&CONTENT_TYPE, &["application/json", "text/plain"])));
    }

    #[test]
    fn qualities_are_thousandths() {
        for (text, expected) in
            [("1", Some(1000)), ("0.5", Some(500)), ("1.0", Some(1000)), ("0", Some(0))]
        {
            assert_eq!(thousandths(text), expected);
        }
        for text in ["", "2", "1.5", "0.1234", "x", "-1"] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
