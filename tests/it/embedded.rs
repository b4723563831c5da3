//! An engine that is open inside another program: GraphQL without a listener.

use std::collections::HashMap;
use std::path::Path;

use order_engine::app::{App, Headers, Role, SocketMessage};
use order_engine::config::{Needs, Settings};
use order_engine::engine::ports::Delivery;
use order_engine::error::ErrorKind;

use crate::harness::Database;

const QUERY: &str = "{ allOrders { success message } }";

/// Opens an engine with `jobs` without authentication before `flask`; none without a server.
pub async fn open(flags: &[(&str, &str)]) -> Option<App> {
    let database = Database::empty().await?;
    let flags: HashMap<_, _> = [
        ("database_url", "postgresql://user@localhost/replaced"),
        ("contract", "jobs,flask"),
        ("jobs_auth", "none"),
        ("relay", "false"),
    ]
    .iter()
    .chain(flags)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    let mut settings = Settings::load(&flags, Path::new("/"), Needs::DATABASE).unwrap();
    settings.database = Some(database.options);
    Some(App::open(&settings, Role::Embedded).await.unwrap())
}

async fn execute(app: &App) -> String {
    app.execute(QUERY.to_owned(), None, None, Headers::new()).await.unwrap()
}

/// An Ed25519 key; its private half was thrown away.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA7ks7xV0uSzLiQ2HY8Ia425DQoO5f5n0wNEimZ8C1nrI=\n\
    -----END PUBLIC KEY-----\n";
const SECRET: (&str, &str) = ("jwt_secret_key", "a-secret-of-the-tests-with-32-bytes-or-more");

#[tokio::test]
async fn graphql_uses_the_authenticator_of_its_own_contract() {
    let Some(app) = open(&[SECRET]).await else { return };
    let answer = execute(&app).await;
    assert!(answer.contains("Authorization header missing."), "{answer}");
    app.close().await;
}

#[tokio::test]
async fn a_websocket_uses_the_authenticator_of_its_own_contract() {
    let Some(app) = open(&[SECRET]).await else { return };
    let protocol = (b"sec-websocket-protocol".to_vec(), b"graphql-transport-ws".to_vec());
    let socket = app.socket(vec![protocol], None).unwrap().unwrap();
    let (mut input, mut output) = socket.split();
    assert!(input.push(r#"{"type": "connection_init"}"#.to_owned()).await);
    let request =
        format!(r#"{{"id": "1", "type": "subscribe", "payload": {{"query": "{QUERY}"}}}}"#);
    assert!(input.push(request).await);
    let mut messages = Vec::new();
    while !messages.iter().any(|text: &String| text.contains("\"next\"")) {
        match output.next().await {
            Some(SocketMessage::Text(text)) => messages.push(text),
            end => panic!("{end:?} after {messages:?}"),
        }
    }
    assert!(messages.join("\n").contains("Authorization header missing."), "{messages:?}");
    app.close().await;
}

#[tokio::test]
async fn metrics_name_the_contract_whose_graphql_was_used() {
    let Some(app) = open(&[SECRET]).await else { return };
    execute(&app).await;
    let request = order_engine::app::InProcessRequest {
        method: "GET".to_owned(),
        target: "/metrics".to_owned(),
        headers: Headers::new(),
        client: None,
        body: Vec::new(),
    };
    let metrics = app.answer(request).await.unwrap().body;
    let metrics = String::from_utf8(metrics.into()).unwrap();
    let line = metrics.lines().find(|line| line.contains("allOrders")).unwrap();
    assert!(line.contains(r#"contract="flask""#), "{line}");
    app.close().await;
}

#[tokio::test]
async fn graphql_without_its_own_authenticator_is_not_served() {
    let Some(app) = open(&[]).await else { return };
    let refused = app.execute(QUERY.to_owned(), None, None, Headers::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misconfigured);
    assert!(refused.message().contains("JWT_SECRET_KEY"), "{refused}");
    app.close().await;
}

#[tokio::test]
async fn an_open_engine_does_not_read_its_key_file_again() {
    let file = std::env::temp_dir().join(format!("oe-key-{}.pem", std::process::id()));
    std::fs::write(&file, PUBLIC_KEY).unwrap();
    let opened = open(&[("jwt_public_key_file", file.to_str().unwrap())]).await;
    std::fs::remove_file(&file).unwrap();
    let Some(app) = opened else { return };
    let message = Delivery {
        topic: "product.created".to_owned(),
        body: br#"{"id": 1, "name": "Mug", "price": 9.5, "quantity": 3}"#.to_vec(),
        message_id: Some("1".to_owned()),
        ..Delivery::default()
    };
    app.apply_message(&message).await.unwrap();
    assert!(execute(&app).await.contains("Authorization header missing."));
    app.close().await;
}
