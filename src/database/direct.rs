//! Whether a URL leads to the server itself, or to a pool that keeps a connection for a session: only there does a lock
//! of the session hold. A pool in transaction mode gives each transaction any of its server connections.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use super::connection::{Connection, DatabaseError};
use super::migrator::OWN;
use super::url::DatabaseUrl;

/// Connections that are opened beside the first, each with a transaction. Three are enough for a pool that takes its
/// server connections in turn: the first is asked again after each of them.
const OTHERS: usize = 3;
/// Connections that are opened at most to find the lock that the look took in a pool: more than a pool has by default.
const MOST: usize = 24;
/// What `PgBouncer` says to BEGIN in statement mode.
const STATEMENT_MODE: &str = "statement pooling mode";

/// Why no lock is taken there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// A pool in transaction or statement mode.
    #[error(
        "{url} leads to a connection pooler in transaction mode ({proof}), where a lock that belongs to a session is lost. \
         Set {variable} to the URL of PostgreSQL itself, or of a pool in session mode, for the container that migrates"
    )]
    Pooled {
        /// Where it leads.
        url: String,
        /// How that was seen.
        proof: &'static str,
        /// The environment variable with the URL.
        variable: String,
    },
    /// There is no answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Looks whether sessions at `url` keep their server process, by taking a lock on a random key and asking over further
/// connections. `variable` is the environment variable with the URL, for the error; `timeout` is for each single answer.
///
/// # Errors
/// When one does not, or there is no answer.
pub async fn check(url: &DatabaseUrl, variable: &str, timeout: Duration) -> Result<(), DirectError> {
    let mut look = Look { url, timeout, key: random().cast_signed(), home: String::new(), others: vec![] };
    let first = look.open().await?;
    let question = format!("SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_try_advisory_lock({})", look.key);
    look.home = look.ask(&first, &question).await?.0;
    let proof = look.proof(&first).await;
    look.clean(&first, matches!(proof, Ok(None))).await;
    match proof? {
        None => Ok(()),
        Some(proof) => Err(DirectError::Pooled { url: url.to_string(), proof, variable: variable.to_owned() }),
    }
}

struct Look<'a> {
    url: &'a DatabaseUrl,
    timeout: Duration,
    key: i64,
    /// The server process of the first connection, which has the lock.
    home: String,
    /// Further connections, each in a transaction.
    others: Vec<Connection>,
}

impl Look<'_> {
    async fn open(&self) -> Result<Connection, DatabaseError> {
        Connection::open(self.url, OWN, self.timeout).await
    }

    /// The process that answers, and whether the second column is true.
    async fn ask(&self, connection: &Connection, question: &str) -> Result<(String, bool), DatabaseError> {
        const WHAT: &str = "tell whether it is a connection pooler";
        let answer = tokio::time::timeout(self.timeout, connection.rows(WHAT, question)).await;
        let late = |_| DatabaseError::Query {
            url: self.url.to_string(),
            what: WHAT.to_owned(),
            message: format!(
                "no answer within {} s. A pool in between needs at least {} server connections",
                self.timeout.as_secs_f32(),
                OTHERS + 1
            ),
        };
        let rows = answer.map_err(late)??;
        let column = |at| rows.first().and_then(|row| row.try_get(at).ok().flatten()).unwrap_or_default();
        Ok((column(0).to_owned(), column(1) == "t"))
    }

    /// What shows that a session does not keep its process; `None` when nothing does.
    async fn proof(&mut self, first: &Connection) -> Result<Option<&'static str>, DatabaseError> {
        for _ in 0..OTHERS {
            // A lock of the transaction is granted beside one of the session to the same process only, and goes by itself.
            let question = format!(
                "BEGIN; SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_try_advisory_xact_lock({})",
                self.key
            );
            let other = self.open().await?;
            let asked = self.ask(&other, &question).await;
            self.others.push(other);
            match asked {
                Ok((process, granted)) if granted || process == self.home => {
                    return Ok(Some("two connections have the same server process"));
                }
                Ok(_) => {}
                Err(error) if error.to_string().contains(STATEMENT_MODE) => {
                    return Ok(Some("it takes no transactions: it is in statement mode"));
                }
                Err(error) => return Err(error),
            }
            if self.ask(first, "SELECT pg_catalog.pg_backend_pid()").await?.0 != self.home {
                return Ok(Some("a connection moved to another server process"));
            }
        }
        Ok(None)
    }

    /// Gives the lock back. Where it is in a pool, the server connection that has it is looked for; when that is not found
    /// the lock goes with it, and hinders nobody until then: its key is random.
    async fn clean(mut self, first: &Connection, direct: bool) {
        let free = format!(
            "SELECT pg_catalog.pg_backend_pid(), CASE WHEN pg_catalog.pg_backend_pid() = {} \
             THEN pg_catalog.pg_advisory_unlock({}) END",
            self.home, self.key
        );
        let freed = |asked: Result<(String, bool), DatabaseError>| matches!(asked, Ok((_, true)));
        if freed(self.ask(first, &free).await) || direct {
            return;
        }
        for other in &self.others {
            if freed(self.ask(other, &free).await) {
                return;
            }
        }
        // One that waits for a free connection of the pool would wait for the others.
        self.timeout = self.timeout.min(Duration::from_secs(2));
        while self.others.len() < MOST {
            let Ok(other) = self.open().await else { return };
            let asked = self.ask(&other, &format!("BEGIN; {free}")).await;
            if asked.is_err() || freed(asked) {
                return;
            }
            self.others.push(other);
        }
    }
}

/// A number that nobody guesses or meets by chance.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
