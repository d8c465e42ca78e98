//! `presync`: what has to be there before a sync. Each step can be done again, so that a run that was killed and one that
//! was not end in the same state.
//!
//! The target, and whether the rules can ever let it; every precondition, not only the first that fails; what the pending
//! migrations would do; the CRDs; the migrations.
//!
//! What it found and did is on the `Platform`, where `UG-PRECONDITION`, `UG-CRD` and `UG-SCHEMA` look for it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;

use crate::api::{Platform, PlatformCrd, PlatformStatus, PlatformStep, PreparationOutcome, UpgradePolicySpec};
use crate::cluster::inventory::Inventory;
use crate::cluster::ledger::{Ledger, LedgerError};
use crate::crds::source::CrdSource;
use crate::domain::line::Release;
use crate::domain::policy::Policy;
use crate::domain::view::View;
use crate::report::{News, Report, Stage};

use super::Exit;
use super::migrations::{self, look};

mod crds;
mod evidence;
pub mod record;
mod schema;
pub mod target;

use crds::Problem;
use record::Run;
pub use schema::Database;
use target::{Target, Way};

/// What a run is asked to do.
pub struct Errand<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// The rules as they were written.
    pub spec: &'a UpgradePolicySpec,
    /// The namespace of the install.
    pub namespace: &'a str,
    /// What is in the namespace.
    pub inventory: &'a Inventory,
    /// Where it goes.
    pub target: Target,
    /// The release that the target is, if it is one.
    pub release: Option<&'a Release>,
    /// Where the CRDs are.
    pub crds: &'a [CrdSource],
    /// Whether fields of CRDs that someone else manages are taken over.
    pub take_over: bool,
    /// The database.
    pub database: Database,
    /// The revision of its schema that the release names.
    pub schema_revision: Option<String>,
    /// Whether migrations are undone, down to what the target needs.
    pub rollback: bool,
    /// The digest of the image that this runs in, where it can be told.
    pub image: Option<String>,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// Who runs it.
    pub by: Option<String>,
    /// How long all of it may take.
    pub deadline: Duration,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub exit: Exit,
    /// In one line, for people.
    pub message: String,
}

/// Does what `errand` asks for and tells `report` as it goes on.
///
/// # Errors
/// When the `Platform` cannot be read or written: nothing is done that could not be recorded.
pub async fn run(client: &Client, errand: &Errand<'_>, report: &mut dyn Report) -> Result<Ended, LedgerError> {
    let now = Timestamp::now();
    let view = errand.inventory.view(errand.policy, now);
    let run = Run {
        target: errand.target.name.clone(),
        components: errand.target.recorded(errand.policy),
        by: errand.by.clone(),
    };
    let running = target::running(errand.policy, &view);
    let ledger = Ledger::new(client.clone());
    let way = errand.target.way(errand.policy, &view);
    let work = Work { client, errand, ledger, view: &view, run: &run, way, now, began: Instant::now() };
    work.note(&mut |status| run.begin(status, &running, now)).await?;
    let mut log = Log { report, steps: vec![], last: String::new() };
    let worked = tokio::time::timeout(errand.deadline, Box::pin(work.all(&mut log, &running))).await;
    let (exit, mut result) = worked.unwrap_or_else(|_| {
        let late = format!("not done within {} s; last: {}", errand.deadline.as_secs(), log.last);
        log.end("deadline", Stage::Failed, late);
        (Exit::CouldNot, outcome(PreparationOutcome::Failed))
    });
    result.steps = log.steps;
    work.note(&mut |status| run.end(status, &result, Timestamp::now())).await?;
    Ok(Ended { exit, message: closing(errand, exit) })
}

fn outcome(outcome: PreparationOutcome) -> record::Result {
    record::Result { outcome, steps: vec![], preconditions: None, crds: None }
}

/// The last line.
fn closing(errand: &Errand<'_>, exit: Exit) -> String {
    let name = &errand.target.name;
    match (exit, errand.dry_run) {
        (Exit::Done, false) => format!("prepared for {name}: the sync may go on"),
        (Exit::Done, true) => format!("would be prepared for {name}; this was a dry run, and nothing was changed"),
        (_, true) => format!("would not be prepared for {name}; this was a dry run, and nothing was changed"),
        (_, false) => {
            format!(
                "not prepared for {name}: see above; nothing that depends on it was changed. Run it again after that"
            )
        }
    }
}

