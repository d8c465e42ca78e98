//! Connections to a database.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::tls;
use super::url::{DatabaseUrl, TlsMode};

/// Why there is no answer from a database. The password is never part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// The certificate authorities could not be read, or there is no connection.
    #[error("cannot connect to {url}: {message}")]
    Connect {
        /// Which database.
        url: String,
        /// What went wrong.
        message: String,
    },
    /// It did not answer in time.
    #[error("no answer from {url} within {} s", .after.as_secs_f32())]
    Timeout {
        /// Which database.
        url: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It refused what it was asked.
    #[error("{url} refused to {what}: {message}")]
    Query {
        /// Which database.
        url: String,
        /// What was attempted.
        what: String,
        /// What went wrong.
        message: String,
    },
}

/// An open connection. Dropped, it is closed.
pub struct Connection {
    client: Client,
    _running: AbortOnDropHandle<()>,
    url: String,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connection").field(&self.url).finish()
    }
}

impl Connection {
    /// Connects to the database at `url`; it sees `application` as the name of who asks.
    ///
    /// # Errors
    /// When there is none within `timeout`.
    pub async fn open(url: &DatabaseUrl, application: &str, timeout: Duration) -> Result<Self, DatabaseError> {
        let refused = |message| DatabaseError::Connect { url: url.to_string(), message };
        let tls = MakeRustlsConnect::new(tls::config(url.tls, &url.trust).map_err(refused)?);
        let config = config(url, application, timeout);
        let connected = tokio::time::timeout(timeout, config.connect(tls)).await;
        let late = |_| DatabaseError::Timeout { url: url.to_string(), after: timeout };
        let (client, connection) = connected.map_err(late)?.map_err(|error| refused(told(&error)))?;
        // What becomes of the connection is told by the questions on it.
        let running = AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }));
        Ok(Self { client, _running: running, url: url.to_string() })
    }

    /// The rows that `sql` gives, which may be several statements. Nothing is prepared, so that a connection pool in between
    /// does not mind. `what` says what is attempted, for the error: "read the revision".
    ///
    /// # Errors
    /// When the database refuses it, or is gone.
    pub async fn rows(&self, what: &str, sql: &str) -> Result<Vec<SimpleQueryRow>, DatabaseError> {
        let messages = self.client.simple_query(sql).await.map_err(|error| self.refused(what, &error))?;
        let row = |message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// The first column of the first row that `sql` gives.
    ///
    /// # Errors
    /// As for [`Connection::rows`].
    pub async fn value(&self, what: &str, sql: &str) -> Result<Option<String>, DatabaseError> {
        Ok(self.rows(what, sql).await?.first().and_then(|row| row.get(0)).map(str::to_owned))
    }

    /// What says that `what` was refused with this error.
    #[must_use]
    pub fn refused(&self, what: &str, error: &tokio_postgres::Error) -> DatabaseError {
        DatabaseError::Query { url: self.url.clone(), what: what.to_owned(), message: told(error) }
    }

    /// The client, for what needs more than questions.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

fn config(url: &DatabaseUrl, application: &str, timeout: Duration) -> Config {
    let mut config = Config::new();
    for host in &url.hosts {
        config.host(&host.name).port(host.port);
    }
    config.user(&url.user).dbname(&url.database).application_name(application).connect_timeout(timeout);
    if let Some(password) = &url.password {
        config.password(password);
    }
    if let Some(options) = &url.options {
        config.options(options);
    }
    config.ssl_mode(match url.tls {
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Prefer => SslMode::Prefer,
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
    });
    config
}

/// What the server says, or what stands behind the error: tokio-postgres itself only says that there was one.
fn told(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a text does not fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// `text` as a literal of SQL.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `name` as SQL writes names that may hold anything.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
