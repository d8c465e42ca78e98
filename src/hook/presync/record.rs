//! What a run of the hook leaves on the `Platform`: one entry for each target, the newest target first.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    FoundComponent, MOST_PREPARATIONS, PlatformCrd, PlatformPrecondition, PlatformPreparation, PlatformStatus,
    PlatformStep, PlatformVersion, PreparationOutcome,
};

/// What a run is for, and who runs it.
#[derive(Clone, Debug)]
pub struct Run {
    /// What people call the target.
    pub target: String,
    /// The versions of the components in it.
    pub components: Vec<PlatformVersion>,
    /// Who runs it.
    pub by: Option<String>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Result {
    /// In one word.
    pub outcome: PreparationOutcome,
    /// What was done, in order.
    pub steps: Vec<PlatformStep>,
    /// What was found of each precondition; `None` when what was found before the upgrade began still counts.
    pub preconditions: Option<Vec<PlatformPrecondition>>,
    /// The CRDs that were made sure of; `None` when it did not come to that.
    pub crds: Option<Vec<PlatformCrd>>,
}

impl Run {
    fn is(&self, entry: &PlatformPreparation) -> bool {
        entry.target == self.target && entry.components == self.components
    }

    /// The entry that this run goes on with: the newest, when it is for the same target and was not verified since.
    #[must_use]
    pub fn earlier<'a>(&self, status: &'a PlatformStatus) -> Option<&'a PlatformPreparation> {
        status.preparations.first().filter(|entry| self.is(entry) && entry.verified.is_none())
    }

    /// What an earlier run found of the preconditions, where that still counts: all was there, the upgrade has begun
    /// since, and it is not too long ago. A backup is taken before an upgrade, and a rollout under way is no trouble.
    #[must_use]
    pub fn evidence<'a>(
        &self,
        status: &'a PlatformStatus,
        running: &[FoundComponent],
        valid_for: SignedDuration,
        now: Timestamp,
    ) -> Option<&'a [PlatformPrecondition]> {
        let entry = self.earlier(status).filter(|entry| entry.outcome == PreparationOutcome::Prepared)?;
        let fresh = entry.ended.as_ref().is_some_and(|ended| now.duration_since(ended.0) <= valid_for);
        (fresh && self.has_begun(&entry.found, running)).then_some(entry.preconditions.as_slice())
    }

    /// Whether some component runs the target's version that did not before.
    fn has_begun(&self, found: &[FoundComponent], running: &[FoundComponent]) -> bool {
        let runs = |all: &[FoundComponent], wanted: &PlatformVersion| {
            let own = all.iter().filter(|component| component.name == wanted.name);
            own.flat_map(|component| &component.running).any(|running| running.version == wanted.version)
        };
        self.components.iter().any(|wanted| runs(running, wanted) && !runs(found, wanted))
    }

    /// Notes that the run begins, and what runs before anything moves. What an earlier run for the same target recorded
    /// stays until this one has a result: the webhook goes by it.
    pub fn begin(&self, status: &mut PlatformStatus, running: &[FoundComponent], now: Timestamp) {
        if let Some(entry) = self.earlier(status) {
            if !self.has_begun(&entry.found, running) {
                status.preparations[0].found = running.to_vec();
            }
            return;
        }
        status.preparations.retain(|entry| !self.is(entry));
        let entry = PlatformPreparation {
            target: self.target.clone(),
            components: self.components.clone(),
            found: running.to_vec(),
            by: self.by.clone(),
            started: time(now),
            ended: None,
            outcome: PreparationOutcome::Running,
            steps: vec![],
            preconditions: vec![],
            crds: vec![],
            verified: None,
        };
        status.preparations.insert(0, entry);
        status.preparations.truncate(MOST_PREPARATIONS);
    }

    /// Notes what the run came to.
    pub fn end(&self, status: &mut PlatformStatus, result: &Result, now: Timestamp) {
        // Someone may have deleted the Platform in between, and with it what was noted at the beginning.
        if self.earlier(status).is_none() {
            self.begin(status, &[], now);
        }
        let entry = &mut status.preparations[0];
        entry.by.clone_from(&self.by);
        entry.outcome = result.outcome;
        entry.steps.clone_from(&result.steps);
        if let Some(crds) = &result.crds {
            entry.crds.clone_from(crds);
        }
        if let Some(preconditions) = &result.preconditions {
            entry.preconditions.clone_from(preconditions);
            entry.ended = Some(time(now));
        }
        // What was found before the upgrade began grows old from then on.
        entry.ended.get_or_insert_with(|| time(now));
    }
}

