//! The database's steps: what its migrations would do, before the CRDs; and the migrations, after them.

use std::time::Duration;

use jiff::Timestamp;

use super::crds::Problem;
use super::target::Way;
use super::{Log, Work};
use crate::api::{Phase, PlatformRevision, PlatformSchemaNeed, PlatformStatus, RevisionSpec};
use crate::cluster::ledger::LedgerError;
use crate::database::address::Address;
use crate::database::plan::Plan;
use crate::database::revision::{Noted, Revision, revision};
use crate::database::run::on_signals;
use crate::hook::Exit;
use crate::hook::migrations::look::{Look, Outlook, Refusal, STEP, counted};
use crate::hook::migrations::pods::may;
use crate::hook::migrations::record::{self, Begun, Seen};
use crate::hook::migrations::settings::Settings;
use crate::hook::migrations::{run, undo};
use crate::report::Stage;

/// How long the database may take to say its revision.
const ANSWER: Duration = Duration::from_secs(15);
/// What is kept of the time, to record what a run that was stopped came to.
const RESERVE: Duration = Duration::from_secs(20);

/// What the hook has to do with the database.
#[derive(Clone, Debug)]
pub enum Database {
    /// The policy has none, or says that something else migrates it and the environment names none.
    None,
    /// It is only looked at.
    Look(Box<(Address, Noted)>),
    /// It is migrated.
    Migrate(Box<Settings>),
}

/// What is to be run after the CRDs.
pub(super) struct Pending<'a> {
    settings: &'a Settings,
    outlook: Outlook,
    plan: Plan,
    /// What the target needs from then on, where that is not recorded before.
    need: Option<String>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { exit: refusal.exit, lines: refusal.lines, told: false }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Self { exit: Exit::CouldNot, lines: vec![error.to_string()], told: false }
    }
}

/// Whether one of the revisions takes away what older versions use.
fn contracts(settings: &Settings, plan: &Plan) -> bool {
    let contracting = settings.spec.revisions.iter().filter(|spec| spec.phase == Some(Phase::Contract));
    contracting.into_iter().any(|spec| plan.steps.contains(&spec.revision))
}

