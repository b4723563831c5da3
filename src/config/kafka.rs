//! Where the brokers of Kafka are, and how to be let in: `KAFKA_BROKERS` or `KAFKA_BROKER`,
//! `ORDER_ENGINE_KAFKA_GROUP`, `KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_MECHANISM`,
//! `KAFKA_USERNAME`, `KAFKA_PASSWORD`, `KAFKA_CA_FILE`.

use secrecy::SecretString;

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "kafka_brokers",
        variables: &["KAFKA_BROKERS", "KAFKA_BROKER"],
        is_secret: false,
        default: "",
        help: "Brokers of Kafka, as host:port, separated by commas. Unset: the events of the \
               contracts gateway and stock wait in the outbox.",
    },
    Setting {
        name: "kafka_group",
        variables: &["ORDER_ENGINE_KAFKA_GROUP"],
        is_secret: false,
        default: "order-engine",
        help: "How the consumer groups begin; behind it stand - and the contract's name.",
    },
    Setting {
        name: "kafka_security_protocol",
        variables: &["KAFKA_SECURITY_PROTOCOL"],
        is_secret: false,
        default: "plaintext",
        help: "plaintext, ssl, sasl_plaintext or sasl_ssl. Under ssl and sasl_ssl the brokers must \
               show a certificate for their host.",
    },
    Setting {
        name: "kafka_sasl_mechanism",
        variables: &["KAFKA_SASL_MECHANISM"],
        is_secret: false,
        default: "plain",
        help: "How to log in under sasl_plaintext and sasl_ssl: plain, scram-sha-256 or \
               scram-sha-512.",
    },
    Setting {
        name: "kafka_username",
        variables: &["KAFKA_USERNAME"],
        is_secret: false,
        default: "",
        help: "Who logs in.",
    },
    Setting {
        name: "kafka_password",
        variables: &["KAFKA_PASSWORD"],
        is_secret: true,
        default: "",
        help: "The password of kafka_username.",
    },
    Setting {
        name: "kafka_ca_file",
        variables: &["KAFKA_CA_FILE"],
        is_secret: false,
        default: "",
        help: "The file with the certificates to trust, in PEM. Unset: those of the system.",
    },
];

/// Where the brokers are, and how to be let in.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// How the consumer groups begin.
    pub group: String,
    /// Whether the connections are encrypted.
    pub is_tls: bool,
    /// Who connects, where the brokers ask for it.
    pub login: Option<Login>,
    /// The file with the certificates to trust.
    pub ca_file: Option<String>,
}

/// Who connects.
#[derive(Clone, Debug)]
pub struct Login {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The name.
    pub username: String,
    /// The password. Never printed.
    pub password: SecretString,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Option<Kafka> {
    let protocols = [
        ("plaintext", (false, false)),
        ("ssl", (false, true)),
        ("sasl_plaintext", (true, false)),
        ("sasl_ssl", (true, true)),
    ];
    let protocol = sources.choice("kafka_security_protocol", &protocols, problems);
    let (asks, is_tls) = protocol.unwrap_or_default();
    let login = asks.then(|| login(sources, problems));
    let brokers = sources.text("kafka_brokers")?.to_owned();
    if !brokers.split(',').all(is_broker) {
        let called = sources.called("kafka_brokers");
        problems.add(format!("{called} must be host:port, or several of them with commas."));
    }
    Some(Kafka {
        brokers,
        group: sources.text("kafka_group").unwrap_or_default().to_owned(),
        is_tls,
        login,
        ca_file: sources.text("kafka_ca_file").map(str::to_owned),
    })
}

fn login(sources: &Sources, problems: &mut Problems) -> Login {
    let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(|name| (name, name));
    let mechanism = sources.choice("kafka_sasl_mechanism", &mechanisms, problems);
    let mut needed = |name| {
        let text = sources.text(name);
        if text.is_none() {
            problems.add(super::missing(name));
        }
        text.unwrap_or_default().to_owned()
    };
    Login {
        mechanism: mechanism.unwrap_or("PLAIN"),
        username: needed("kafka_username"),
        password: needed("kafka_password").into(),
    }
}

/// librdkafka would take what is no broker for the name of a host, and look for it for ever.
fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.trim().rsplit_once(':') else { return false };
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '/' | '@');
    !host.is_empty() && host.chars().all(is_plain) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_with_ports() {
        for good in ["kafka:9092", "127.0.0.1:9092", "[::1]:9092", " b:1 "] {
            assert!(is_broker(good), "{good:?}");
        }
        for bad in ["", "kafka", ":9092", "kafka:", "kafka:x", "kafka://host:1", "u:p@host:1"] {
            assert!(!is_broker(bad), "{bad:?}");
        }
    }
}
