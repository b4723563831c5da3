//! The settings of a session, read back after connecting: a pooler may have ignored them.

use sqlx::{PgConnection, Row};

use crate::store::reset::TEST_CLUSTER_NAME;

/// The oldest supported major version of PostgreSQL.
const OLDEST_VERSION: i32 = 15;

/// What the server says about a new session.
pub(super) struct SessionState {
    /// The server, or this session, accepts no writes.
    pub is_read_only: bool,
    /// A crash of the server may lose commits that it has confirmed. None on a test server, which
    /// loses them on purpose.
    pub loses_commits: Option<&'static str>,
    search_path: String,
    version: i32,
}

impl SessionState {
    /// Asks the server.
    ///
    /// # Errors
    /// Those of the server.
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        // A plain text is sent in one round trip, and prepares nothing.
        let row = sqlx::raw_sql(
            "select current_setting('transaction_read_only'), current_setting('search_path'), \
             current_setting('server_version_num'), current_setting('synchronous_commit'), \
             current_setting('fsync'), current_setting('cluster_name')",
        )
        .fetch_one(connection)
        .await?;
        let text = |column: usize| row.try_get::<String, _>(column);
        let loses_commits = match (text(3)?.as_str(), text(4)?.as_str()) {
            _ if text(5)? == TEST_CLUSTER_NAME => None,
            ("off", _) => Some("synchronous_commit"),
            (_, "off") => Some("fsync"),
            _ => None,
        };
        Ok(Self {
            is_read_only: text(0)? == "on",
            loses_commits,
            search_path: text(1)?,
            version: text(2)?.parse::<i32>().unwrap_or_default() / 10_000,
        })
    }

    /// Checks that the session works in `schema`.
    ///
    /// # Errors
    /// `Configuration` that says what to set.
    pub(super) fn check(&self, schema: &str) -> Result<(), sqlx::Error> {
        if self.version < OLDEST_VERSION {
            let text = format!(
                "PostgreSQL {} is too old. Use PostgreSQL {OLDEST_VERSION} or newer.",
                self.version
            );
            return Err(sqlx::Error::Configuration(text.into()));
        }
        if self.search_path.trim_matches('"') != schema {
            let text = format!(
                "The session's search_path is {}, not {schema}: a pooler between the engine and \
                 PostgreSQL ignored the startup parameter \"options\". Set DATABASE_URL to \
                 PostgreSQL's own address, or remove \"options\" from the pooler's \
                 ignore_startup_parameters.",
                self.search_path
            );
            return Err(sqlx::Error::Configuration(text.into()));
        }
        Ok(())
    }
}
