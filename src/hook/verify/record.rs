//! What a successful `verify` leaves on the `Platform`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::judge::Wanted;
use crate::api::{Outcome, PlatformHistoryEntry, PlatformPreparation, PlatformStatus, PlatformVerified};
use crate::domain::policy::Policy;
use crate::domain::version::Version;

/// What is left.
#[derive(Clone, Debug)]
pub struct Mark<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// What was verified.
    pub wanted: &'a Wanted,
    /// Who ran it.
    pub by: Option<String>,
    /// What was found, in one line.
    pub message: String,
}

/// What became of a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marked {
    /// Whether something new was written.
    pub changed: bool,
    /// The components whose move the controller has not written down as complete yet.
    pub open: Vec<String>,
}

impl Mark<'_> {
    /// Notes it on `status`, at `now`. What was noted before stays as it is, so that a second run changes nothing.
    pub fn note(&self, status: &mut PlatformStatus, now: Timestamp) -> Marked {
        let mut marked = Marked::default();
        let wanted: BTreeSet<(&str, &Version)> = self
            .wanted
            .versions
            .iter()
            .flat_map(|(id, versions)| {
                versions.iter().map(|version| (self.policy.component(*id).name.as_str(), version))
            })
            .collect();
        if let Some(preparation) = status.preparations.iter_mut().find(|entry| self.is_of(entry, &wanted))
            && preparation.verified.is_none()
        {
            let (at, by, message) = (Time(now), self.by.clone(), self.message.chars().take(LONGEST).collect());
            preparation.verified = Some(PlatformVerified { at, by, message });
            marked.changed = true;
        }
        for (name, version) in wanted {
            let of = |entry: &&mut PlatformHistoryEntry| entry.component == name;
            let Some(newest) = status.history.iter_mut().find(of) else { continue };
            if Version::read(&newest.to) != *version {
                continue;
            }
            match newest.outcome {
                Outcome::Completed if newest.verified.is_none() => {
                    newest.verified = Some(Time(now));
                    marked.changed = true;
                }
                Outcome::Rolling => marked.open.push(name.to_owned()),
                Outcome::Completed | Outcome::Partial => {}
            }
        }
        marked
    }

    /// Whether `entry` prepared for what was verified: by its name, or by its versions.
    fn is_of(&self, entry: &PlatformPreparation, wanted: &BTreeSet<(&str, &Version)>) -> bool {
        let versions: Vec<Version> =
            entry.components.iter().map(|component| Version::read(&component.version)).collect();
        let prepared: BTreeSet<(&str, &Version)> =
            entry.components.iter().map(|component| component.name.as_str()).zip(&versions).collect();
        self.wanted.target.as_ref() == Some(&entry.target) || prepared == *wanted
    }
}

/// The longest message that the schema takes.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::policy::ComponentId;
    use crate::hook::verify::tests::policy;

    fn status(outcome: &str) -> PlatformStatus {
        let moved = |component: &str, to: &str, outcome: &str| json!({"component": component, "to": to, "outcome": outcome, "started": "2026-07-17T10:00:00Z"});
        let prepared = |target: &str, version: &str| {
            json!({
                "target": target, "outcome": "Prepared", "started": "2026-07-17T10:00:00Z",
                "components": [{"name": "api", "version": version}],
            })
        };
        serde_json::from_value(json!({
            "preparations": [prepared("2026.08", "2.4.0"), prepared("2026.07", "2.3.0")],
            "history": [moved("api", "2.3.0", outcome), moved("ui", "2.3.0", "Completed"), moved("api", "2.3.0", "Completed")],
        }))
        .unwrap()
    }

    fn note(status: &mut PlatformStatus, target: Option<&str>, now: &str) -> Marked {
        let policy = policy();
        let versions = [(ComponentId(0), [Version::read("2.3.0")].into())].into();
        let wanted = Wanted { target: target.map(str::to_owned), versions, revision: None };
        let mark = Mark { policy: &policy, wanted: &wanted, by: Some("me".into()), message: "all well".into() };
        mark.note(status, now.parse().unwrap())
    }

    fn verified(status: &PlatformStatus) -> Vec<bool> {
        let prepared = status.preparations.iter().map(|entry| entry.verified.is_some());
        prepared.chain(status.history.iter().map(|entry| entry.verified.is_some())).collect()
    }

    #[test]
    fn the_preparation_and_the_newest_move_of_each_component_are_marked_once() {
        for target in [Some("2026.07"), Some("2.3.0"), None] {
            let mut status = status("Completed");
            let marked = note(&mut status, target, "2026-07-17T12:00:00Z");
            assert_eq!(marked, Marked { changed: true, open: vec![] });
            assert_eq!(verified(&status), [false, true, true, false, false], "{target:?}");
            let before = status.clone();
            assert_eq!(note(&mut status, target, "2026-07-17T13:00:00Z"), Marked::default());
            assert_eq!(status, before, "a second run leaves the time as it is");
        }
    }

    #[test]
    fn a_move_that_is_not_written_down_as_complete_is_waited_for() {
        let mut status = status("Rolling");
        let marked = note(&mut status, None, "2026-07-17T12:00:00Z");
        assert_eq!(marked.open, ["api"]);
        assert_eq!(verified(&status), [false, true, false, false, false]);
        let partial: Value = json!("Partial");
        status.history[0].outcome = serde_json::from_value(partial).unwrap();
        assert_eq!(note(&mut status, None, "2026-07-17T12:00:00Z"), Marked::default());
    }
}
