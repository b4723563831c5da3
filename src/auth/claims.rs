//! The claims of a token, parsed strictly: no type is converted, and no claim may appear twice.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::ids::UserId;

/// The last second of the year 9999.
pub(super) const NUMERIC_DATE_MAX: i64 = 253_402_300_799;

/// The claims of one token.
pub(super) struct Claims<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Claims<'a> {
    /// Reads one JSON object whose names are all different.
    pub(super) fn parse(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(claim, _)| claim == name).map(|(_, value)| value.get())
    }

    /// A time in seconds since 1970, with or without a fraction. None for any other value;
    /// `Some(None)` when the claim is absent.
    #[expect(clippy::option_option, reason = "refused, absent and present are three answers")]
    pub(super) fn time(&self, name: &str) -> Option<Option<DateTime<Utc>>> {
        let Some(text) = self.get(name) else {
            return Some(None);
        };
        // PyJWT writes what `time.time()` returns.
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let nanoseconds = format!("{fraction:0<9.9}");
        let seconds = whole_number(whole).filter(|n| (0..=NUMERIC_DATE_MAX).contains(n))?;
        let is_fraction = fraction.bytes().all(|byte| byte.is_ascii_digit());
        let nanoseconds = is_fraction.then(|| nanoseconds.parse().ok()).flatten()?;
        DateTime::from_timestamp(seconds, nanoseconds).map(Some)
    }

    /// The user, from those of `claims` that are present. They must agree.
    ///
    /// # Errors
    /// What is wrong with the claims.
    pub(super) fn user_id(&self, claims: &[String]) -> Result<UserId, String> {
        let mut user: Option<(&str, UserId)> = None;
        for claim in claims {
            let Some(value) = self.get(claim) else { continue };
            let id = id(value).ok_or_else(|| format!("the claim {claim} is not a user id"))?;
            match &user {
                Some((other, known)) if *known != id => {
                    return Err(format!("the claims {other} and {claim} name different users"));
                }
                Some(_) => {}
                None => user = Some((claim, id)),
            }
        }
        let none = || format!("no claim names the user; looked for {}", claims.join(", "));
        user.map(|(_, id)| id).ok_or_else(none)
    }

    /// Whether the token is valid for requests. A refresh token of flask-jwt-extended is not.
    pub(super) fn is_access_token(&self) -> bool {
        self.get("type").is_none_or(|kind| text(kind).as_deref() == Some("access"))
    }

    /// Whether the issuer is `wanted`; any issuer is accepted when none is wanted.
    pub(super) fn is_from(&self, wanted: Option<&str>) -> bool {
        wanted.is_none_or(|wanted| {
            self.get("iss").and_then(text).is_some_and(|issuer| issuer == wanted)
        })
    }

    /// Whether the audience includes `us`. A token with an audience is rejected when no audience is
    /// configured.
    pub(super) fn is_for(&self, us: Option<&str>) -> bool {
        match (us, self.get("aud")) {
            (None, audience) => audience.is_none(),
            (Some(us), Some(audience)) => names(audience).iter().any(|name| name == us),
            (Some(_), None) => false,
        }
    }

    /// Whether one of `claims` contains one of `values`, or is `true`.
    pub(super) fn name_any(&self, claims: &[String], values: &[String]) -> bool {
        claims.iter().filter_map(|claim| self.get(claim)).any(|held| {
            held == "true"
                || names(held)
                    .iter()
                    .flat_map(|name| name.split([' ', ',']))
                    .any(|name| values.iter().any(|value| value == name))
        })
    }
}

/// A number without sign, fraction and exponent.
fn whole_number(json: &str) -> Option<i64> {
    json.bytes().all(|byte| byte.is_ascii_digit()).then(|| json.parse().ok()).flatten()
}

fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// A string, or a list of strings.
fn names(json: &str) -> Vec<String> {
    match text(json) {
        Some(one) => vec![one],
        None => serde_json::from_str(json).unwrap_or_default(),
    }
}

fn id(json: &str) -> Option<UserId> {
    let id = match whole_number(json) {
        Some(number) => number.to_string(),
        None => text(json)?,
    };
    UserId::parse(id).ok()
}

impl<'de: 'a, 'a> Deserialize<'de> for Claims<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut claims: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<Cow<'de, str>, _>()? {
            if claims.iter().any(|(claim, _)| *claim == name) {
                return Err(A::Error::custom("a claim comes twice"));
            }
            claims.push((name, value));
        }
        Ok(Claims(claims))
    }
}
