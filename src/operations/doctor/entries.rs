//! Entries of the report.

use crate::app::Check;
use crate::error::Error;

pub(super) fn passed(name: &str, detail: &str) -> Check {
    Check { name: name.to_owned(), is_ok: true, detail: detail.to_owned(), remedy: None }
}

/// A failed check, with the error's own advice or else `remedy`.
pub(super) fn failed(name: &str, error: &Error, remedy: &str) -> Check {
    Check {
        name: name.to_owned(),
        is_ok: false,
        detail: error.finding().to_owned(),
        remedy: Some(error.advice().unwrap_or(remedy).to_owned()),
    }
}

pub(super) fn invalid_setting(problem: &str) -> Check {
    Check {
        name: "settings".to_owned(),
        is_ok: false,
        detail: problem.to_owned(),
        remedy: Some("See docs/CONFIG.md, or run: order-engine config".to_owned()),
    }
}
