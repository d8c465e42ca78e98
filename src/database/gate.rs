//! What pending migrations do, before they run: they are tried on a temporary database, and their SQL is rendered.
//!
//! Ranges of up to [`STEPPED`] revisions are run revision by revision, each by a process of the migrator, and the catalog is
//! read after each: so every finding and every nature belongs to its revision. In a longer range that would cost a start of
//! the migrator for each of them, so it is run at once first. Where that finds nothing and no table, column, sequence or
//! type was dropped and made again on the way, every revision of the range only adds; else a second temporary database is
//! stepped through. What is not seen then is what one revision of a long range restricts and a later one of the same range
//! allows again, for example `SET NOT NULL` and `DROP NOT NULL`: Alembic commits a range at once, so that no other version
//! ever meets the state between, or soon after, where a project commits each revision.

mod render;
mod trial;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::{RevisionNature, ShadowFrom};

use super::address::Address;
use super::catalog::{self, Catalog};
use super::check::Kind;
use super::connection::DatabaseError;
use super::finding::Finding;
use super::migrator::{Migrator, MigratorError, Timeouts};
use super::plan::Plan;
use super::revision::{Noted, RevisionError};
use super::shadow::{Basis, ShadowError};
use super::watch::Proof;
use trial::Trial;

/// Up to how many revisions are run one by one from the start.
pub const STEPPED: usize = 25;

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// How to call the program that migrates.
    pub migrator: &'a Migrator,
    /// Whether it is Alembic; any other is called without arguments, and brings the database where it has to be.
    pub alembic: bool,
    /// The live database. It is only read.
    pub live: &'a Address,
    /// Where the temporary database is made; beside the live one where nothing is said.
    pub server: Option<&'a Address>,
    /// What the temporary database begins with.
    pub from: ShadowFrom,
    /// Where revisions are noted.
    pub noted: &'a Noted,
    /// What is pending: from where to where, and the revisions in their order.
    pub plan: &'a Plan,
    /// How long statements may take.
    pub timeouts: Timeouts,
    /// How long all of it may take.
    pub limit: Duration,
    /// Whether a long range is run revision by revision in any case.
    pub exact: bool,
    /// Whether the SQL is to be rendered as well.
    pub sql: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What the catalogs of the temporary database differ in, in the order of the revisions. In a long range that was run at
    /// once nothing but what is `Off` by default is without a revision.
    pub findings: Vec<Finding>,
    /// What each pending revision does, by `findings` alone and before any waiver; `Unknown` where nothing was tried.
    pub natures: BTreeMap<String, RevisionNature>,
    /// The catalog of the temporary database at the revision that the live one has.
    pub first: Option<Catalog>,
    /// The digests of its catalog, by the revision after which it was read.
    pub digests: BTreeMap<String, String>,
    /// The SQL of all pending revisions as Alembic renders it, where that was wanted and worked.
    pub script: Option<String>,
    /// What a person should know, each in one line.
    pub notes: Vec<String>,
    /// Who holds the timeouts of the migrator, as the temporary database showed; `None` where nothing could show it.
    pub timeouts: Option<Proof>,
    /// Whether the migrations were tried on a temporary database.
    pub shadow: bool,
}

/// Why nothing can be said, or why the migrations must not run. Passwords are never part of it.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// They fail.
    #[error("{} would fail: {words}. Nothing was run on the live database", .revision.as_deref().map_or_else(|| "the migrator".to_owned(), |revision| format!("revision {revision}")))]
    Fails {
        /// The revision; `None` for a migrator that is not Alembic.
        revision: Option<String>,
        /// What was said.
        words: String,
    },
    /// An empty database cannot be brought to where the live one is.
    #[error(
        "an empty database cannot be brought to {revision}, where the live one is: {words}. Let the temporary database begin \
         with the live schema: migrations.shadow.from: Schema, with pg_dump in this container"
    )]
    History {
        /// The revision.
        revision: String,
        /// What was said.
        words: String,
    },
    /// The migrator looks at another database than it is told.
    #[error(
        "'{called}' does not look at the temporary database that {variable} names: {words}. It would migrate another \
         database. Let it take its database from {variable} (migrations.urlVariable) and note the revision in {table} \
         (revisionTable), or do without a temporary database: migrations.shadow.from: Off"
    )]
    Elsewhere {
        /// The command.
        called: String,
        /// The environment variable.
        variable: String,
        /// The table.
        table: String,
        /// What was said.
        words: String,
    },
    /// The migrator ended well, and its revision is not there.
    #[error("'{called}' ended well, and {revision} is not there: {noted}")]
    Unmoved {
        /// The command.
        called: String,
        /// The revision.
        revision: String,
        /// What the temporary database notes.
        noted: String,
    },
    /// There is no temporary database.
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    /// A database does not answer, or refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The temporary database does not say its revision.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// The migrator could not be run.
    #[error(transparent)]
    Migrator(#[from] MigratorError),
    /// It took too long.
    #[error("the migrations were not tried to their end within {} s", .0.as_secs())]
    Late(Duration),
}

