//! A temporary database at the revision of the live one, on which migrations are run.

use std::collections::BTreeMap;

use super::super::catalog::{self, Catalog};
use super::super::connection::Connection;
use super::super::migrator::APPLICATION;
use super::super::revision::{self, Noted};
use super::super::shadow::{self, Basis, Shadow};
use super::super::watch::{self, Proof, ProveError};
use super::words::words;
use super::{Errand, Found, GateError};

/// A revision that no project has.
const PROBE: &str = "upgrade_guard_probe";

/// What each table, column, sequence and type is to the server, by its name.
pub(super) type Identities = BTreeMap<String, String>;

const IDENTITIES: &str = "WITH named AS (SELECT c.oid, c.relkind, n.nspname || '.' || c.relname AS name \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'f', 'm', 'S') AND n.nspname !~ '^(pg_|information_schema$)') \
    SELECT 'relation ' || name, oid FROM named UNION ALL \
    SELECT 'column ' || name || '.' || a.attname, a.attnum FROM named \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = named.oid WHERE a.attnum > 0 AND NOT a.attisdropped UNION ALL \
    SELECT 'type ' || n.nspname || '.' || t.typname, t.oid FROM pg_catalog.pg_type t \
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
    WHERE t.typtype IN ('e', 'd') AND n.nspname !~ '^(pg_|information_schema$)'";

/// A try. Dropped, its database is removed.
pub(super) struct Trial<'a> {
    errand: &'a Errand<'a>,
    connection: Connection,
    /// The catalog at the revision of the live database.
    pub(super) first: Catalog,
    notes: Vec<String>,
    /// Who holds the timeouts of the migrator.
    pub(super) timeouts: Option<Proof>,
    pub(super) shadow: Shadow,
}

impl<'a> Trial<'a> {
    /// Makes a temporary database, and brings it to where the live one is.
    pub(super) async fn begin(errand: &'a Errand<'a>) -> Result<Self, GateError> {
        let limit = errand.limit;
        let shadow = Shadow::make(errand.live, errand.server, errand.from, errand.noted, limit).await?;
        let connection = Connection::open(shadow.address().url(), APPLICATION, limit).await?;
        let notes = shadow.notes().to_vec();
        let first = catalog::read(&connection, errand.noted).await?;
        let mut trial = Self { errand, connection, first, notes, timeouts: None, shadow };
        if errand.alembic {
            if let Noted::Table(table) = errand.noted {
                trial.probe(table).await?;
            }
            trial.history().await?;
            trial.hold_timeouts().await?;
        }
        trial.first = trial.catalog().await?;
        Ok(trial)
    }

