//! What has to be there before an upgrade may begin, and what is known of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::freeze::Freeze;
use super::line::Span;
use super::policy::{ComponentId, Policy};
use super::version::Version;

/// What a policy asks for before an upgrade.
#[derive(Clone, Debug)]
pub struct Demands {
    /// What the hook has to have found.
    pub preconditions: Vec<Precondition>,
    /// How long what it found counts.
    pub valid_for: SignedDuration,
    /// When no upgrade begins.
    pub freezes: Vec<Freeze>,
    /// The breaking changes that are accepted for every install, by name.
    pub acknowledged: BTreeSet<String>,
}

impl Default for Demands {
    /// Nothing is asked for.
    fn default() -> Self {
        let valid_for = SignedDuration::from_hours(24);
        Self { preconditions: vec![], valid_for, freezes: vec![], acknowledged: BTreeSet::new() }
    }
}

/// Something that the hook has to have found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Its name.
    pub name: String,
    /// The components whose moves need it; empty means all.
    pub components: BTreeSet<ComponentId>,
}

impl Precondition {
    /// Whether moves of the component at `id` need it.
    #[must_use]
    pub fn concerns(&self, id: ComponentId) -> bool {
        self.components.is_empty() || self.components.contains(&id)
    }
}

/// A change in a release that someone has to have read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakingChange {
    /// Its name, by which it is acknowledged.
    pub name: String,
    /// What changes.
    pub message: String,
    /// Where to read more.
    pub url: Option<String>,
    /// The components whose moves need it acknowledged; empty means all.
    pub components: BTreeSet<ComponentId>,
}

/// What is known of a CRD in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdState {
    /// Whether it is established, its names accepted, and it is not on its way out.
    pub established: bool,
    /// The digest of its content.
    pub content: String,
}

/// What the hook found and did for one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preparation {
    /// What people call the target.
    pub target: String,
    /// The versions of the components in it.
    pub versions: BTreeMap<ComponentId, Version>,
    /// When it ended; `None` while it runs, or when it was killed.
    pub ended: Option<Timestamp>,
    /// Whether everything was there.
    pub prepared: bool,
    /// What it found of each precondition, by name: why it did not hold, or `None` when it did.
    pub preconditions: BTreeMap<String, Option<String>>,
    /// The digest of the content of each CRD that it made sure of.
    pub crds: BTreeMap<String, String>,
}

impl Preparation {
    /// Whether it was for this version of the component at `id`.
    #[must_use]
    pub fn covers(&self, id: ComponentId, version: &Version) -> bool {
        self.versions.get(&id) == Some(version)
    }
}

/// The freeze window that `now` is in, with its end; of several the one that ends last, because no upgrade begins before.
#[must_use]
pub fn open_freeze(demands: &Demands, now: Timestamp) -> Option<(&Freeze, Timestamp)> {
    let open = demands.freezes.iter().filter_map(|freeze| Some((freeze, freeze.ends(now)?)));
    open.max_by_key(|(_, ends)| *ends)
}

