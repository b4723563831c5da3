//! Times in the format of JavaScript, for the contracts of services on Node.js.

use chrono::{DateTime, SecondsFormat, Utc};

/// With milliseconds and `Z`: `2024-10-04T10:00:00.000Z`.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_milliseconds_and_a_z() {
        let at = "2024-10-04T10:00:00.1239Z".parse().unwrap();
        assert_eq!(moment(at), "2024-10-04T10:00:00.123Z");
    }
}