    /// Shows on this database who holds the timeouts: in a run somebody has to. An empty one has no table to lock.
    async fn hold_timeouts(&mut self) -> Result<(), GateError> {
        if self.errand.plan.from.is_empty() || matches!(self.errand.noted, Noted::Query(_)) {
            return Ok(());
        }
        match watch::prove(self.errand.migrator, self.shadow.address(), self.errand.noted, self.errand.limit).await {
            Ok(proof) => self.timeouts = Some(proof),
            Err(ProveError::Unproven(why)) => {
                self.notes.push(format!("that timeouts are in force is not shown: {why}"));
            }
            Err(ProveError::Database(error)) => return Err(error.into()),
            Err(ProveError::Migrator(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// Brings an empty database to where the live one is.
    async fn history(&mut self) -> Result<(), GateError> {
        if self.shadow.basis() == Basis::Schema {
            return Ok(());
        }
        for head in &self.errand.plan.from {
            let history = |words| GateError::History { revision: head.clone(), words };
            self.run(&["upgrade", head]).await?.map_err(history)?;
            self.is_there(head).await?;
        }
        if self.errand.server.is_some() {
            // Owners and collations differ there in any case.
            return Ok(());
        }
        let live = Connection::open(self.errand.live.url(), APPLICATION, self.errand.limit).await?;
        if catalog::read(&live, self.errand.noted).await? != self.catalog().await? {
            self.notes.push(
                "the live schema is not what the migrations make of an empty database: they were tried on the latter"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Makes sure that Alembic looks at this database, and not at the live one: it has to stumble over a revision that is
    /// only here. Nothing is changed by `current`.
    async fn probe(&self, table: &str) -> Result<(), GateError> {
        let heads = revision::read(&self.connection, self.errand.noted).await?.heads();
        let name = revision::qualified(table).unwrap_or_default();
        let schema = name.rsplit_once("\".\"").map(|(schema, _)| format!("{schema}\""));
        let exists =
            format!("SELECT 1 WHERE pg_catalog.to_regclass({}) IS NOT NULL", super::super::connection::literal(&name));
        let exists = !self.connection.rows("look for the revision", &exists).await?.is_empty();
        if !exists {
            let schema = schema.as_ref().map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {schema}; "));
            let create = format!("{}CREATE TABLE {name} (version_num text)", schema.unwrap_or_default());
            self.connection.rows("note a revision", &create).await?;
        }
        shadow::note(&self.connection, table, &[PROBE.to_owned()]).await?;
        let called = ["current"];
        let stumbled = self.run(&called).await?;
        shadow::note(&self.connection, table, &heads).await?;
        if !exists {
            self.connection.rows("note no revision", &format!("DROP TABLE {name}")).await?;
            if let Some(schema) = schema {
                // What the project itself makes of it when it connects may stay.
                let _ = self.connection.rows("go back", &format!("DROP SCHEMA {schema}")).await;
            }
        }
        let words = match stumbled {
            Err(words) if words.contains(PROBE) => return Ok(()),
            Err(words) => words,
            Ok(()) => "it does not see a revision that is only there".to_owned(),
        };
        let called = self.errand.migrator.called(&called);
        let variable = self.errand.migrator.url_variable.clone();
        Err(GateError::Elsewhere { called, variable, table: table.to_owned(), words })
    }

    /// Runs the migrator; what it says when it fails is the inner error.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Result<(), String>, GateError> {
        let told = Some((self.shadow.address(), self.errand.timeouts));
        let said = self.errand.migrator.run(arguments, told, self.errand.limit, &mut |_, _| {}).await?;
        Ok(if said.ok() { Ok(()) } else { Err(words(&said)) })
    }

    /// Runs Alembic up to a revision.
    pub(super) async fn upgrade(&self, revision: &str) -> Result<(), GateError> {
        let fails = |words| GateError::Fails { revision: Some(revision.to_owned()), words };
        self.run(&["upgrade", revision]).await?.map_err(fails)?;
        self.is_there(revision).await
    }

    async fn is_there(&self, revision: &str) -> Result<(), GateError> {
        let noted = revision::read(&self.connection, self.errand.noted).await?;
        if noted.heads().iter().any(|head| head == revision) {
            return Ok(());
        }
        let called = self.errand.migrator.called(&["upgrade", revision]);
        Err(GateError::Unmoved { called, revision: revision.to_owned(), noted: noted.to_string() })
    }

    /// The catalog as it is now.
    pub(super) async fn catalog(&self) -> Result<Catalog, GateError> {
        Ok(catalog::read(&self.connection, self.errand.noted).await?)
    }

    /// What is what, as it is now.
    pub(super) async fn identities(&self) -> Result<Identities, GateError> {
        let rows = self.connection.rows("read what its objects are", IDENTITIES).await?;
        Ok(rows.iter().filter_map(|row| Some((row.get(0)?.to_owned(), row.get(1)?.to_owned()))).collect())
    }

    /// Removes the temporary database, and adds to what was found what is to be known of it.
    pub(super) async fn end(self, found: Result<Found, GateError>) -> Result<Found, GateError> {
        drop(self.connection);
        let removed = self.shadow.remove().await;
        let mut found = found?;
        found.shadow = true;
        found.notes.extend(self.notes);
        found.timeouts = self.timeouts;
        if let Err(error) = removed {
            found.notes.push(format!("{error}. The next run tries again"));
        }
        Ok(found)
    }
}

/// Whether something was dropped, and something else of its name made: its rows are gone, though it looks the same.
pub(super) fn made_again(before: &Identities, after: &Identities) -> bool {
    before.iter().any(|(name, identity)| after.get(name).is_some_and(|now| now != identity))
}
