//! `presync`: what has to be there before a sync. Each step can be done again, so that a run that was killed and one that
//! was not end in the same state.
//!
//! 1. The target, and whether the rules can ever let it. 2. Every precondition, not only the first that fails. 3. The CRDs.
//!
//! What it found and did is on the `Platform`, where `UG-PRECONDITION` and `UG-CRD` look for it.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;

use crate::api::{Platform, PlatformStatus, PlatformStep, PreparationOutcome, UpgradePolicySpec};
use crate::cluster::inventory::Inventory;
use crate::cluster::ledger::{Ledger, LedgerError};
use crate::crds::source::CrdSource;
use crate::domain::line::Release;
use crate::domain::policy::Policy;
use crate::domain::view::View;
use crate::report::{News, Report, Stage};

use super::Exit;

mod crds;
mod evidence;
pub mod record;
pub mod target;

use record::Run;
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
    let note = async |change: &mut dyn FnMut(&mut PlatformStatus)| {
        if errand.dry_run {
            return Ok(());
        }
        ledger.update(errand.namespace, &errand.policy.name, |status| change(status)).await
    };
    note(&mut |status| run.begin(status, &running, now)).await?;
    let mut log = Log { report, steps: vec![], last: String::new() };
    let work = Work { client, errand, view: &view, run: &run, way: errand.target.way(errand.policy, &view), now };
    let worked = tokio::time::timeout(errand.deadline, work.all(&mut log, &running)).await;
    let (exit, mut result) = worked.unwrap_or_else(|_| {
        let late = format!("not done within {} s; last: {}", errand.deadline.as_secs(), log.last);
        log.end("deadline", Stage::Failed, late);
        (Exit::CouldNot, outcome(PreparationOutcome::Failed))
    });
    result.steps = log.steps;
    note(&mut |status| run.end(status, &result, Timestamp::now())).await?;
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
    view: &'a View,
    run: &'a Run,
    way: Way,
    now: Timestamp,
}

impl Work<'_> {
    async fn all(&self, log: &mut Log<'_>, running: &[crate::api::FoundComponent]) -> (Exit, record::Result) {
        let Errand { policy, target, .. } = self.errand;
        log.end("target", Stage::Done, target.described(policy, self.view));
        let impossible = target.impossible(policy, self.view, self.now);
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
        match self.crds(log).await {
            Ok(crds) => {
                let result = outcome(PreparationOutcome::Prepared);
                (Exit::Done, record::Result { preconditions: evidence.found, crds: Some(crds), ..result })
            }
            Err(crds::Problem { exit, lines, told }) => {
                let failed = exit == Exit::CouldNot;
                let stage = if failed { Stage::Failed } else { Stage::Refused };
                for line in lines {
                    if told {
                        log.note("crds", false, clipped(&line));
                    } else {
                        log.end("crds", stage, line);
                    }
                }
                let result = outcome(if failed { PreparationOutcome::Failed } else { PreparationOutcome::Refused });
                (exit, record::Result { preconditions: evidence.found, ..result })
            }
        }
    }

    /// The `Platform` as it was when the run began.
    fn platform(&self) -> Option<&Platform> {
        self.errand.inventory.platforms().get(&self.errand.policy.name)
    }
}
