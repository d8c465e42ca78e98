//! Where the upgrade goes, and whether the rules can ever let it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::api::{FoundComponent, PlatformVersion, RunningVersion};
use crate::domain::change::{Change, Move};
use crate::domain::decision::{Reason, Verdict, decide};
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::rules::Rule;
use crate::domain::version::Version;
use crate::domain::view::View;

/// Where an upgrade goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What people call it.
    pub name: String,
    /// The versions of the components in it.
    pub versions: BTreeMap<ComponentId, Version>,
}

/// Which way an upgrade goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Some component goes to a higher line.
    Up,
    /// Nothing goes to a higher line, and some component goes to a later patch of its own.
    Patch,
    /// Nothing goes up, and something goes back.
    Back,
    /// Nothing moves, and some component was never installed.
    First,
    /// Everything is there already.
    There,
}

impl Target {
    /// The versions as they are recorded.
    #[must_use]
    pub fn recorded(&self, policy: &Policy) -> Vec<PlatformVersion> {
        let named = |(id, version): (&ComponentId, &Version)| PlatformVersion {
            name: policy.component(*id).name.clone(),
            version: version.to_string(),
        };
        self.versions.iter().map(named).collect()
    }

    /// The target and what would move: `2026.07: api 2.2.0 -> 2.3.0; ui 2.3.0 runs already`.
    #[must_use]
    pub fn described(&self, policy: &Policy, view: &View) -> String {
        let mut text = format!("{}:", self.name);
        for (index, (id, version)) in self.versions.iter().enumerate() {
            let lead = if index == 0 { " " } else { ", " };
            let now = asked(view, *id);
            let name = &policy.component(*id).name;
            let said = match now.as_slice() {
                [] => format!("{name} {version} (not installed)"),
                [same] if *same == version => format!("{name} {version} (as it is)"),
                several => {
                    let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                    format!("{name} {} -> {version}", several.join("/"))
                }
            };
            // Writing to a text cannot fail.
            let _ = write!(text, "{lead}{said}");
        }
        text
    }

    /// Which way it goes from `view`.
    #[must_use]
    pub fn way(&self, policy: &Policy, view: &View) -> Way {
        let mut way = Way::There;
        for (id, version) in &self.versions {
            let mut before = asked(view, *id);
            if before.is_empty() {
                before.extend(&view.component(*id).recorded);
            }
            let line = |version: &Version| policy.lines.span(*id, version).ok();
            // What cannot be told may be older.
            let is_older = |before: &&Version| before.known().is_none() || *before < version;
            let patched = |before: &Version| line(before).is_some() && line(before) == line(version);
            if before.iter().copied().filter(is_older).any(|before| !patched(before)) {
                return Way::Up;
            }
            if before.iter().any(is_older) {
                way = Way::Patch;
            } else if before.iter().any(|before| *before > version) {
                way = if way == Way::Patch { way } else { Way::Back };
            } else if before.is_empty() && way == Way::There {
                way = Way::First;
            }
        }
        way
    }

    /// Why some of it can never be admitted from here, whatever it waits for; empty when nothing stands against it. With
    /// `undoing` the schema is no reason: it is brought back.
    #[must_use]
    pub fn impossible(&self, policy: &Policy, view: &View, now: Timestamp, undoing: bool) -> Vec<String> {
        let mut told = Vec::new();
        for (id, version) in &self.versions {
            for workload in &view.component(*id).workloads {
                for from in workload.desired.iter().filter(|from| *from != version) {
                    let step = Move::new(*id, Some(from.clone()), version.clone());
                    let change =
                        Change { workload: workload.id.clone(), moves: vec![step], restarts: vec![], capacity: None };
                    let decision = decide(policy, view, &change, now);
                    let counts = |reason: &&Reason| {
                        reason.verdict == Verdict::Never && !(undoing && reason.rule == Rule::Schema)
                    };
                    told.extend(decision.reasons.iter().filter(counts).map(ToString::to_string));
                }
            }
        }
        told.sort();
        told.dedup();
        told
    }
}

/// The versions that the workloads of a component ask for, each once.
fn asked(view: &View, id: ComponentId) -> Vec<&Version> {
    let mut asked: Vec<&Version> = view.component(id).workloads.iter().flat_map(|workload| &workload.desired).collect();
    asked.sort();
    asked.dedup();
    asked
}

