//! Kafka: brokers, encryption and login.

use secrecy::SecretString;

use crate::setting::{
    Problems, Reader, Values, choice, declared, optional_text, secret, settings, text,
};

settings! {
    /// The Kafka brokers of the contracts whose transport is Kafka.
    pub struct KafkaSettings {
        kafka_brokers: Option<String> {
            parse: brokers,
            default: "",
            variables: ["KAFKA_BROKERS", "KAFKA_BROKER"],
            help: "Kafka brokers, as host:port, separated by commas. Unset: the events of \
                   contracts on Kafka stay in the outbox.",
        }
        kafka_group: String {
            parse: text,
            default: "order-engine",
            variables: ["ORDER_ENGINE_KAFKA_GROUP"],
            help: "Prefix of the consumer groups. The group of a contract is PREFIX-CONTRACT, such \
                   as order-engine-gateway.",
        }
        kafka_security_protocol: SecurityProtocol {
            parse: choice([
                ("plaintext", SecurityProtocol { has_login: false, is_tls: false }),
                ("ssl", SecurityProtocol { has_login: false, is_tls: true }),
                ("sasl_plaintext", SecurityProtocol { has_login: true, is_tls: false }),
                ("sasl_ssl", SecurityProtocol { has_login: true, is_tls: true }),
            ]),
            default: "plaintext",
            variables: ["KAFKA_SECURITY_PROTOCOL"],
            help: "plaintext, ssl, sasl_plaintext or sasl_ssl. With ssl and sasl_ssl the \
                   certificate of each broker must be valid for its host.",
        }
        kafka_sasl_mechanism: &'static str {
            parse: choice(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(|name| (name, name))),
            default: "plain",
            variables: ["KAFKA_SASL_MECHANISM"],
            help: "Login mechanism of sasl_plaintext and sasl_ssl: plain, scram-sha-256 or \
                   scram-sha-512.",
        }
        kafka_username: Option<String> {
            parse: optional_text,
            default: "",
            variables: ["KAFKA_USERNAME"],
            help: "User name of the login.",
        }
        kafka_password: Option<SecretString> {
            parse: secret,
            default: "",
            variables: ["KAFKA_PASSWORD"],
            help: "Password of kafka_username.",
            secret: true,
        }
        kafka_ca_file: Option<String> {
            parse: optional_text,
            default: "",
            variables: ["KAFKA_CA_FILE"],
            help: "PEM file with the trusted certificate authorities. Unset: those of the system.",
        }
    }
}

/// Encryption and login of the connections to Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecurityProtocol {
    /// Whether brokers ask for a login.
    pub has_login: bool,
    /// Whether connections are encrypted.
    pub is_tls: bool,
}

pub(super) fn read(values: &Values, problems: &mut Problems) -> KafkaSettings {
    let settings = KafkaSettings::read(values, problems);
    if settings.kafka_security_protocol.has_login {
        let missing = [
            ("kafka_username", settings.kafka_username.is_none()),
            ("kafka_password", settings.kafka_password.is_none()),
        ];
        for (name, _) in missing.iter().filter(|(_, is_missing)| *is_missing) {
            problems.add(declared(KafkaSettings::SETTINGS, name).missing());
        }
    }
    settings
}

fn brokers(reader: &mut Reader<'_>) -> Option<String> {
    let brokers = reader.text()?;
    if !brokers.split(',').all(is_broker) {
        reader.problem("must be host:port, or several of them separated by commas");
    }
    Some(brokers.to_owned())
}

/// librdkafka would take anything else for a host name and try to resolve it for ever.
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