/// The steps that are kept.
const MOST_STEPS: usize = 32;

/// Keeps the end of each step for the `Platform`, and tells everything to whoever looks on.
struct Log<'a> {
    report: &'a mut dyn Report,
    steps: Vec<PlatformStep>,
    last: String,
}

impl Log<'_> {
    /// The last word on a step.
    fn end(&mut self, step: &'static str, stage: Stage, message: String) {
        self.note(step, matches!(stage, Stage::Done | Stage::WouldDo | Stage::Warning), clipped(&message));
        self.say(step, stage, message);
    }

    /// The last word on a step, for the `Platform` alone: it was told before.
    fn note(&mut self, step: &str, done: bool, message: String) {
        self.steps.truncate(MOST_STEPS - 1);
        self.steps.push(PlatformStep { name: step.to_owned(), message, done, at: record::time(Timestamp::now()) });
    }
}

/// A text that fits the field.
fn clipped(text: &str) -> String {
    text.chars().take(1000).collect()
}

impl Report for Log<'_> {
    fn tell(&mut self, news: News) {
        self.last.clone_from(&news.message);
        self.report.tell(news);
    }
}

/// One run under way.
struct Work<'a> {
    client: &'a Client,
    errand: &'a Errand<'a>,
    ledger: Ledger,
    view: &'a View,
    run: &'a Run,
    way: Way,
    now: Timestamp,
    began: Instant,
}

impl Work<'_> {
    async fn all(&self, log: &mut Log<'_>, running: &[crate::api::FoundComponent]) -> (Exit, record::Result) {
        let Errand { policy, target, .. } = self.errand;
        log.end("target", Stage::Done, target.described(policy, self.view));
        let impossible = target.impossible(policy, self.view, self.now, self.errand.rollback);
        if !impossible.is_empty() {
            for reason in impossible {
                log.end("target", Stage::Refused, reason);
            }
            return (Exit::Policy, outcome(PreparationOutcome::Refused));
        }
        let evidence = self.evidence(log, running).await;
        if let Some(exit) = evidence.refused {
            let result = outcome(PreparationOutcome::Refused);
            return (exit, record::Result { preconditions: evidence.found, ..result });
        }
        let (exit, result) = match self.brought_about(log).await {
            Ok(crds) => (Exit::Done, record::Result { crds: Some(crds), ..outcome(PreparationOutcome::Prepared) }),
            Err(problem) => stopped(problem, log),
        };
        (exit, record::Result { preconditions: evidence.found, ..result })
    }

    /// The schema and the CRDs. Nothing of either is changed before both were looked at, as far as that is possible.
    async fn brought_about(&self, log: &mut Log<'_>) -> Result<Vec<PlatformCrd>, (&'static str, Problem)> {
        let pending = Box::pin(self.schema(log)).await.map_err(|problem| (look::STEP, problem))?;
        let crds = self.crds(log).await.map_err(|problem| (crds::STEP, problem))?;
        if let Some(pending) = pending {
            Box::pin(self.migrate(&pending, log)).await.map_err(|problem| (migrations::run::STEP, problem))?;
        }
        Ok(crds)
    }

    /// Changes the `Platform`, unless this is a dry run.
    async fn note(&self, change: &mut dyn FnMut(&mut PlatformStatus)) -> Result<(), LedgerError> {
        if self.errand.dry_run {
            return Ok(());
        }
        self.ledger.update(self.errand.namespace, &self.errand.policy.name, |status| change(status)).await
    }

    /// The `Platform` as it was when the run began.
    fn platform(&self) -> Option<&Platform> {
        self.errand.inventory.platforms().get(&self.errand.policy.name)
    }
}

/// Tells why it ends at this step.
fn stopped((step, problem): (&'static str, Problem), log: &mut Log<'_>) -> (Exit, record::Result) {
    let Problem { exit, lines, told } = problem;
    let refused = matches!(exit, Exit::Policy | Exit::Evidence | Exit::Versions);
    let stage = if refused { Stage::Refused } else { Stage::Failed };
    for line in lines {
        if told {
            log.note(step, false, clipped(&line));
        } else {
            log.end(step, stage, line);
        }
    }
    (exit, outcome(if refused { PreparationOutcome::Refused } else { PreparationOutcome::Failed }))
}
