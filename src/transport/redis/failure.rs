//! What an error of Redis means.

use redis::{ErrorKind as RedisErrorKind, RedisError};

/// The error code of scripts that find another run of the server than they expect.
const RESTARTED: &str = "RESTARTED";

/// The code of an error of the server, such as `OOM`. Redis before 7 reports an error within a
/// script as `ERR`, with the code in the text: `ERR Error running script …: -OOM command not
/// allowed …`.
pub(in crate::transport) fn server_code(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    let is_code = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase());
    let within = error.detail().filter(|_| code == "ERR").and_then(|detail| {
        detail.split_whitespace().filter_map(|word| word.strip_prefix('-')).find(is_code)
    });
    Some(within.unwrap_or(code))
}

/// What is wrong, and what to do.
pub(super) fn describe(error: &RedisError) -> (&'static str, &'static str) {
    const ACCESS: (&str, &str) = (
        "does not accept the user or the password",
        "Correct the user and the password in REDIS_URL.",
    );
    if error.kind() == RedisErrorKind::AuthenticationFailed {
        return ACCESS;
    }
    match server_code(error) {
        Some("NOAUTH" | "WRONGPASS") => ACCESS,
        Some(RESTARTED) => {
            ("was restarted or replaced, and may have lost changes", "Wait: the cache begins anew.")
        }
        Some("NOPERM") => (
            "does not let the user do this",
            "Grant it (acl setuser), also eval and evalsha: the engine uses scripts.",
        ),
        Some("OOM") => ("is full", "Raise maxmemory, or delete what is not needed."),
        Some("READONLY") => ("is a read-only replica", "Set REDIS_URL to the primary."),
        Some("LOADING" | "BUSY" | "TRYAGAIN" | "MASTERDOWN" | "CLUSTERDOWN") => {
            ("is not ready", "Wait until it is.")
        }
        Some("MISCONF" | "NOREPLICAS") => {
            ("accepts no writes", "See the log of Redis: it cannot save, or has no replica.")
        }
        Some(_) => ("returned an error", "See the log of Redis."),
        None if error.is_io_error() || error.is_timeout() => {
            ("does not answer", "Start it, or correct REDIS_URL.")
        }
        None => ("does not answer as Redis does", "Correct REDIS_URL; rediss:// is for TLS."),
    }
}

#[cfg(test)]
mod tests {
    use redis::{RedisError, ServerErrorKind};

    use super::{RedisErrorKind, describe, server_code};

    fn error(detail: &str) -> RedisError {
        let kind = RedisErrorKind::Server(ServerErrorKind::ResponseError);
        RedisError::from((kind, "An error was signalled by the server", detail.to_owned()))
    }

    #[test]
    fn r1_an_error_within_a_script_of_redis_6_has_the_code_of_its_cause() {
        let full = error(
            "Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command \
             not allowed when used memory > 'maxmemory'.",
        );
        assert_eq!((server_code(&full), describe(&full).0), (Some("OOM"), "is full"));
        let replica = error("Error running script: @user_script: 3: -READONLY You can't write");
        assert_eq!(server_code(&replica), Some("READONLY"));
        let wrong = error("Error running script: @user_script: 3: -WRONGTYPE Operation against");
        assert_eq!(server_code(&wrong), Some("WRONGTYPE"));
        for plain in ["syntax error", "value is not an integer - or out of range", "-1 is wrong"] {
            assert_eq!(server_code(&error(plain)), Some("ERR"), "{plain}");
        }
    }
}
