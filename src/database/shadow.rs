//! A temporary database in which migrations are tried: it holds the schema of the live one, or nothing, and never data.
//!
//! It is removed in any case: at the end, when something fails, when whoever uses it is dropped, and what a killed run
//! left behind by the next run. A session lock tells which of them someone still uses; see [`made`].

mod dump;
mod made;
mod settings;

use std::time::Duration;

use crate::api::ShadowFrom;

use super::address::Address;
use super::connection::{Connection, DatabaseError, literal};
use super::migrator::APPLICATION;
use super::revision::{self, Noted, RevisionError};
use super::url::DatabaseUrlError;
use dump::Dump;
use made::Made;

/// What the names of temporary databases begin with; eight hex digits follow.
pub const PREFIX: &str = "upgrade_guard_shadow_";

/// A temporary database. Dropped, it is removed; [`Shadow::remove`] also says whether that worked.
#[derive(Debug)]
pub struct Shadow {
    address: Address,
    basis: Basis,
    notes: Vec<String>,
    made: Made,
}

/// What a temporary database begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The schema of the live database, and the revision that it notes.
    Schema,
    /// Nothing.
    Empty,
}

/// Why there is no temporary database. Passwords are never part of it.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The role may not make databases.
    #[error(
        "cannot make a temporary database to try the migrations in: the role of {url} may not make databases. Grant it \
         (ALTER ROLE ... CREATEDB), or name another server by migrations.shadow.urlVariable, or do without by \
         migrations.shadow.from: Off"
    )]
    NotAllowed {
        /// Where it was attempted.
        url: String,
    },
    /// Nobody wants one.
    #[error("migrations.shadow.from is Off: there is no temporary database")]
    Off,
    /// The server does not answer, or refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The live database does not say its revision.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// The address does not lead to another database.
    #[error("cannot address the temporary database: {0}")]
    Address(#[from] DatabaseUrlError),
    /// The schema of the live database could not be read.
    #[error("cannot read the schema of {url}: {words}")]
    Dump {
        /// The live database.
        url: String,
        /// What `pg_dump` said, or why it did not run.
        words: String,
    },
    /// The schema of the live database could not be made again.
    #[error("cannot make the schema of {url} again in a temporary database: {words}")]
    Restore {
        /// The live database.
        url: String,
        /// What the server said.
        words: String,
    },
    /// It took too long.
    #[error("the temporary database was not made within {} s", .0.as_secs())]
    Late(Duration),
}

impl Shadow {
    /// Makes a temporary database for the database at `live`: on `server`, or where that is `None`, beside it. What `from`
    /// asks for is put into it, and the rows of where revisions are `noted`. What killed runs left behind on that server is
    /// removed first.
    ///
    /// # Errors
    /// When it is not there within `limit`; nothing is left behind.
    pub async fn make(
        live: &Address,
        server: Option<&Address>,
        from: ShadowFrom,
        noted: &Noted,
        limit: Duration,
    ) -> Result<Self, ShadowError> {
        let made = Self::made(live, server, from, noted, limit);
        tokio::time::timeout(limit, made).await.map_err(|_| ShadowError::Late(limit))?
    }

    async fn made(
        live: &Address,
        server: Option<&Address>,
        from: ShadowFrom,
        noted: &Noted,
        limit: Duration,
    ) -> Result<Self, ShadowError> {
        if from == ShadowFrom::Off {
            return Err(ShadowError::Off);
        }
        let model = Connection::open(live.url(), APPLICATION, limit).await?;
        let place = server.unwrap_or(live);
        let made = Made::begin(place, limit).await?;
        made.create(&settings::create(&model, made.name(), server.is_some()).await?).await?;
        let address = place.with_database(made.name())?;
        let mut shadow = Self { address, basis: Basis::Empty, notes: vec![], made };
        shadow.notes.extend(settings::copy(&model, shadow.made.keeper(), shadow.made.name()).await?);
        if from == ShadowFrom::Empty {
            return Ok(shadow);
        }
        match shadow.fill(live, &model, server.is_none(), noted, limit).await {
            Ok(()) => shadow.basis = Basis::Schema,
            // The schema comes in one transaction: what failed left nothing.
            Err(error @ (ShadowError::Dump { .. } | ShadowError::Restore { .. })) if from == ShadowFrom::Auto => {
                shadow.notes.push(format!("{error}. The temporary database begins empty, and runs every migration"));
            }
            Err(error) => return Err(error),
        }
        Ok(shadow)
    }

    /// Puts the schema of the live database into it, and the revision.
    async fn fill(
        &mut self,
        live: &Address,
        model: &Connection,
        beside: bool,
        noted: &Noted,
        limit: Duration,
    ) -> Result<(), ShadowError> {
        let own = Connection::open(self.address.url(), APPLICATION, limit).await?;
        let restore = async |dump: &str| {
            let restored = own.client().batch_execute(dump).await;
            restored.map_err(|error| told(&own.refused("make the schema", &error)))
        };
        let words = |words| ShadowError::Restore { url: live.to_string(), words };
        // Another server does not know the roles of this one.
        let kept = if beside { restore(&Dump::Whole.read(live).await?).await } else { Err(String::new()) };
        if let Err(why) = kept {
            restore(&Dump::Plain.read(live).await?).await.map_err(words)?;
            if beside {
                self.notes.push(format!("the temporary database has no owners and rights of the live one: {why}"));
            }
        }
        // The dump leaves its connection with settings of its own.
        let own = Connection::open(self.address.url(), APPLICATION, limit).await?;
        match noted {
            Noted::Table(table) => {
                let heads = revision::read(model, noted).await?.heads();
                note(&own, table, &heads).await?;
            }
            Noted::Query(query) => {
                let tables = dump::tables_of(model, query).await?;
                if !tables.is_empty() {
                    restore(&Dump::Rows(tables).read(live).await?).await.map_err(words)?;
                }
            }
        }
        Ok(())
    }

    /// Where it is, in the form in which `server`, or the live database, was told.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What it began with.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// What differs from what was asked for, each in one line.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Removes it, and whatever is still connected to it.
    ///
    /// # Errors
    /// When the server refuses; the next run tries again.
    pub async fn remove(self) -> Result<(), DatabaseError> {
        self.made.remove().await
    }
}

/// Lets `table` note `heads`, and nothing else.
///
/// # Errors
/// When the table's name is none, or the database refuses.
pub(super) async fn note(connection: &Connection, table: &str, heads: &[String]) -> Result<(), ShadowError> {
    let name = revision::qualified(table).ok_or_else(|| RevisionError::Table(table.to_owned()))?;
    let rows: Vec<String> = heads.iter().map(|head| format!("({})", literal(head))).collect();
    let rows = rows.join(", ");
    let insert = if rows.is_empty() { rows } else { format!("INSERT INTO {name} (version_num) VALUES {rows}") };
    let exists = format!("SELECT 1 WHERE pg_catalog.to_regclass({}) IS NOT NULL", literal(&name));
    if !connection.rows("look for the revision", &exists).await?.is_empty() {
        connection.rows("note the revision", &format!("DELETE FROM {name}; {insert}")).await?;
    }
    Ok(())
}

/// What the server said.
fn told(error: &DatabaseError) -> String {
    match error {
        DatabaseError::Connect { message, .. } | DatabaseError::Query { message, .. } => message.clone(),
        DatabaseError::Timeout { .. } => error.to_string(),
    }
}