impl Work<'_> {
    /// Looks at the database, and records what it notes and what the target needs. Gives what is to be run.
    pub(super) async fn schema(&self, log: &mut Log<'_>) -> Result<Option<Pending<'_>>, Problem> {
        match &self.errand.database {
            Database::None => Ok(None),
            Database::Look(place) => {
                let found = revision(place.0.url(), &place.1, ANSWER).await;
                let found = found.map_err(|error| Refusal { exit: Exit::CouldNot, lines: vec![error.to_string()] })?;
                self.record_seen(found.heads(), self.schema_revision(), vec![]).await?;
                log.end(STEP, Stage::Done, format!("{found}; something else migrates it"));
                Ok(None)
            }
            Database::Migrate(settings) if self.errand.rollback => self.undoing(settings, log).await,
            Database::Migrate(settings) => self.looked(settings, log).await,
        }
    }

    async fn looked<'a>(&self, settings: &'a Settings, log: &mut Log<'_>) -> Result<Option<Pending<'a>>, Problem> {
        let Self { errand, view, now, .. } = self;
        let may = |spec: &RevisionSpec| may(errand.policy, view, &errand.target, spec, *now);
        let beyond = |revision: &str| !matches!(self.way, Way::Up | Way::First) || self.recorded(revision);
        let wanted = self.schema_revision();
        let look = Look { settings, wanted, may: &may, beyond: &beyond, now: *now, limit: self.left() };
        let mut outlook = look.look(log).await?;
        let recorded = outlook.recorded(&settings.spec.revisions);
        // Pods of this version run already when a revision contracts, and do without it until it is there.
        let need = outlook.need.take_if(|_| outlook.plan.as_ref().is_some_and(|plan| contracts(settings, plan)));
        self.record_seen(outlook.heads.clone(), outlook.need.as_deref(), recorded).await?;
        let Some(plan) = outlook.plan.clone() else {
            log.note(STEP, true, "nothing to migrate".to_owned());
            return Ok(None);
        };
        let goal = if plan.to.is_empty() { "what the image needs".to_owned() } else { plan.to.join(", ") };
        log.note(STEP, true, format!("{} pending, up to {goal}", counted(plan.steps.len())));
        Ok(Some(Pending { settings, outlook, plan, need }))
    }

    /// What `--rollback` undoes: down to the revision that the target needs.
    async fn undoing<'a>(&self, settings: &'a Settings, log: &mut Log<'_>) -> Result<Option<Pending<'a>>, Problem> {
        let Self { errand, view, now, .. } = self;
        let needed = undo::needed(errand.policy, self.status(), &errand.target, self.schema_revision())?;
        let found = undo::look(settings, &needed, log).await?;
        self.record_seen(found.from.clone(), Some(&needed), vec![]).await?;
        if found.steps.is_empty() {
            log.end(STEP, Stage::Done, format!("the database is at {needed} already: nothing to undo"));
            return Ok(None);
        }
        undo::nobody_uses(errand.policy, view, self.status(), &needed, *now)?;
        log.end(STEP, Stage::Done, format!("{} to undo, down to {needed}", counted(found.steps.len())));
        Ok(Some(Pending { settings, outlook: Outlook::default(), plan: found, need: None }))
    }

    /// Runs what is pending, and records it.
    pub(super) async fn migrate(&self, pending: &Pending<'_>, log: &mut Log<'_>) -> Result<(), Problem> {
        let Pending { settings, outlook, plan, need } = pending;
        let Self { errand, .. } = self;
        if errand.dry_run {
            let what = if errand.rollback { "undo" } else { "run" };
            let way = if errand.rollback { "down" } else { "up" };
            let goal = if plan.to.is_empty() { String::new() } else { format!(", {way} to {}", plan.to.join(", ")) };
            log.end(run::STEP, Stage::WouldDo, format!("{what} {}{goal}", counted(plan.steps.len())));
            return Ok(());
        }
        let begun = self.begun(outlook, plan);
        self.note(&mut |status| record::begin(status, &begun)).await?;
        let stop = on_signals().map_err(|error| Refusal { exit: Exit::CouldNot, lines: vec![error.to_string()] })?;
        let ran = if errand.rollback {
            run::downgrade(settings, plan, self.left(), stop, log).await
        } else {
            run::run(settings, outlook, plan, self.left(), stop, log).await
        };
        if let Some(ended) = &ran.ended {
            self.note(&mut |status| record::end(status, &begun, ended, Timestamp::now())).await?;
            if need.is_some() && ran.exit == Exit::Done {
                self.record_seen(ended.after.clone(), need.as_deref(), vec![]).await?;
            }
        }
        log.note(run::STEP, ran.exit == Exit::Done, super::clipped(&ran.message));
        if ran.exit == Exit::Done { Ok(()) } else { Err(Problem { exit: ran.exit, lines: vec![], told: true }) }
    }

    fn begun(&self, outlook: &Outlook, plan: &Plan) -> Begun {
        Begun {
            target: self.errand.target.name.clone(),
            by: self.errand.by.clone(),
            at: Timestamp::now(),
            before: plan.from.clone(),
            after: plan.to.clone(),
            plan: plan.digest.clone(),
            findings: outlook.told(),
            waivers: outlook.judged.waived.iter().map(|(_, waiver)| waiver.hash.clone()).collect(),
            image: self.errand.image.clone(),
        }
    }

    /// The revision that the release names.
    fn schema_revision(&self) -> Option<&str> {
        self.errand.schema_revision.as_deref()
    }

    /// Whether the hook knows this revision from an image in which it ran.
    fn recorded(&self, revision: &str) -> bool {
        let database = self.status().and_then(|status| status.database.as_ref());
        database.is_some_and(|database| database.revisions.iter().any(|known| known.revision == revision))
    }

    fn status(&self) -> Option<&PlatformStatus> {
        self.platform().and_then(|platform| platform.status.as_ref())
    }

    async fn record_seen(
        &self,
        heads: Vec<String>,
        need: Option<&str>,
        revisions: Vec<PlatformRevision>,
    ) -> Result<(), Problem> {
        let policy = self.errand.policy;
        let with_database = self.errand.target.versions.iter().filter(|(id, _)| policy.component(**id).uses_database);
        let needs = need.into_iter().flat_map(|revision| {
            with_database.clone().map(|(id, version)| PlatformSchemaNeed {
                component: policy.component(*id).name.clone(),
                version: version.to_string(),
                image: self.errand.image.clone(),
                revision: revision.to_owned(),
            })
        });
        let problem = (heads.len() > 1).then(|| Revision::Several(heads.clone()).to_string());
        let seen = Seen { heads, problem, needs: needs.collect(), revisions };
        let change = &mut |status: &mut PlatformStatus| {
            record::seen(status, &seen, Timestamp::now());
            record::settle(status, &seen.heads);
        };
        Ok(self.note(change).await?)
    }

    /// The time that is left for all of it.
    fn left(&self) -> Duration {
        self.errand.deadline.saturating_sub(self.began.elapsed()).saturating_sub(RESERVE)
    }
}