/// The breaking changes that a move of `component` from `from` to `to` comes past and nobody has accepted, oldest first;
/// `acknowledged` are the names that are accepted for this install, beside those that the policy accepts for all. None
/// for a move downwards, and none without releases.
#[must_use]
pub fn unacknowledged<'a>(
    policy: &'a Policy,
    acknowledged: &BTreeSet<String>,
    component: ComponentId,
    from: Span,
    to: Span,
) -> Vec<&'a BreakingChange> {
    let mut told = BTreeSet::new();
    let changes = policy.lines.crossed(from, to).iter().flat_map(|release| &release.breaking_changes);
    let concerns = |change: &&BreakingChange| change.components.is_empty() || change.components.contains(&component);
    let accepted = |name: &String| acknowledged.contains(name) || policy.demands.acknowledged.contains(name);
    changes.filter(concerns).filter(|change| !accepted(&change.name) && told.insert(&change.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Lines, Listed, Release};
    use crate::domain::policy::{Component, PolicyParts};

    const API: ComponentId = ComponentId(0);
    const UI: ComponentId = ComponentId(1);

    fn change(name: &str, components: &[ComponentId]) -> BreakingChange {
        let components = components.iter().copied().collect();
        BreakingChange { name: name.to_owned(), message: "something changes".to_owned(), url: None, components }
    }

    /// Five releases; ui does not change in the third.
    fn policy(accepted: &[&str]) -> Policy {
        let releases: [(&str, &str, Vec<BreakingChange>); 5] = [
            ("1.0.0", "1.0.0", vec![change("r1", &[])]),
            ("2.0.0", "2.0.0", vec![change("r2", &[]), change("r2-ui", &[UI])]),
            ("3.0.0", "2.0.0", vec![change("r3", &[]), change("r3-api", &[API])]),
            ("4.0.0", "4.0.0", vec![change("r4", &[API, UI]), change("r2", &[])]),
            ("5.0.0", "5.0.0", vec![]),
        ];
        let listed = |version: &str| Listed {
            version: version.parse().unwrap(),
            tags: vec![],
            digests: vec![],
            needs: BTreeMap::new(),
        };
        let releases = releases.into_iter().map(|(api, ui, breaking_changes)| Release {
            name: api.to_owned(),
            components: BTreeMap::from([(API, listed(api)), (UI, listed(ui))]),
            breaking_changes,
            ..Release::default()
        });
        let acknowledged = accepted.iter().map(ToString::to_string).collect();
        let parts = PolicyParts {
            max_hop: 9,
            min_replicas: 1,
            demands: Demands { acknowledged, ..Demands::default() },
            ..PolicyParts::new("changes", vec![Component::named("api"), Component::named("ui")])
        };
        let mut policy = Policy::new(parts).unwrap();
        policy.lines = Lines::new(releases.collect());
        policy
    }

    #[test]
    fn a_move_comes_past_the_changes_of_every_release_on_its_way() {
        for (component, from, to, in_policy, in_install, expected) in [
            (API, "1.0.0", "2.0.0", &[][..], &[][..], &["r2"][..]),
            (API, "1.0.0", "2.0.0", &["r2"], &[], &[]),
            (API, "1.0.0", "2.0.0", &[], &["r2"], &[]),
            (API, "1.0.0", "2.0.0", &["r1"], &["R2"], &["r2"]),
            (API, "1.0.0", "4.0.0", &["r3"], &["r4"], &["r2", "r3-api"]),
            (API, "2.0.0", "2.0.1", &[], &[], &[]),
            (API, "4.0.0", "5.0.0", &[], &[], &[]),
            (API, "4.0.0", "1.0.0", &[], &[], &[]),
            (UI, "1.0.0", "2.0.0", &[], &[], &["r2", "r2-ui"]),
            // It is of the second and the third release: what the third changes is asked for when it moves on.
            (UI, "2.0.0", "4.0.0", &[], &[], &["r3", "r4", "r2"]),
            (UI, "1.0.0", "5.0.0", &["r2"], &["r3"], &["r2-ui", "r4"]),
        ] {
            let policy = policy(in_policy);
            let span = |text| policy.lines.span(component, &Version::read(text)).unwrap();
            let accepted = in_install.iter().map(ToString::to_string).collect();
            let found = unacknowledged(&policy, &accepted, component, span(from), span(to));
            let names: Vec<&str> = found.into_iter().map(|change| change.name.as_str()).collect();
            assert_eq!(names, expected, "{component:?} from {from} to {to}");
        }
    }

    #[test]
    fn without_releases_nothing_breaks() {
        let mut policy = policy(&[]);
        policy.lines = Lines::default();
        let span = |text| policy.lines.span(API, &Version::read(text)).unwrap();
        assert_eq!(
            unacknowledged(&policy, &BTreeSet::new(), API, span("1.1.0"), span("1.4.0")),
            Vec::<&BreakingChange>::new()
        );
    }

    #[test]
    fn of_several_windows_the_one_that_ends_last_counts() {
        let freeze = |name, cron, hours| Freeze::new(name, cron, "UTC", SignedDuration::from_hours(hours)).unwrap();
        let freezes = vec![freeze("night", "0 20 * * *", 10), freeze("weekend", "0 18 * * FRI", 62)];
        let demands = Demands { freezes, ..Demands::default() };
        // 2026-07-17 is a Friday.
        for (now, expected) in [
            ("2026-07-16T12:00:00Z", None),
            ("2026-07-16T21:00:00Z", Some(("night", "2026-07-17T06:00:00Z"))),
            ("2026-07-17T21:00:00Z", Some(("weekend", "2026-07-20T08:00:00Z"))),
            ("2026-07-19T21:00:00Z", Some(("weekend", "2026-07-20T08:00:00Z"))),
            ("2026-07-20T08:00:00Z", None),
        ] {
            let open = open_freeze(&demands, now.parse().unwrap());
            let open = open.map(|(freeze, ends)| (freeze.name.clone(), ends.to_string()));
            let expected = expected.map(|(name, ends): (&str, &str)| (name.to_owned(), ends.to_owned()));
            assert_eq!(open, expected, "{now}");
        }
    }
}
