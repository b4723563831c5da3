"""The settings of an engine, for type checkers and editors.

Written by `make generate` from the native module; do not edit it.
"""

from __future__ import annotations

from typing import TypedDict


class Settings(TypedDict, total=False):
    """Settings by name. None means that a setting is not given."""

    database_url: str | int | None
    """PostgreSQL 15 or newer, as postgresql://user:password@host:5432/database. Several servers, as
    host:5432,host:5432, are tried in turn until one takes writes. SQLAlchemy's
    postgresql+psycopg2:// is understood. Unset: POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB at
    localhost:5432; failing that, an embedded one. Variable: `DATABASE_URL`,
    `SQLALCHEMY_DATABASE_URI`.
    """
    database_schema: str | int | None
    """The PostgreSQL schema of the engine's tables: lower-case letters, digits, _. Default:
    `order_engine`. Variable: `ORDER_ENGINE_DATABASE_SCHEMA`.
    """
    database_connections: int | str | None
    """Connections of one process, 4 to 500. Default: `16`. Variable:
    `ORDER_ENGINE_DATABASE_CONNECTIONS`.
    """
    database_timeout_seconds: int | str | None
    """How long a statement or a lock may take, 1 to 300 seconds; a connection that is silent half a
    second longer is given up. A free connection is waited for as long, but at most 3 seconds.
    Default: `10`. Variable: `ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS`.
    """
    rabbitmq_url: str | int | None
    """RabbitMQ 3.10 or newer, as amqp://user:password@host:5672/vhost, or amqps:// for TLS. Unset:
    events wait in the outbox. Variable: `RABBITMQ_URL`, `RABBITMQ_URI`.
    """
    rabbitmq_exchange: str | int | None
    """The exchange of events in, and of the contract flask's events out. Taken as it is; created as
    direct when absent. Default: `event_exchange`. Variable: `ORDER_ENGINE_EXCHANGE`.
    """
    storefront_exchange: str | int | None
    """The exchange of the contract storefront's events out. On the exchange of flask's a consumer
    of order.placed would get every order twice, in two spellings. Default: `storefront_exchange`.
    Variable: `ORDER_ENGINE_STOREFRONT_EXCHANGE`.
    """
    rabbitmq_exchange_durable: bool | str | None
    """Whether an absent exchange, and the engine's queue, are created durable. The existing
    services declare theirs non-durable and fail against a durable one. Default: `false`. Variable:
    `ORDER_ENGINE_EXCHANGE_DURABLE`.
    """
    rabbitmq_queue: str | int | None
    """The queue of events in. Name order_service_queue once the old consumer.py stops. Default:
    `order_engine_queue`. Variable: `ORDER_ENGINE_QUEUE`.
    """
    rabbitmq_prefetch: int | str | None
    """Messages that the broker hands over ahead, 1 to 2000. Default: `100`. Variable:
    `ORDER_ENGINE_PREFETCH`.
    """
    topics_need_queue: str | int | None
    """Routing keys, separated by commas, whose messages wait until a queue is bound. Those of other
    keys count as sent when nobody wants them. Default: `order.placed`. Variable:
    `ORDER_ENGINE_TOPICS_NEED_QUEUE`.
    """
    kafka_brokers: str | int | None
    """Brokers of Kafka, as host:port, separated by commas. Unset: the events of the contracts
    gateway and stock wait in the outbox. Variable: `KAFKA_BROKERS`, `KAFKA_BROKER`.
    """
    kafka_group: str | int | None
    """How the consumer groups begin; behind it stand - and the contract's name. Default:
    `order-engine`. Variable: `ORDER_ENGINE_KAFKA_GROUP`.
    """
    kafka_security_protocol: str | int | None
    """plaintext, ssl, sasl_plaintext or sasl_ssl. Under ssl and sasl_ssl the brokers must show a
    certificate for their host. Default: `plaintext`. Variable: `KAFKA_SECURITY_PROTOCOL`.
    """
    kafka_sasl_mechanism: str | int | None
    """How to log in under sasl_plaintext and sasl_ssl: plain, scram-sha-256 or scram-sha-512.
    Default: `plain`. Variable: `KAFKA_SASL_MECHANISM`.
    """
    kafka_username: str | int | None
    """Who logs in. Variable: `KAFKA_USERNAME`."""
    kafka_password: str | int | None
    """The password of kafka_username. Variable: `KAFKA_PASSWORD`."""
    kafka_ca_file: str | int | None
    """The file with the certificates to trust, in PEM. Unset: those of the system. Variable:
    `KAFKA_CA_FILE`.
    """
    redis_url: str | int | None
    """Redis 6.2 or newer, as redis://user:password@host:6379/0, or rediss:// for TLS. Unset:
    redis_host and redis_port; without those, no Redis. Variable: `REDIS_URL`.
    """
    redis_host: str | int | None
    """The host of a Redis without password, where redis_url is not set. Variable: `REDIS_HOST`."""
    redis_port: int | str | None
    """Its port, 1 to 65535. Default: `6379`. Variable: `REDIS_PORT`."""
    redis_ca_file: str | int | None
    """Under rediss://, the file with the certificates to trust, in PEM. Unset: those that Mozilla
    trusts. Variable: `REDIS_CA_FILE`, `SSL_CERT_FILE`.
    """
    redis_timeout_ms: int | str | None
    """How long Redis may take to answer, 10 to 10000 milliseconds. A cache that takes longer is
    done without. Default: `500`. Variable: `ORDER_ENGINE_REDIS_TIMEOUT_MS`.
    """
    cache_max_age_seconds: int | str | None
    """How long the contracts storefront and gateway keep copies of orders in Redis, 0 to 86400
    seconds; 0 keeps none. Every process that changes orders of the same database needs the same
    Redis; while one has none, no copies are read. Default: `300`. Variable:
    `ORDER_ENGINE_CACHE_MAX_AGE_SECONDS`.
    """
    jobs_check_totals: bool | str | None
    """Contract jobs: whether a totalAmount that is not the catalogue's is refused, where the
    catalogue knows every product's price. Default: `false`. Variable:
    `ORDER_ENGINE_JOBS_CHECK_TOTALS`.
    """
    jobs_order_queue: str | int | None
    """Contract jobs: the BullMQ queue of new orders. none: no such jobs. Default: `order-queue`.
    Variable: `ORDER_ENGINE_JOBS_ORDER_QUEUE`.
    """
    jobs_payment_queue: str | int | None
    """Contract jobs: the BullMQ queue of payments. none: no such jobs. Default: `payment-queue`.
    Variable: `ORDER_ENGINE_JOBS_PAYMENT_QUEUE`.
    """
    jobs_inventory_queue: str | int | None
    """Contract jobs: the BullMQ queue of changes to the inventory. none: no such jobs. Default:
    `inventory-queue`. Variable: `ORDER_ENGINE_JOBS_INVENTORY_QUEUE`.
    """
    jobs_notification_queue: str | int | None
    """Contract jobs: the BullMQ queue of notifications to customers. none: no such jobs. Default:
    `notification-queue`. Variable: `ORDER_ENGINE_JOBS_NOTIFICATION_QUEUE`.
    """
    jobs_prefix: str | int | None
    """Contract jobs: what the keys of the queues begin with in Redis, BullMQ's prefix. Default:
    `bull`. Variable: `ORDER_ENGINE_JOBS_PREFIX`.
    """
    jobs_attempts: int | str | None
    """Contract jobs: how often a worker tries a job that fails, 1 to 100. Default: `3`. Variable:
    `ORDER_ENGINE_JOBS_ATTEMPTS`.
    """
    jobs_backoff_ms: int | str | None
    """Contract jobs: the pause before a job's second try, doubled before each further one, 1 to
    3600000 milliseconds. Default: `1000`. Variable: `ORDER_ENGINE_JOBS_BACKOFF_MS`.
    """
    jobs_keep_completed_seconds: int | str | None
    """Contract jobs: how long Redis keeps a job that is done, 60 to 2592000 seconds. As long, the
    same event adds nothing a second time. Default: `3600`. Variable:
    `ORDER_ENGINE_JOBS_KEEP_COMPLETED_SECONDS`.
    """
    gateway_envelope: str | int | None
    """What stands around the answers of the contract gateway: documented (nothing) or result
    ({"result": ...}, as deployed services have it). Default: `documented`. Variable:
    `ORDER_ENGINE_GATEWAY_ENVELOPE`.
    """
    relay: bool | str | None
    """Whether this process sends events. `order-engine relay` always does. Default: `true`.
    Variable: `ORDER_ENGINE_RELAY`.
    """
    intake: str | int | None
    """Whether this process takes in events. Unset: a server does, an engine inside another program
    does not. `order-engine consume` always does. Variable: `ORDER_ENGINE_INTAKE`.
    """
    attempts_max: int | str | None
    """How often a message that is refused where it goes is tried before it is parked, 1 to 1000. A
    broker that is away does not count. Default: `20`. Variable: `ORDER_ENGINE_ATTEMPTS_MAX`.
    """
    sink_timeout_seconds: int | str | None
    """How long a sink may take for a batch before it is given the same again, 1 to 20 seconds.
    Default: `10`. Variable: `ORDER_ENGINE_SINK_TIMEOUT_SECONDS`.
    """
    jwt_secret_key: str | int | None
    """The secret that HS256 tokens are signed with, shared with the service that issues them; 32
    bytes or more. Variable: `JWT_SECRET_KEY`.
    """
    jwt_public_key_file: str | int | None
    """A file with the one public key of an issuer that signs with its private one, in PEM: RSA for
    RS256, P-256 for ES256, Ed25519 for EdDSA. It may stand beside a secret. Variable:
    `ORDER_ENGINE_JWT_PUBLIC_KEY_FILE`.
    """
    jwt_jwks_url: str | int | None
    """Where such an issuer serves its public keys, a JSON Web Key Set: https://, or http:// on this
    machine. Variable: `ORDER_ENGINE_JWT_JWKS_URL`.
    """
    jwt_jwks_file: str | int | None
    """A file with such a set, read as often as a served one is fetched. Instead of jwt_jwks_url.
    Variable: `ORDER_ENGINE_JWT_JWKS_FILE`.
    """
    jwt_jwks_refresh_seconds: int | str | None
    """How often the set is fetched, 1 to 86400 seconds. A key that is gone from it counts no
    longer. Default: `300`. Variable: `ORDER_ENGINE_JWT_JWKS_REFRESH_SECONDS`.
    """
    jwt_jwks_cooldown_seconds: int | str | None
    """A token with an unknown key has the set fetched at once, but not within this time of the last
    fetch, 1 to 3600 seconds. Default: `30`. Variable: `ORDER_ENGINE_JWT_JWKS_COOLDOWN_SECONDS`.
    """
    jwt_jwks_stale_seconds: int | str | None
    """How much longer than jwt_jwks_refresh_seconds the keys count while the set cannot be fetched,
    0 to 604800 seconds. Default: `86400`. Variable: `ORDER_ENGINE_JWT_JWKS_STALE_SECONDS`.
    """
    access: str | int | None
    """What a valid token allows: owner (one's own orders; staff everybody's), roles (as owner, but
    only staff changes a status) or any-valid-token (everything). Default: `owner`. Variable:
    `ORDER_ENGINE_ACCESS`.
    """
    jwt_leeway_seconds: int | str | None
    """How far the issuer's clock may be off, 0 to 60 seconds. Default: `5`. Variable:
    `ORDER_ENGINE_JWT_LEEWAY_SECONDS`.
    """
    jwt_issuer: str | int | None
    """The iss claim that tokens must carry. Unset: not looked at. Variable:
    `ORDER_ENGINE_JWT_ISSUER`.
    """
    jwt_audience: str | int | None
    """The audience that tokens must name in aud. Unset: a token with an aud is refused. Variable:
    `ORDER_ENGINE_JWT_AUDIENCE`.
    """
    jwt_admin_names: str | int | None
    """Roles and scopes, separated by commas, whose bearers are staff. Default: `admin`. Variable:
    `ORDER_ENGINE_JWT_ADMIN_NAMES`.
    """
    jobs_auth: str | int | None
    """Who may use the door of the contract jobs: jwt (bearers of a token), gateway (the gateway in
    front, which shows auth_gateway_secret) or none (everybody). There is no default: serving the
    contract needs the choice. Variable: `ORDER_ENGINE_JOBS_AUTH`.
    """
    gateway_auth: str | int | None
    """As jobs_auth, for the contract gateway. Variable: `ORDER_ENGINE_GATEWAY_AUTH`."""
    stock_auth: str | int | None
    """As jobs_auth, for the contract stock. Variable: `ORDER_ENGINE_STOCK_AUTH`."""
    auth_gateway_secret: str | int | None
    """What the gateway in front shows to be believed, where a door's auth is gateway. Variable:
    `ORDER_ENGINE_AUTH_GATEWAY_SECRET`.
    """
    auth_gateway_secret_header: str | int | None
    """The header in which it shows it. Default: `x-gateway-secret`. Variable:
    `ORDER_ENGINE_AUTH_GATEWAY_SECRET_HEADER`.
    """
    auth_gateway_user_header: str | int | None
    """The header in which it says whose request it passes on. Without it the gateway asks for
    itself, and may do everything. Default: `x-user-id`. Variable:
    `ORDER_ENGINE_AUTH_GATEWAY_USER_HEADER`.
    """
    contract: str | int | None
    """The contracts to serve, as name or name:port, separated by commas. Default: `flask`.
    Variable: `ORDER_ENGINE_CONTRACT`.
    """
    host: str | int | None
    """The address to listen on; 0.0.0.0 for every interface. Default: `127.0.0.1`. Variable:
    `ORDER_ENGINE_HOST`.
    """
    port: str | int | None
    """The port of the first contract, 0 to 65535; 0 takes a free one. Unset: the contract's own,
    5000 for flask. Variable: `ORDER_ENGINE_PORT`.
    """
    pages_dir: str | int | None
    """The folder with the pages for people: the playground's, and that of /docs. Unset: the one in
    the Python package. Variable: `ORDER_ENGINE_PAGES_DIR`.
    """
    request_timeout_seconds: int | str | None
    """How long one request may take, 1 to 300 seconds. Default: `15`. Variable:
    `ORDER_ENGINE_REQUEST_TIMEOUT_SECONDS`.
    """
    notice_seconds: int | str | None
    """How long after SIGTERM /readyz says no while the doors still answer, so that a load balancer
    turns to others first, 0 to 300 seconds. SIGINT closes them at once. Default: `3`. Variable:
    `ORDER_ENGINE_NOTICE_SECONDS`.
    """
    drain_seconds: int | str | None
    """How long requests under way may take to end at shutdown, 0 to 300 seconds. Default: `10`.
    Variable: `ORDER_ENGINE_DRAIN_SECONDS`.
    """
    metrics_port: str | int | None
    """A port of its own for /metrics, /healthz and /readyz, 0 to 65535; 0 takes a free one. Unset:
    9202 where the contract gateway is served, none elsewhere. Every door has the three as well.
    Variable: `METRICS_PORT`, `ORDER_ENGINE_METRICS_PORT`.
    """
    rate_limit_user_per_minute: int | str | None
    """Requests of one user that this process answers in a minute, 0 to 1000000; more get 429 and
    Retry-After. 0: any number. Default: `0`. Variable: `ORDER_ENGINE_RATE_LIMIT_USER_PER_MINUTE`.
    """
    rate_limit_address_per_minute: int | str | None
    """The same for requests without a user's good token, by the address they come from (version 6:
    its /64). Behind a proxy that is the proxy's. 0: any number. Default: `0`. Variable:
    `ORDER_ENGINE_RATE_LIMIT_ADDRESS_PER_MINUTE`.
    """
    rate_limit_burst: int | str | None
    """How many of them may come at once, 1 to 100000. Default: `60`. Variable:
    `ORDER_ENGINE_RATE_LIMIT_BURST`.
    """
    tls_certificate_file: str | int | None
    """The file with the certificate of the doors and those between it and its authority, in PEM.
    With it every port that is listened on speaks TLS 1.2 or 1.3, and nothing else. Another one that
    is put there is shown to new connections within seconds. Variable:
    `ORDER_ENGINE_TLS_CERTIFICATE_FILE`.
    """
    tls_key_file: str | int | None
    """The file with its private key, in PEM, not encrypted. Variable: `ORDER_ENGINE_TLS_KEY_FILE`.
    """
    users_service_url: str | int | None
    """The user service, asked by the contracts storefront and gateway: GET {url}/{id} answers 2xx
    for a user that there is. Unset: the token vouches for its user. Variable: `USERS_SERVICE_URL`.
    """
    products_service_url: str | int | None
    """The product service, asked by the contracts storefront and gateway for price and stock.
    Unset: the engine's own catalogue. Variable: `PRODUCTS_SERVICE_URL`.
    """
    products_service_protocol: str | int | None
    """How the product service is asked: rest (GET {url}/{id}) or graphql (productByIds, at the URL
    itself, with the caller's token). Default: `rest`. Variable:
    `ORDER_ENGINE_PRODUCTS_SERVICE_PROTOCOL`.
    """
    upstream_timeout_ms: int | str | None
    """How long each of these services may take for one order, all tries included, 50 to 30000
    milliseconds. The order is refused after that. Default: `3000`. Variable:
    `ORDER_ENGINE_UPSTREAM_TIMEOUT_MS`.
    """
    upstream_attempts_max: int | str | None
    """How often a service is asked that fails, 1 to 10. Default: `3`. Variable:
    `ORDER_ENGINE_UPSTREAM_ATTEMPTS_MAX`.
    """
    users_max_age_seconds: int | str | None
    """How long the user service's yes to a user with a token counts without asking again, 0 to 3600
    seconds. Default: `0`. Variable: `ORDER_ENGINE_USERS_MAX_AGE_SECONDS`.
    """
    lines_max: int | str | None
    """Most items of one order, 1 to 10000. Default: `500`. Variable: `ORDER_ENGINE_LINES_MAX`."""
    quantity_max: int | str | None
    """Largest quantity of one item, 1 to 2147483647. Default: `2147483647`. Variable:
    `ORDER_ENGINE_QUANTITY_MAX`.
    """
    unknown_users: bool | str | None
    """Whether a user whom no event has announced may order; the address stays empty. Default:
    `true`. Variable: `ORDER_ENGINE_UNKNOWN_USERS`.
    """
    currency: str | int | None
    """What prices are in, an ISO 4217 code. Counts for products that are new to the catalogue.
    Default: `USD`. Variable: `ORDER_ENGINE_CURRENCY`.
    """
    keep_keys_hours: int | str | None
    """How long idempotency keys and the identities of taken-in messages are kept, 24 to 8760 hours.
    Default: `168`. Variable: `ORDER_ENGINE_KEEP_KEYS_HOURS`.
    """
    stage: str | int | None
    """In a Flask app: who answers what `order-engine switch` has not set. engine, legacy (the app's
    own code) or shadow (the app's own code, compared with the engine). Default: `engine`. Variable:
    `ORDER_ENGINE_STAGE`.
    """
    log: str | int | None
    """What is logged: error, warn, info, debug or trace, also per module, such as
    info,order_engine::outbox=debug. Default: `info`. Variable: `ORDER_ENGINE_LOG`.
    """
    log_format: str | int | None
    """How log lines look: text or json. Default: `text`. Variable: `ORDER_ENGINE_LOG_FORMAT`."""
