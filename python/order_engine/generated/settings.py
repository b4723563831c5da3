"""The settings of an engine, for type checkers and editors.

Written by `make generate` from the native module; do not edit it.
"""

from __future__ import annotations

from typing import TypedDict


class Settings(TypedDict, total=False):
    """Settings by name. None means that a setting is not given."""

    database_url: str | int | None
    """PostgreSQL 15 or newer, as postgresql://user:password@host:5432/database. Several servers, as
    host:5432,host:5432, are tried in order until one accepts writes. SQLAlchemy's
    postgresql+psycopg2:// is accepted. Unset: POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB name
    a database on localhost:5432. If those are unset too, an embedded server is used, except by the
    Flask extension and adopt. Variable: `DATABASE_URL`, `SQLALCHEMY_DATABASE_URI`.
    """
    database_schema: str | int | None
    """The PostgreSQL schema of the engine's tables: lower-case letters, digits, _. Default:
    `order_engine`. Variable: `ORDER_ENGINE_DATABASE_SCHEMA`.
    """
    database_connections: int | str | None
    """Size of the connection pool, 4 to 500. A process can open more: relays, shadow runs and the
    Python API have connections of their own. Default: `16`. Variable:
    `ORDER_ENGINE_DATABASE_CONNECTIONS`.
    """
    database_timeout_seconds: int | str | None
    """Time limit of a statement and of waiting for a lock, 1 to 300 seconds. If the server has not
    answered half a second after that, the connection is closed. Waiting for a free connection has
    the same limit, but at most 3 seconds. Default: `10`. Variable:
    `ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS`.
    """
    rabbitmq_url: str | int | None
    """RabbitMQ 3.10 or newer, as amqp://user:password@host:5672/vhost, or amqps:// for TLS. Unset:
    events stay in the outbox. Variable: `RABBITMQ_URL`, `RABBITMQ_URI`.
    """
    rabbitmq_exchange: str | int | None
    """The exchange that events are consumed from. The contract flask also publishes to it. An
    existing exchange is used as it is; a missing one is declared as direct. Default:
    `event_exchange`. Variable: `ORDER_ENGINE_EXCHANGE`.
    """
    rabbitmq_exchange_durable: bool | str | None
    """Whether missing exchanges are declared durable, and the queue too if rabbitmq_queue names
    another one than order_engine_queue, which is always durable. The existing services declare
    theirs non-durable and fail against a durable one. Default: `false`. Variable:
    `ORDER_ENGINE_EXCHANGE_DURABLE`.
    """
    rabbitmq_queue: str | int | None
    """The queue that events are consumed from. To take over the messages of the old Flask
    application's consumer.py, stop it and set this to order_service_queue. Default:
    `order_engine_queue`. Variable: `ORDER_ENGINE_QUEUE`.
    """
    rabbitmq_prefetch: int | str | None
    """Maximum number of unacknowledged messages (prefetch count), 1 to 2000. Default: `100`.
    Variable: `ORDER_ENGINE_PREFETCH`.
    """
    topics_require_queue: str | int | None
    """Routing keys, separated by commas, whose messages stay in the outbox until a queue is bound.
    Messages with other keys are discarded if no queue is bound. Default: `order.placed`. Variable:
    `ORDER_ENGINE_TOPICS_REQUIRE_QUEUE`.
    """
    kafka_brokers: str | int | None
    """Kafka brokers, as host:port, separated by commas. Unset: the events of contracts on Kafka
    stay in the outbox. Variable: `KAFKA_BROKERS`, `KAFKA_BROKER`.
    """
    kafka_group: str | int | None
    """Prefix of the consumer groups. The group of a contract is PREFIX-CONTRACT, such as
    order-engine-gateway. Default: `order-engine`. Variable: `ORDER_ENGINE_KAFKA_GROUP`.
    """
    kafka_security_protocol: str | int | None
    """plaintext, ssl, sasl_plaintext or sasl_ssl. With ssl and sasl_ssl the certificate of each
    broker must be valid for its host. Default: `plaintext`. Variable: `KAFKA_SECURITY_PROTOCOL`.
    """
    kafka_sasl_mechanism: str | int | None
    """Login mechanism of sasl_plaintext and sasl_ssl: plain, scram-sha-256 or scram-sha-512.
    Default: `plain`. Variable: `KAFKA_SASL_MECHANISM`.
    """
    kafka_username: str | int | None
    """User name of the login. Variable: `KAFKA_USERNAME`."""
    kafka_password: str | int | None
    """Password of kafka_username. Variable: `KAFKA_PASSWORD`."""
    kafka_ca_file: str | int | None
    """PEM file with the trusted certificate authorities. Unset: those of the system. Variable:
    `KAFKA_CA_FILE`.
    """
    redis_url: str | int | None
    """Redis 6.2 or newer, as redis://user:password@host:6379/0, or rediss:// for TLS. Unset:
    redis_host and redis_port are used; without those, no Redis. Variable: `REDIS_URL`.
    """
    redis_host: str | int | None
    """Host of a Redis server that needs no password. Used if redis_url is not set. Variable:
    `REDIS_HOST`.
    """
    redis_port: int | str | None
    """Port of redis_host, 1 to 65535. Default: `6379`. Variable: `REDIS_PORT`."""
    redis_ca_file: str | int | None
    """PEM file with the trusted certificate authorities for rediss://. Unset: Mozilla's list.
    Variable: `REDIS_CA_FILE`, `SSL_CERT_FILE`.
    """
    redis_timeout_ms: int | str | None
    """Time limit of one Redis command, 10 to 10000 milliseconds. After that orders are read from
    the database; other uses of Redis are retried. Default: `500`. Variable:
    `ORDER_ENGINE_REDIS_TIMEOUT_MS`.
    """
    cache_max_age_seconds: int | str | None
    """How long orders stay in the Redis cache, 0 to 86400 seconds; 0 disables the cache. Every
    process that changes orders of the same database must use the same Redis. While one of them has
    no Redis, the cache is not used. Default: `300`. Variable: `ORDER_ENGINE_CACHE_MAX_AGE_SECONDS`.
    """
    jobs_auth: str | int | None
    """How callers of the contract jobs are authenticated: jwt (a token), gateway (a trusted gateway
    in front of this API, which sends auth_gateway_secret) or none (any client has full access).
    Required to serve the contract; there is no default. Variable: `ORDER_ENGINE_JOBS_AUTH`.
    """
    jobs_auth_networks: str | int | None
    """Addresses and networks, such as 10.0.0.0/8, separated by commas, whose clients have access
    while jobs_auth is none; others get 401. Behind a proxy this is the proxy's address. Unset: all.
    Variable: `ORDER_ENGINE_JOBS_AUTH_NETWORKS`.
    """
    jobs_check_totals: bool | str | None
    """Whether the contract jobs rejects a totalAmount that differs from the sum of the catalog's
    prices, if the catalog has a price for each product. Default: `false`. Variable:
    `ORDER_ENGINE_JOBS_CHECK_TOTALS`.
    """
    jobs_order_queue: str | int | None
    """The BullMQ queue for new orders; none disables it. Default: `order-queue`. Variable:
    `ORDER_ENGINE_JOBS_ORDER_QUEUE`.
    """
    jobs_payment_queue: str | int | None
    """The BullMQ queue for payments; none disables it. Default: `payment-queue`. Variable:
    `ORDER_ENGINE_JOBS_PAYMENT_QUEUE`.
    """
    jobs_inventory_queue: str | int | None
    """The BullMQ queue for inventory changes; none disables it. Default: `inventory-queue`.
    Variable: `ORDER_ENGINE_JOBS_INVENTORY_QUEUE`.
    """
    jobs_notification_queue: str | int | None
    """The BullMQ queue for customer notifications; none disables it. Default: `notification-queue`.
    Variable: `ORDER_ENGINE_JOBS_NOTIFICATION_QUEUE`.
    """
    jobs_prefix: str | int | None
    """Prefix of the queues' keys in Redis, BullMQ's option prefix. Default: `bull`. Variable:
    `ORDER_ENGINE_JOBS_PREFIX`.
    """
    jobs_attempts: int | str | None
    """Maximum number of attempts for a job, including the first, 1 to 100. Default: `3`. Variable:
    `ORDER_ENGINE_JOBS_ATTEMPTS`.
    """
    jobs_backoff_ms: int | str | None
    """Delay before the second attempt of a job, doubled with each further one, 1 to 3600000
    milliseconds. Default: `1000`. Variable: `ORDER_ENGINE_JOBS_BACKOFF_MS`.
    """
    jobs_keep_completed_seconds: int | str | None
    """How long Redis keeps completed jobs, 60 to 2592000 seconds. While Redis keeps a job, the same
    event does not add it again. Default: `3600`. Variable:
    `ORDER_ENGINE_JOBS_KEEP_COMPLETED_SECONDS`.
    """
    gateway_auth: str | int | None
    """How callers of the contract gateway are authenticated: jwt (a token), gateway (a trusted
    gateway in front of this API, which sends auth_gateway_secret) or none (any client has full
    access). Required to serve the contract; there is no default. Variable:
    `ORDER_ENGINE_GATEWAY_AUTH`.
    """
    gateway_auth_networks: str | int | None
    """Addresses and networks, such as 10.0.0.0/8, separated by commas, whose clients have access
    while gateway_auth is none; others get 401. Behind a proxy this is the proxy's address. Unset:
    all. Variable: `ORDER_ENGINE_GATEWAY_AUTH_NETWORKS`.
    """
    gateway_envelope: str | int | None
    """Format of the responses of the contract gateway: documented (the object itself) or result
    (the object in {"result": ...}, as deployed services send it). Default: `documented`. Variable:
    `ORDER_ENGINE_GATEWAY_ENVELOPE`.
    """
    storefront_exchange: str | int | None
    """The exchange that the contract storefront publishes to. Do not set it to the value of
    rabbitmq_exchange if flask is served too: consumers of order.placed would receive each order
    twice, in two formats. Default: `storefront_exchange`. Variable:
    `ORDER_ENGINE_STOREFRONT_EXCHANGE`.
    """
    stock_auth: str | int | None
    """How callers of the contract stock are authenticated: jwt (a token), gateway (a trusted
    gateway in front of this API, which sends auth_gateway_secret) or none (any client has full
    access). Required to serve the contract; there is no default. Variable:
    `ORDER_ENGINE_STOCK_AUTH`.
    """
    stock_auth_networks: str | int | None
    """Addresses and networks, such as 10.0.0.0/8, separated by commas, whose clients have access
    while stock_auth is none; others get 401. Behind a proxy this is the proxy's address. Unset:
    all. Variable: `ORDER_ENGINE_STOCK_AUTH_NETWORKS`.
    """
    stock_spelling: str | int | None
    """Status codes, texts and rules of the contract stock: documented, or deployed (as the services
    do that are deployed; src/contracts/stock/docs.md lists the differences). Default: `documented`.
    Variable: `ORDER_ENGINE_STOCK_SPELLING`.
    """
    relay: bool | str | None
    """Whether this process publishes events from the outbox. `order-engine relay` always does.
    Default: `true`. Variable: `ORDER_ENGINE_RELAY`.
    """
    consumer: str | int | None
    """Whether this process consumes events. Unset: a server does; an engine embedded in another
    program does not. `order-engine consume` always does. Variable: `ORDER_ENGINE_CONSUMER`.
    """
    publish_attempts_max: int | str | None
    """Attempts to publish a message that the broker rejects before it becomes a dead letter, 1 to
    1000. Attempts while the broker is unreachable do not count. Default: `20`. Variable:
    `ORDER_ENGINE_PUBLISH_ATTEMPTS_MAX`.
    """
    sink_timeout_seconds: int | str | None
    """Time limit for a sink to process a batch, 1 to 20 seconds. After that the batch is delivered
    again. Default: `10`. Variable: `ORDER_ENGINE_SINK_TIMEOUT_SECONDS`.
    """
    jwt_secret_key: str | int | None
    """The secret that signs tokens, shared with the service that issues them. A secret of less than
    32 bytes causes a warning. Variable: `JWT_SECRET_KEY`.
    """
    jwt_secret_algorithms: str | int | None
    """The algorithms of tokens that jwt_secret_key signs, separated by commas: HS256, HS384 or
    HS512. The engine's own tokens have the first one. Default: `HS256`. Variable:
    `ORDER_ENGINE_JWT_SECRET_ALGORITHMS`.
    """
    jwt_public_key_file: str | int | None
    """PEM file with the public key of the tokens' issuer: RSA for RS256, P-256 for ES256, Ed25519
    for EdDSA. It can be used together with jwt_secret_key. Variable:
    `ORDER_ENGINE_JWT_PUBLIC_KEY_FILE`.
    """
    jwt_jwks_url: str | int | None
    """The URL of the issuer's JSON Web Key Set: https://, or http:// on this machine. Variable:
    `ORDER_ENGINE_JWT_JWKS_URL`.
    """
    jwt_jwks_file: str | int | None
    """A file with a JSON Web Key Set, read every jwt_jwks_refresh_seconds. Set either this or
    jwt_jwks_url. Variable: `ORDER_ENGINE_JWT_JWKS_FILE`.
    """
    jwt_jwks_refresh_seconds: int | str | None
    """Interval between fetches of the key set, 1 to 86400 seconds. Keys that are no longer in the
    set are no longer accepted. Default: `300`. Variable: `ORDER_ENGINE_JWT_JWKS_REFRESH_SECONDS`.
    """
    jwt_jwks_cooldown_seconds: int | str | None
    """Minimum interval between fetches that are caused by tokens with an unknown key, 1 to 3600
    seconds. Default: `30`. Variable: `ORDER_ENGINE_JWT_JWKS_COOLDOWN_SECONDS`.
    """
    jwt_jwks_stale_seconds: int | str | None
    """If the key set cannot be fetched, the last one is used for jwt_jwks_refresh_seconds plus this
    time, 0 to 604800 seconds. Default: `86400`. Variable: `ORDER_ENGINE_JWT_JWKS_STALE_SECONDS`.
    """
    access: str | int | None
    """What a valid token allows: owner (a user's own orders; admins: all orders), roles (like
    owner, but only admins change a status, except that users can cancel) or any-valid-token
    (everything). Default: `owner`. Variable: `ORDER_ENGINE_ACCESS`.
    """
    jwt_leeway_seconds: int | str | None
    """Accepted difference between the clocks of issuer and server, 0 to 60 seconds. Default: `5`.
    Variable: `ORDER_ENGINE_JWT_LEEWAY_SECONDS`.
    """
    jwt_issuer: str | int | None
    """The required iss claim of tokens. Unset: iss is not checked. Variable:
    `ORDER_ENGINE_JWT_ISSUER`.
    """
    jwt_audience: str | int | None
    """The audience that the aud claim of tokens must name. Unset: tokens with an aud claim are
    rejected. Variable: `ORDER_ENGINE_JWT_AUDIENCE`.
    """
    jwt_user_claims: str | int | None
    """The claims of tokens that name the user, separated by commas. A token must have one of them;
    if it has several, they must name the same user. Default: `user_id,sub,userId,id,_id`. Variable:
    `ORDER_ENGINE_JWT_USER_CLAIMS`.
    """
    jwt_require_exp: bool | str | None
    """Whether tokens without an exp claim are rejected. false: they are valid until the key is
    replaced. Default: `true`. Variable: `ORDER_ENGINE_JWT_REQUIRE_EXP`.
    """
    jwt_admin_names: str | int | None
    """Values of the claims role, roles, scope and scopes that make a user an admin, separated by
    commas. Default: `admin`. Variable: `ORDER_ENGINE_JWT_ADMIN_NAMES`.
    """
    auth_gateway_secret: str | int | None
    """The secret that a trusted gateway sends with each request, for contracts whose authentication
    is gateway. Variable: `ORDER_ENGINE_AUTH_GATEWAY_SECRET`.
    """
    auth_gateway_secret_header: str | int | None
    """The header with the secret of the trusted gateway. Default: `x-gateway-secret`. Variable:
    `ORDER_ENGINE_AUTH_GATEWAY_SECRET_HEADER`.
    """
    auth_gateway_user_header: str | int | None
    """The header with the id of the user for whom the trusted gateway sends a request. Without this
    header the request runs as the gateway, with full rights. Default: `x-user-id`. Variable:
    `ORDER_ENGINE_AUTH_GATEWAY_USER_HEADER`.
    """
    contract: str | int | None
    """The contracts to serve, as name or name:port, separated by commas. Default: `flask`.
    Variable: `ORDER_ENGINE_CONTRACT`.
    """
    host: str | int | None
    """The address to listen on; 0.0.0.0 for all interfaces. Default: `127.0.0.1`. Variable:
    `ORDER_ENGINE_HOST`.
    """
    port: str | int | None
    """The port of the first contract, 0 to 65535; 0 chooses a free port. Unset: the default of the
    contract, 5000 for flask. Variable: `ORDER_ENGINE_PORT`.
    """
    pages_dir: str | int | None
    """Folder with the GraphQL playground and the page at /docs. Unset: the one in the Python
    package. Variable: `ORDER_ENGINE_PAGES_DIR`.
    """
    request_timeout_seconds: int | str | None
    """Time limit of one request, 1 to 300 seconds. Default: `15`. Variable:
    `ORDER_ENGINE_REQUEST_TIMEOUT_SECONDS`.
    """
    shutdown_delay_seconds: int | str | None
    """After SIGTERM or SIGHUP, requests are still served for this time, 0 to 300 seconds, while
    /readyz returns 503, so that load balancers stop sending. SIGINT skips this delay. Default: `3`.
    Variable: `ORDER_ENGINE_SHUTDOWN_DELAY_SECONDS`.
    """
    drain_seconds: int | str | None
    """Time for requests in progress to finish at shutdown, 0 to 300 seconds. Default: `10`.
    Variable: `ORDER_ENGINE_DRAIN_SECONDS`.
    """
    metrics_port: str | int | None
    """A separate port for /metrics, /healthz and /readyz, 0 to 65535; 0 chooses a free port. Unset:
    9202 if the contract gateway is served, otherwise no separate port. The port of each contract
    has these three paths too. Variable: `METRICS_PORT`, `ORDER_ENGINE_METRICS_PORT`.
    """
    rate_limit_user_per_minute: int | str | None
    """Requests of one user per minute that this process answers, 0 to 1000000; further requests get
    429 with Retry-After. 0: no limit. Default: `0`. Variable:
    `ORDER_ENGINE_RATE_LIMIT_USER_PER_MINUTE`.
    """
    rate_limit_address_per_minute: int | str | None
    """Requests of one client address (IPv6: /64 network) per minute, for requests without a user, 0
    to 1000000. Behind a proxy this is the proxy's address. 0: no limit. Default: `0`. Variable:
    `ORDER_ENGINE_RATE_LIMIT_ADDRESS_PER_MINUTE`.
    """
    rate_limit_burst: int | str | None
    """Requests that may arrive at once before these two rates apply, 1 to 100000. Default: `60`.
    Variable: `ORDER_ENGINE_RATE_LIMIT_BURST`.
    """
    websockets_per_address_max: int | str | None
    """WebSockets of one client address (IPv6: the /64) that may be open without a valid token, 0 to
    1000000; further ones get 429. Behind a proxy this is the proxy's address. 0: no limit. Default:
    `100`. Variable: `ORDER_ENGINE_WEBSOCKETS_PER_ADDRESS_MAX`.
    """
    subscriptions_per_user_max: int | str | None
    """Subscriptions that one user may have open in this process, 0 to 1000000; further ones get an
    error. Without a user, those of one client address. 0: no limit. Default: `100`. Variable:
    `ORDER_ENGINE_SUBSCRIPTIONS_PER_USER_MAX`.
    """
    allowed_hosts: str | int | None
    """Host names that requests may name in the Host header, separated by commas; *.example.com for
    subdomains, * for every name. Unset: every name, but for a contract without authentication while
    host is a loopback address only localhost. Variable: `ORDER_ENGINE_ALLOWED_HOSTS`.
    """
    cors_origins: str | int | None
    """Origins whose pages may call the API from a browser (CORS), such as https://shop.example.com,
    separated by commas; * for all. Unset: none. Variable: `ORDER_ENGINE_CORS_ORIGINS`.
    """
    tls_certificate_file: str | int | None
    """PEM file with the server's certificate chain. If it is set, all ports use TLS 1.2 or 1.3. A
    changed file is used for new connections within seconds. Variable:
    `ORDER_ENGINE_TLS_CERTIFICATE_FILE`.
    """
    tls_key_file: str | int | None
    """PEM file with the private key of the certificate, not encrypted. Variable:
    `ORDER_ENGINE_TLS_KEY_FILE`.
    """
    users_service_url: str | int | None
    """The user service, called by the contracts storefront and gateway before an order is placed:
    GET {url}/{id} returns 2xx for an existing user. Unset: users are not checked. Variable:
    `USERS_SERVICE_URL`.
    """
    products_service_url: str | int | None
    """The product service, called for price and stock by the contracts flask, storefront and
    gateway before an order is placed. Unset: the engine's own catalog is used. Variable:
    `PRODUCTS_SERVICE_URL`.
    """
    products_service_protocol: str | int | None
    """Protocol of the product service: rest (GET {url}/{id}) or graphql (POST {url} with the query
    productByIds and the caller's token). Default: `rest`. Variable:
    `ORDER_ENGINE_PRODUCTS_SERVICE_PROTOCOL`.
    """
    upstream_timeout_ms: int | str | None
    """Time limit for the call to one of these services, with all its attempts, 50 to 30000
    milliseconds. After that the order is rejected. Default: `3000`. Variable:
    `ORDER_ENGINE_UPSTREAM_TIMEOUT_MS`.
    """
    upstream_attempts_max: int | str | None
    """Attempts of a call that fails, 1 to 10. Default: `3`. Variable:
    `ORDER_ENGINE_UPSTREAM_ATTEMPTS_MAX`.
    """
    users_max_age_seconds: int | str | None
    """How long the answer that a user exists is cached, for each user and token, 0 to 3600 seconds.
    Default: `0`. Variable: `ORDER_ENGINE_USERS_MAX_AGE_SECONDS`.
    """
    lines_max: int | str | None
    """Maximum number of lines of an order, 1 to 10000. Default: `500`. Variable:
    `ORDER_ENGINE_LINES_MAX`.
    """
    quantity_max: int | str | None
    """Largest quantity of one line, 1 to 2147483647. Default: `2147483647`. Variable:
    `ORDER_ENGINE_QUANTITY_MAX`.
    """
    allow_unknown_users: bool | str | None
    """Whether orders of users that the engine does not know are accepted; they have no address. A
    user is known after an event or upsert_user. Default: `true`. Variable:
    `ORDER_ENGINE_ALLOW_UNKNOWN_USERS`.
    """
    currency: str | int | None
    """The currency, an ISO 4217 code, of products that are added to the catalog, and of orders
    whose products are not in it. Default: `USD`. Variable: `ORDER_ENGINE_CURRENCY`.
    """
    idempotency_retention_hours: int | str | None
    """How long idempotency keys and the ids of consumed messages are kept, 24 to 8760 hours.
    Default: `168`. Variable: `ORDER_ENGINE_IDEMPOTENCY_RETENTION_HOURS`.
    """
    migration_stage: str | int | None
    """Flask only: which code answers an operation without a routing rule (see `order-engine
    route`). engine, legacy (the app's own code) or shadow (the app's own code, compared with the
    engine). Default: `engine`. Variable: `ORDER_ENGINE_MIGRATION_STAGE`.
    """
    log: str | int | None
    """Log level: error, warn, info, debug or trace; also for single modules, as in
    info,order_engine::outbox=debug. Default: `info`. Variable: `ORDER_ENGINE_LOG`.
    """
    log_requests: str | int | None
    """Which requests to the API are logged, one line each at level info: failures, all or off.
    Default: `failures`. Variable: `ORDER_ENGINE_LOG_REQUESTS`.
    """
    log_format: str | int | None
    """Format of log lines: text or json. Default: `text`. Variable: `ORDER_ENGINE_LOG_FORMAT`."""