/// `now` in whole seconds, as the API server keeps times.
pub(in crate::hook) fn time(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{PlatformVerified, RunningVersion};
    use PreparationOutcome::{Prepared, Refused, Running};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn run(version: &str) -> Run {
        let components = vec![PlatformVersion { name: "api".to_owned(), version: version.to_owned() }];
        Run { target: version.to_owned(), components, by: Some("job".to_owned()) }
    }

    fn runs(versions: &[&str]) -> Vec<FoundComponent> {
        let running = |version: &&str| RunningVersion { version: (*version).to_owned(), pods: 1, images: vec![] };
        vec![FoundComponent { name: "api".to_owned(), running: versions.iter().map(running).collect() }]
    }

    fn result(outcome: PreparationOutcome) -> Result {
        let held = PlatformPrecondition { name: "backup".to_owned(), held: true, ..PlatformPrecondition::default() };
        Result { outcome, steps: vec![], preconditions: Some(vec![held]), crds: Some(vec![]) }
    }

    fn after(hours: i64) -> Timestamp {
        NOW + SignedDuration::from_hours(hours)
    }

    fn targets(status: &PlatformStatus) -> Vec<&str> {
        status.preparations.iter().map(|entry| entry.target.as_str()).collect()
    }

    #[test]
    fn each_target_has_one_entry_and_the_newest_comes_first() {
        let mut status = PlatformStatus::default();
        for version in ["2.3.0", "2.4.0", "2.4.0", "2.3.0"] {
            run(version).begin(&mut status, &runs(&["2.2.0"]), NOW);
        }
        assert_eq!(targets(&status), ["2.3.0", "2.4.0"]);
        for number in 0..20 {
            run(&format!("3.{number}.0")).begin(&mut status, &[], NOW);
        }
        assert_eq!((status.preparations.len(), targets(&status)[0]), (MOST_PREPARATIONS, "3.19.0"));
    }

    #[test]
    fn a_run_that_was_killed_leaves_what_the_next_one_goes_on_with() {
        let mut whole = PlatformStatus::default();
        run("2.3.0").begin(&mut whole, &runs(&["2.2.0"]), NOW);
        run("2.3.0").end(&mut whole, &result(Prepared), after(1));
        let mut killed = PlatformStatus::default();
        run("2.3.0").begin(&mut killed, &runs(&["2.2.0"]), NOW);
        assert_eq!((killed.preparations[0].outcome, &killed.preparations[0].ended), (Running, &None));
        run("2.3.0").begin(&mut killed, &runs(&["2.2.0"]), after(1));
        run("2.3.0").end(&mut killed, &result(Prepared), after(1));
        assert_eq!(killed, whole);
        let mut lost = PlatformStatus::default();
        run("2.3.0").end(&mut lost, &result(Prepared), after(1));
        assert_eq!(lost.preparations[0].outcome, Prepared);
    }

    #[test]
    fn what_was_prepared_counts_until_the_next_result() {
        let mut status = PlatformStatus::default();
        run("2.3.0").begin(&mut status, &runs(&["2.2.0"]), NOW);
        run("2.3.0").end(&mut status, &result(Prepared), NOW);
        run("2.3.0").begin(&mut status, &runs(&["2.2.0", "2.3.0"]), after(1));
        assert_eq!(status.preparations[0].outcome, Prepared);
        assert_eq!(status.preparations[0].found, runs(&["2.2.0"]), "what ran before the upgrade");
        run("2.3.0").end(&mut status, &result(Refused), after(1));
        assert_eq!(status.preparations[0].outcome, Refused);
    }

    #[test]
    fn evidence_is_from_before_the_upgrade() {
        let day = SignedDuration::from_hours(24);
        let mut status = PlatformStatus::default();
        let run = run("2.3.0");
        run.begin(&mut status, &runs(&["2.2.0"]), NOW);
        let known =
            |status: &PlatformStatus, versions: &[&str], now| run.evidence(status, &runs(versions), day, now).is_some();
        assert!(!known(&status, &["2.2.0", "2.3.0"], NOW), "the run before was killed");
        run.end(&mut status, &result(Prepared), NOW);
        assert!(!known(&status, &["2.2.0"], NOW), "nothing has moved yet: look again");
        assert!(known(&status, &["2.2.0", "2.3.0"], after(24)));
        assert!(!known(&status, &["2.2.0", "2.3.0"], after(25)), "too long ago");
        let again = Result { preconditions: None, ..result(Prepared) };
        run.end(&mut status, &again, after(20));
        assert!(!known(&status, &["2.2.0", "2.3.0"], after(25)), "running again makes no evidence younger");
        let verified = PlatformVerified { at: Time(NOW), by: None, message: String::new() };
        status.preparations[0].verified = Some(verified);
        assert!(!known(&status, &["2.3.0"], NOW), "that upgrade is over");
    }
}