/// What runs of each component that has pods.
#[must_use]
pub fn running(policy: &Policy, view: &View) -> Vec<FoundComponent> {
    let of = |id: ComponentId| {
        let running = view.component(id).running();
        let running = running.into_iter().filter(|(_, pods)| *pods > 0).map(|(version, pods)| RunningVersion {
            version: version.to_string(),
            pods: i32::try_from(pods).unwrap_or(i32::MAX),
            images: vec![],
        });
        FoundComponent { name: policy.component(id).name.clone(), running: running.collect() }
    };
    policy.ids().map(of).filter(|found| !found.running.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::mk_policy;
    use crate::domain::view::{Rollout, WorkloadId, WorkloadView};

    fn policy() -> Policy {
        let components = [("api", "x/api"), ("ui", "x/ui")];
        Policy::try_from(&mk_policy("p", &["ns"], &components)).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// What each of `versions` asks for; nothing where it is empty.
    fn view(versions: [&str; 2]) -> View {
        let mut view = View::empty(&policy());
        for (component, version) in view.components.iter_mut().zip(versions).filter(|(_, version)| !version.is_empty())
        {
            let desired = Version::read(version);
            component.workloads.push(WorkloadView {
                id: WorkloadId { kind: "Deployment".to_owned(), name: "any".to_owned() },
                running: BTreeMap::from([(desired.clone(), 2)]),
                desired: vec![desired],
                rollout: Rollout::Settled,
            });
        }
        view
    }

    fn target(versions: [&str; 2]) -> Target {
        let versions = versions.iter().enumerate().map(|(index, version)| (ComponentId(index), Version::read(version)));
        Target { name: "r".to_owned(), versions: versions.collect() }
    }

    #[test]
    fn the_way_is_up_when_anything_goes_up() {
        for (now, to, way) in [
            (["2.2.0", "2.2.0"], ["2.3.0", "2.3.0"], Way::Up),
            (["2.3.0", "2.2.0"], ["2.2.0", "2.3.0"], Way::Up),
            (["latest", "2.3.0"], ["2.3.0", "2.3.0"], Way::Up),
            (["2.3.0", "2.3.0"], ["2.3.0", "2.3.0"], Way::There),
            (["2.3.0", "2.3.0"], ["2.3.1", "2.3.0"], Way::Patch),
            (["2.3.0", "2.3.0"], ["2.3.1", "2.2.0"], Way::Patch),
            (["2.3.0", "2.3.0"], ["2.2.0", "2.3.1"], Way::Patch),
            (["2.3.0", "2.3.0"], ["2.3.1", "2.4.0"], Way::Up),
            (["2.3.0", "2.3.0"], ["2.2.0", "2.3.0"], Way::Back),
            (["", ""], ["2.3.0", "2.3.0"], Way::First),
            (["2.3.0", ""], ["2.3.0", "2.3.0"], Way::First),
            (["2.2.0", ""], ["2.3.0", "2.3.0"], Way::Up),
            (["2.4.0", ""], ["2.3.0", "2.3.0"], Way::Back),
        ] {
            assert_eq!(target(to).way(&policy(), &view(now)), way, "{now:?} to {to:?}");
        }
        let mut deleted = view(["2.3.0", ""]);
        deleted.components[1].recorded = Some(Version::read("2.2.0"));
        assert_eq!(
            target(["2.3.0", "2.3.0"]).way(&policy(), &deleted),
            Way::Up,
            "deleted and made again is an upgrade"
        );
    }

    #[test]
    fn what_only_has_to_wait_is_no_reason_to_stop() {
        let now = Timestamp::UNIX_EPOCH;
        let told = |to| target(to).impossible(&policy(), &view(["2.2.0", "2.2.0"]), now, false);
        assert_eq!(told(["2.3.0", "2.3.0"]), Vec::<String>::new());
        let never = told(["2.4.0", "2.4.0"]);
        assert!(never.len() == 2 && never.iter().all(|reason| reason.starts_with("[UG-HOP] ")), "{never:?}");
        assert_eq!(
            target(["2.3.0", "2.2.0"]).described(&policy(), &view(["2.2.0", "2.2.0"])),
            "r: api 2.2.0 -> 2.3.0, ui 2.2.0 (as it is)"
        );
    }
}