/// Tries the pending migrations, and tells what they do. The temporary database is gone afterwards, also when this is
/// dropped; the live one is only read.
///
/// # Errors
/// When a migration fails, or it cannot be told what they do.
pub async fn look(errand: &Errand<'_>) -> Result<Found, GateError> {
    let looked = async { tokio::try_join!(tried(errand), render::render(errand)) };
    let looked = tokio::time::timeout(errand.limit, looked).await;
    let (mut found, rendered) = looked.map_err(|_| GateError::Late(errand.limit))??;
    match rendered {
        Some(Ok(script)) => found.script = Some(script),
        Some(Err(note)) => found.notes.push(note),
        None => {}
    }
    Ok(found)
}

async fn tried(errand: &Errand<'_>) -> Result<Found, GateError> {
    let steps = &errand.plan.steps;
    let unknown = || steps.iter().map(|step| (step.clone(), RevisionNature::Unknown)).collect();
    if errand.from == ShadowFrom::Off {
        let notes = vec!["migrations.shadow.from is Off: the migrations were not tried".to_owned()];
        return Ok(Found { natures: unknown(), notes, ..Found::default() });
    }
    if !errand.alembic {
        return command(errand).await;
    }
    if steps.is_empty() {
        return Ok(Found::default());
    }
    if steps.len() > STEPPED && !errand.exact {
        match at_once(errand).await {
            Ok(Some(found)) => return Ok(found),
            // Who it was, only the steps tell.
            Ok(None) | Err(GateError::Fails { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    one_by_one(errand).await
}

/// Runs the revisions one after the other.
async fn one_by_one(errand: &Errand<'_>) -> Result<Found, GateError> {
    let trial = Trial::begin(errand).await?;
    let stepped = async {
        let mut found = Found { first: Some(trial.first.clone()), ..Found::default() };
        let mut before = trial.first.clone();
        for step in &errand.plan.steps {
            trial.upgrade(step).await?;
            let after = trial.catalog().await?;
            let findings = catalog::compare(&trial.first, &before, &after, Some(step));
            found.natures.insert(step.clone(), nature(&findings));
            found.digests.insert(step.clone(), after.digest());
            found.findings.extend(findings);
            before = after;
        }
        Ok(found)
    };
    let found = stepped.await;
    trial.end(found).await
}

/// Runs all revisions at once. `None` when they have to be looked at one by one.
async fn at_once(errand: &Errand<'_>) -> Result<Option<Found>, GateError> {
    let trial = Trial::begin(errand).await?;
    let ran = async {
        let before = trial.identities().await?;
        for head in &errand.plan.to {
            trial.upgrade(head).await?;
        }
        let after = trial.catalog().await?;
        let findings = catalog::compare(&trial.first, &trial.first, &after, None);
        let again = trial::made_again(&before, &trial.identities().await?);
        let told = findings.iter().any(|finding| finding.check.severity() != crate::api::CrdSeverity::Off);
        let natures = errand.plan.steps.iter().map(|step| (step.clone(), RevisionNature::Additive)).collect();
        let digests = errand.plan.to.iter().map(|head| (head.clone(), after.digest())).collect();
        let first = Some(trial.first.clone());
        let clean = !told && !again && nature(&findings) == RevisionNature::Additive;
        Ok((clean, Found { findings, natures, first, digests, ..Found::default() }))
    };
    match ran.await {
        Ok((true, found)) => trial.end(Ok(found)).await.map(Some),
        Ok((false, _)) => trial.end(Ok(Found::default())).await.map(|_| None),
        Err(error) => trial.end(Err(error)).await.map(|_| None),
    }
}

/// Runs a migrator that is not Alembic: it knows its revisions, and we do not.
async fn command(errand: &Errand<'_>) -> Result<Found, GateError> {
    let trial = Trial::begin(errand).await?;
    if trial.shadow.basis() == Basis::Empty {
        let note = "the migrations were not tried: only the live schema tells where this migrator begins, and it was not \
                    copied";
        let mut found = trial.end(Ok(Found::default())).await?;
        found.notes.push(note.to_owned());
        found.shadow = false;
        return Ok(found);
    }
    let ran = async {
        trial.run(&[]).await?.map_err(|words| GateError::Fails { revision: None, words })?;
        let after = trial.catalog().await?;
        let findings = catalog::compare(&trial.first, &trial.first, &after, None);
        Ok(Found { findings, first: Some(trial.first.clone()), ..Found::default() })
    };
    let found = ran.await;
    trial.end(found).await
}

/// What something with these findings does to versions that do not know it.
#[must_use]
pub fn nature(findings: &[Finding]) -> RevisionNature {
    let breaks = findings.iter().any(|finding| finding.check.kind() == Kind::Breaking);
    if breaks { RevisionNature::Breaking } else { RevisionNature::Additive }
}
