//! One run of migrations at a time: a lock that belongs to a session of the server, and goes with it.
//!
//! Its key is `hashtext('upgrade-guard:' || current_database())` as `bigint`, so that a person finds it in `pg_locks`
//! (`objid`, `locktype = 'advisory'`), and other tools can take the same one. It is asked for again and again rather than
//! waited for: a session that waits would hold back `CREATE INDEX CONCURRENTLY` of the one that migrates.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Connection, DatabaseError, literal};
use super::migrator::{APPLICATION, OWN};
use super::revision::{Noted, qualified};
use super::url::DatabaseUrl;

const KEY: &str = "pg_catalog.hashtext('upgrade-guard:' || pg_catalog.current_database())::bigint";
/// The row of `pg_locks` with it.
const ROW: &str = "l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) \
    AND ((l.classid::bigint << 32) | l.objid::bigint)";
/// Who a row of `pg_stat_activity` is.
const WHO: &str = "'process ' || a.pid || ' (' || coalesce(nullif(a.application_name, ''), 'without a name') \
    || coalesce(' of ' || a.usename, '') || coalesce(' from ' || host(a.client_addr), '') || '), connected since ' \
    || coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'unknown')";
/// A server notices in less than a minute that the machine of the holder is gone; else it takes hours.
const SESSION: &str = "SET statement_timeout = 0; SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; \
    SET tcp_keepalives_count = 4";
/// The time between two attempts to get it.
const PACE: Duration = Duration::from_millis(250);
/// The time between two looks whether it is still held.
const LOOKS: Duration = Duration::from_millis(500);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The lock, held. Dropped, it is free.
#[derive(Debug)]
pub struct Lock {
    connection: Connection,
    process: String,
}

/// Why the lock is not held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another one is at work.
    #[error("waited {} s, and {busy}", .after.as_secs())]
    Busy {
        /// Who has it.
        busy: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It was held, and is no more.
    #[error("the lock is lost: {0}")]
    Lost(String),
    /// There is no answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Lock {
    /// Takes the lock of the database at `url`, within `wait`; `told` hears, once for each, what is waited for. Also waited
    /// for is who still works for a run that was killed: a connection called [`APPLICATION`], or one that works with the
    /// table where the revision is noted.
    ///
    /// # Errors
    /// [`LockError::Busy`] at the end of `wait`, and what the database refuses.
    pub async fn take(
        url: &DatabaseUrl,
        noted: &Noted,
        wait: Duration,
        told: &mut dyn FnMut(String),
    ) -> Result<Self, LockError> {
        let deadline = Instant::now() + wait;
        let connection = Connection::open(url, OWN, ANSWER).await?;
        connection.rows("set up the session of the lock", SESSION).await?;
        let process = connection.value("tell its process", "SELECT pg_catalog.pg_backend_pid()").await?;
        let lock = Self { connection, process: process.unwrap_or_default() };
        let (mut held, mut last) = (false, String::new());
        loop {
            held = held || lock.try_once().await?;
            let busy = if held { lock.left_behind(noted).await? } else { Some(lock.holder().await?) };
            let Some(busy) = busy else { return Ok(lock) };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LockError::Busy { busy, after: wait });
            }
            if busy != last {
                told(format!("waiting for at most {} s: {busy}", left.as_secs_f32().ceil()));
                last = busy;
            }
            tokio::time::sleep(PACE.min(left)).await;
        }
    }

    async fn try_once(&self) -> Result<bool, DatabaseError> {
        let question = format!("SELECT pg_catalog.pg_try_advisory_lock({KEY})");
        Ok(self.connection.value("take the lock of migrations", &question).await?.as_deref() == Some("t"))
    }

    async fn holder(&self) -> Result<String, DatabaseError> {
        let question = format!(
            "SELECT {WHO} FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE {ROW} = {KEY}"
        );
        let holder = self.connection.value("tell who has the lock of migrations", &question).await?;
        // It may have been given back in between.
        Ok(format!("the lock of migrations is held by {}", holder.as_deref().unwrap_or("another run")))
    }

    /// Who is still at work for a run that is gone.
    async fn left_behind(&self, noted: &Noted) -> Result<Option<String>, DatabaseError> {
        let table = if let Noted::Table(table) = noted { qualified(table) } else { None };
        let table = table.map_or_else(|| "NULL".to_owned(), |table| literal(&table));
        // Who only reads the table holds nothing but the weakest lock, and works while it does.
        let question = format!(
            "SELECT {WHO} FROM pg_catalog.pg_stat_activity a WHERE a.datname = pg_catalog.current_database() \
             AND a.pid <> pg_catalog.pg_backend_pid() AND (a.application_name = {} OR EXISTS (SELECT FROM pg_catalog.pg_locks l \
             WHERE l.pid = a.pid AND l.relation = pg_catalog.to_regclass({table}) AND l.granted \
             AND (a.state = 'active' OR l.mode <> 'AccessShareLock'))) AND coalesce(a.application_name, '') <> {} ORDER BY a.pid LIMIT 1",
            literal(APPLICATION),
            literal(OWN),
        );
        let who = self.connection.value("tell who is still at work", &question).await?;
        Ok(who
            .map(|who| format!("{who} is still at work, for a run of migrations that is gone or was started by hand")))
    }

    /// The process of the server that has the lock.
    #[must_use]
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Whether it is still held.
    ///
    /// # Errors
    /// When it is not, or that cannot be told.
    pub async fn still_held(&self) -> Result<(), LockError> {
        let question = format!(
            "SELECT count(*) FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid() \
             AND l.pid = {} AND {ROW} = {KEY}",
            self.process
        );
        let asked = self.connection.value("tell whether the lock is still held", &question);
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(Ok(Some(count))) if count == "1" => Ok(()),
            Ok(Ok(_)) => Err(LockError::Lost("the server does not know it any more".to_owned())),
            Ok(Err(error)) => Err(LockError::Lost(error.to_string())),
            Err(_) => Err(LockError::Lost(format!("the server did not answer within {} s", ANSWER.as_secs()))),
        }
    }

    /// Looks again and again; ends when the lock is lost.
    pub async fn lost(&self) -> LockError {
        loop {
            if let Err(lost) = self.still_held().await {
                return lost;
            }
            tokio::time::sleep(LOOKS).await;
        }
    }
}
