//! Which revision a database's schema has, as Alembic notes it: a table with a row for each head.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::tls;
use super::url::{DatabaseUrl, TlsMode};

/// Where Alembic notes the revision, unless it was told another name.
pub const TABLE: &str = "alembic_version";
/// How many heads are read at most; a sound schema has one.
const MOST_HEADS: usize = 16;

/// What a database says of the revision of its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    /// It holds no table at all: nothing was ever migrated.
    Empty,
    /// It holds tables, and not the one in which revisions are noted: something else made them.
    Untracked,
    /// It notes no revision: every migration was undone.
    Base,
    /// It has this one.
    One(String),
    /// It has several heads, in the order of their names: branches that nobody merged.
    Several(Vec<String>),
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the database is empty"),
            Self::Untracked => f.write_str("the database has tables, and none that notes a revision"),
            Self::Base => f.write_str("the database is at no revision"),
            Self::One(revision) => write!(f, "the database is at {revision}"),
            Self::Several(heads) => write!(f, "the database has several heads: {}", heads.join(", ")),
        }
    }
}

/// Why the revision could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// The table's name is none.
    #[error("'{0}' is no name of a table: write alembic_version or schema.alembic_version")]
    Table(String),
    /// The certificate authorities could not be read.
    #[error("cannot connect to {url}: {message}")]
    Trust {
        /// Which database.
        url: String,
        /// What is wrong.
        message: String,
    },
    /// There is no connection.
    #[error("cannot connect to {url}: {message}")]
    Connect {
        /// Which database.
        url: String,
        /// What went wrong.
        message: String,
    },
    /// It refused the question.
    #[error("cannot read the revision in {table} of {url}: {message}")]
    Query {
        /// Which database.
        url: String,
        /// Which table.
        table: String,
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
}

/// Reads the revision that the database at `url` notes in `table`: `alembic_version` where the database looks for names
/// without a schema, or `schema.alembic_version`. Nothing is written, and no statement is prepared, so that a connection
/// pool in between does not mind.
///
/// # Errors
/// When there is no answer within `timeout`, or none that says it.
pub async fn revision(url: &DatabaseUrl, table: &str, timeout: Duration) -> Result<Revision, RevisionError> {
    let quoted = quoted(table).ok_or_else(|| RevisionError::Table(table.to_owned()))?;
    let asked = async {
        let (client, _connection) = connect(url, timeout).await?;
        let query = |error: tokio_postgres::Error| RevisionError::Query {
            url: url.to_string(),
            table: table.to_owned(),
            message: told(&error),
        };
        read(&client, &quoted).await.map_err(query)
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(RevisionError::Timeout { url: url.to_string(), after: timeout }),
    }
}

async fn connect(url: &DatabaseUrl, timeout: Duration) -> Result<(Client, AbortOnDropHandle<()>), RevisionError> {
    let trust = |message| RevisionError::Trust { url: url.to_string(), message };
    let tls = MakeRustlsConnect::new(tls::config(url.tls, &url.trust).map_err(trust)?);
    let connected = config(url, timeout).connect(tls).await;
    let (client, connection) =
        connected.map_err(|error| RevisionError::Connect { url: url.to_string(), message: told(&error) })?;
    // What becomes of the connection is told by the questions on it.
    let running = tokio::spawn(async { drop(connection.await) });
    Ok((client, AbortOnDropHandle::new(running)))
}

fn config(url: &DatabaseUrl, timeout: Duration) -> Config {
    let mut config = Config::new();
    for host in &url.hosts {
        config.host(&host.name).port(host.port);
    }
    config.user(&url.user).dbname(&url.database).application_name("upgrade-guard").connect_timeout(timeout);
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

/// Whether there is any table that a person made, and not an extension.
const ANY_TABLE: &str = "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND n.nspname !~ '^pg_(toast|temp)' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'))";

async fn read(client: &Client, table: &str) -> Result<Revision, tokio_postgres::Error> {
    let literal = table.replace('\'', "''");
    let question = format!("SELECT pg_catalog.to_regclass('{literal}') IS NOT NULL, {ANY_TABLE}");
    let answer = rows(client, &question).await?;
    let says = |column| answer.first().and_then(|row| row.get(column)) == Some("t");
    match (says(0), says(1)) {
        (false, false) => return Ok(Revision::Empty),
        (false, true) => return Ok(Revision::Untracked),
        (true, _) => {}
    }
    let question = format!("SELECT version_num FROM {table} ORDER BY version_num LIMIT {MOST_HEADS}");
    let answer = rows(client, &question).await?;
    let mut heads: Vec<String> = answer.iter().filter_map(|row| row.get(0).map(str::to_owned)).collect();
    Ok(match (heads.len(), heads.pop()) {
        (1, Some(only)) => Revision::One(only),
        (_, Some(last)) => Revision::Several(heads.into_iter().chain([last]).collect()),
        (_, None) => Revision::Base,
    })
}

async fn rows(client: &Client, question: &str) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
    let messages = client.simple_query(question).await?;
    let row = |message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None };
    Ok(messages.into_iter().filter_map(row).collect())
}

/// `schema.table` as SQL writes names that may hold anything; `None` when a part is empty, or there are too many.
fn quoted(table: &str) -> Option<String> {
    let parts: Vec<&str> = table.split('.').collect();
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty() || part.contains('\0')) {
        return None;
    }
    let parts: Vec<String> = parts.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    Some(parts.join("."))
}

/// What the server says, or what stands behind the error: tokio-postgres itself only says that there was one.
fn told(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_are_quoted() {
        assert_eq!(quoted("alembic_version").as_deref(), Some("\"alembic_version\""));
        assert_eq!(quoted("stoa.alembic_version").as_deref(), Some("\"stoa\".\"alembic_version\""));
        assert_eq!(quoted("a\"; DROP TABLE x; --").as_deref(), Some("\"a\"\"; DROP TABLE x; --\""));
        for none in ["", ".", "a.", ".b", "a.b.c", "a\0"] {
            assert_eq!(quoted(none), None, "{none:?}");
        }
    }
}
