//! The second step: freeze windows, breaking changes and preconditions.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Errand, Log, Way, Work};
use crate::api::{FoundComponent, PlatformPrecondition};
use crate::domain::line::Span;
use crate::domain::policy::Mode;
use crate::domain::preparation::{open_freeze, unacknowledged};
use crate::domain::rules::Rule;
use crate::hook::Exit;
use crate::hook::preconditions::{self, Found, RunStale, Where};
use crate::report::{News, Report, Stage};

const STEP: &str = "preconditions";

/// What the second step came to.
pub(super) struct Evidence {
    /// Why it ends here; `None` when it goes on.
    pub(super) refused: Option<Exit>,
    /// What was found; `None` when nothing was looked at.
    pub(super) found: Option<Vec<PlatformPrecondition>>,
}

impl Evidence {
    const NONE: Self = Self { refused: None, found: None };
}

impl Work<'_> {
    pub(super) async fn evidence(&self, log: &mut Log<'_>, running: &[FoundComponent]) -> Evidence {
        match self.way {
            Way::Up => {}
            // Undoing migrations asks for as much as an upgrade.
            Way::Back if self.errand.rollback => {}
            Way::Patch => {
                log.end(STEP, Stage::Done, "not asked for: nothing goes to a higher line".to_owned());
                return Evidence::NONE;
            }
            Way::Back => {
                log.end(STEP, Stage::Done, "not asked for: nothing goes up".to_owned());
                return Evidence::NONE;
            }
            Way::First => {
                log.end(STEP, Stage::Done, "not asked for: this is a first install".to_owned());
                return Evidence::NONE;
            }
            Way::There => {
                log.end(STEP, Stage::Done, "not asked for: everything is as the target says".to_owned());
                return Evidence::NONE;
            }
        }
        let against = self.against();
        for message in &against {
            log.end(STEP, self.refusal(), message.clone());
        }
        let enforced = self.refusal() == Stage::Refused;
        let policy = (enforced && !against.is_empty()).then_some(Exit::Policy);
        let status = self.platform().and_then(|platform| platform.status.as_ref());
        let demands = &self.errand.policy.demands;
        if let Some(known) = status.and_then(|status| self.run.evidence(status, running, demands.valid_for, self.now)) {
            let message = match known.len() {
                0 => "there were none before this upgrade began: that still counts".to_owned(),
                several => format!("{} found before this upgrade began: that still counts", counted(several)),
            };
            log.end(STEP, Stage::Done, message);
            return Evidence { refused: policy, found: None };
        }
        let found = self.look(log).await;
        if found.is_empty() && against.is_empty() {
            log.end(STEP, Stage::Done, "the policy declares none".to_owned());
        }
        let missing = found.iter().filter(|found| !found.held && !found.would_run).count();
        if missing > 0 {
            log.say(STEP, self.refusal(), format!("{missing} of {} do not hold", counted(found.len())));
        }
        let evidence = (enforced && missing > 0).then_some(Exit::Evidence);
        Evidence { refused: policy.or(evidence), found: Some(found.into_iter().map(recorded).collect()) }
    }

    /// What `UG-PRECONDITION` being violated comes to.
    fn refusal(&self) -> Stage {
        match self.errand.policy.mode_of(Rule::Precondition) {
            Mode::Enforce => Stage::Refused,
            Mode::Warn | Mode::Audit => Stage::Warning,
        }
    }

    /// The freeze window that is open, and the breaking changes that nobody acknowledged.
    fn against(&self) -> Vec<String> {
        let policy = self.errand.policy;
        let mut against = Vec::new();
        if let Some((freeze, ends)) = open_freeze(&policy.demands, self.now) {
            against.push(format!("freeze window '{}' is open until {ends}: wait for its end", freeze.name));
        }
        let acknowledged = self.platform().map(|platform| platform.spec.acknowledged.iter().cloned().collect());
        let acknowledged = acknowledged.unwrap_or_default();
        for (id, version) in &self.errand.target.versions {
            let Ok(to) = policy.lines.span(*id, version) else { continue };
            let completed = self.view.component(*id).completed(*id, &policy.lines);
            let from = completed.and_then(|version| policy.lines.span(*id, version).ok());
            // From a version that cannot be told it is at least this release that is new.
            let from = from.unwrap_or_else(|| Span::at(to.asks().lowered(1)));
            for change in unacknowledged(policy, &acknowledged, *id, from, to) {
                let url = change.url.as_ref().map(|url| format!(" ({url})")).unwrap_or_default();
                let message = format!(
                    "breaking change '{}' is not acknowledged: {}{url}. When it is dealt with, add its name to \
                     spec.acknowledged of UpgradePolicy {} or of Platform {}/{}",
                    change.name, change.message, policy.name, self.errand.namespace, policy.name
                );
                if !against.contains(&message) {
                    against.push(message);
                }
            }
        }
        against
    }

    async fn look(&self, log: &mut Log<'_>) -> Vec<Found> {
        let Errand { policy, spec, namespace, .. } = self.errand;
        let place = Where { namespace, policy, spec: &spec.preconditions };
        let run = if self.errand.dry_run { RunStale::No } else { RunStale::Yes };
        let mut report = Softened { report: log, refusal: self.refusal() };
        let found = preconditions::evaluate(self.client, &place, Timestamp::now, run, &mut report).await;
        for one in &found {
            log.note(STEP, one.held || one.would_run, format!("{}: {}", one.name, one.message));
        }
        found
    }
}

/// Tells a refusal as what the mode of `UG-PRECONDITION` makes of it.
struct Softened<'a, 'b> {
    report: &'a mut Log<'b>,
    refusal: Stage,
}

impl Report for Softened<'_, '_> {
    fn tell(&mut self, mut news: News) {
        if news.stage == Stage::Refused {
            news.stage = self.refusal;
        }
        self.report.tell(news);
    }
}

fn recorded(found: Found) -> PlatformPrecondition {
    let message = super::clipped(&found.message);
    PlatformPrecondition { name: found.name, held: found.held, message, observed: found.observed.map(Time) }
}

fn counted(count: usize) -> String {
    format!("{count} {}", if count == 1 { "precondition" } else { "preconditions" })
}
