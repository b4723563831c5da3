//! Checks that URLs with a password have in common.

/// The problem of a URL in which a user or password breaks the URL apart.
pub(super) const UNENCODED: &str = "has a user or password with a character that must be \
     percent-encoded: @ as %40, / as %2F, ? as %3F, # as %23, : as %3A, % as %25";

/// Whether the user or the password of a URL contains a raw `@`, `/`, `?` or `#`. Such a URL has
/// another meaning than intended: a part of the password would count as host or path.
pub(super) fn has_unencoded_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    // No such URL has a fragment, and no path of one an `@`.
    if authority.matches('@').count() > 1 || tail.contains('#') || path.contains('@') {
        return true;
    }
    let Some((before, _)) = query.split_once('@').filter(|_| !authority.contains('@')) else {
        return false;
    };
    !before.contains('=') || !ends_in_port(authority)
}

/// Whether a host without user is plain, or followed by a number.
fn ends_in_port(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::has_unencoded_password;

    #[test]
    fn d9_raw_special_characters_in_a_password_are_noticed() {
        for password in
            ["a@b", "a/b", "a?b", "a#b", "1/2", "1?2", "1#2", "@", "/", "?", "#", "a@/?#"]
        {
            for scheme in ["postgresql", "redis", "amqp"] {
                let url = format!("{scheme}://user:{password}@host:5432/name?x=1");
                assert!(has_unencoded_password(&url), "{url}");
            }
        }
        assert!(has_unencoded_password("redis://:a?x=1@host"));
        assert!(has_unencoded_password("postgresql://us/er:p@host/db"));
    }

    #[test]
    fn urls_in_order_are_not_suspected() {
        for url in [
            "postgresql://u:p%40%2F%3F%23@h:1/d?sslmode=require",
            "postgresql://u:p@[::1]:5432/d",
            "postgresql://[::1]/d?user=a@b",
            "postgresql://h:5432/d?password=a@b",
            "postgresql:///d?host=/run/a",
            "postgresql://u:p@a:1,b:2/d",
            "redis://:p@h:6379/0",
            "amqp://u:p@h/%2F",
            "amqp://h",
        ] {
            assert!(!has_unencoded_password(url), "{url}");
        }
    }
}
