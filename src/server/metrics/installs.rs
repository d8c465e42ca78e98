//! The numbers of each install, which come and go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{IntGaugeVec, Registry};

use super::descriptors::{
    BLOCKED_SINCE, COMPONENT_PODS, Descriptor, HELD, INTENTS, MIGRATION_STARTED, MIGRATION_STATE, MIGRATION_STATES,
    OVERRIDES_IN_USE, PLATFORM_CONDITION, SCHEMA_OBSERVED, SKEW_LINES, SKEW_LINES_LEFT,
};
use super::{BoundedNames, MAX_NAMES, opts, register};

/// What the gauges of installs are made of.
const GAUGES: [&Descriptor; 11] = [
    &COMPONENT_PODS,
    &SKEW_LINES,
    &SKEW_LINES_LEFT,
    &BLOCKED_SINCE,
    &HELD,
    &OVERRIDES_IN_USE,
    &INTENTS,
    &PLATFORM_CONDITION,
    &SCHEMA_OBSERVED,
    &MIGRATION_STATE,
    &MIGRATION_STARTED,
];
/// How many installs, and how many versions, get series of their own; a process sees far more of them than of components.
const MAX_PASSING: usize = 10 * MAX_NAMES;

/// Where an install stands.
#[derive(Clone, Debug, Default)]
pub struct Install<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its policy.
    pub policy: &'a str,
    /// Component, version and how many pods run it.
    pub pods: Vec<(&'a str, &'a str, i64)>,
    /// How far components are from their peers.
    pub skew: Vec<SkewOf<'a>>,
    /// Component, rule and the Unix time since when it stands in the way.
    pub blocked: Vec<(&'a str, &'a str, i64)>,
    /// Component and whether a rollout of it is held.
    pub held: Vec<(&'a str, bool)>,
    /// Changes that an override let pass and that are not complete yet.
    pub overrides: i64,
    /// Changes that were admitted and have not settled yet.
    pub intents: i64,
    /// Condition of its Platform and whether it is true.
    pub conditions: Vec<(&'a str, bool)>,
    /// The Unix time at which the revision of its database was read last.
    pub schema_observed: Option<i64>,
    /// The last run of database migrations.
    pub migration: Option<Migration>,
}

/// How far a component is from a peer.
#[derive(Clone, Copy, Debug)]
pub struct SkewOf<'a> {
    /// The component.
    pub component: &'a str,
    /// The peer.
    pub peer: &'a str,
    /// Lines that the component is behind it, negative when ahead.
    pub behind: i64,
    /// Lines that the peer may still move ahead, negative when they are too far apart.
    pub left: i64,
}

/// A run of database migrations.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// One of [`MIGRATION_STATES`].
    pub state: &'static str,
    /// The Unix time at which it began.
    pub started: i64,
}

/// The name of a gauge and the values of its labels.
type Series = (&'static str, Vec<String>);

/// The gauges of all installs. Clones are the same gauges.
#[derive(Clone, Debug)]
pub struct Installs {
    /// By name.
    gauges: Arc<BTreeMap<&'static str, IntGaugeVec>>,
    /// Namespaces and policies.
    scopes: BoundedNames,
    /// Components and rules.
    names: BoundedNames,
    versions: BoundedNames,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Debug, Default)]
struct Shown {
    /// Whether this process knows anything of installs.
    leads: bool,
    /// What each install has series of: namespace and policy come first in every one.
    series: BTreeMap<(String, String), BTreeSet<Series>>,
}

impl Installs {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |descriptor: &Descriptor| {
            (descriptor.name, register(registry, IntGaugeVec::new(opts(descriptor), descriptor.labels)))
        };
        Self {
            gauges: Arc::new(GAUGES.map(gauge).into()),
            scopes: BoundedNames::new(MAX_PASSING),
            names: BoundedNames::new(MAX_NAMES),
            versions: BoundedNames::new(MAX_PASSING),
            shown: Arc::default(),
        }
    }

    /// Shows where an install stands now, and nothing else of it. Ignored unless this process leads: who stops to lead
    /// may still have a last word to say.
    pub fn set(&self, install: &Install<'_>) {
        let fresh = self.series(install);
        let mut shown = self.shown.lock();
        if !shown.leads {
            return;
        }
        let before = shown.series.entry((install.namespace.to_owned(), install.policy.to_owned())).or_default();
        self.remove(before.iter().filter(|series| !fresh.contains_key(*series)));
        for ((gauge, labels), value) in &fresh {
            self.gauges[gauge].with_label_values(labels).set(*value);
        }
        *before = fresh.into_keys().collect();
    }

    /// What there is to show of an install.
    fn series(&self, install: &Install<'_>) -> BTreeMap<Series, i64> {
        let mut series = BTreeMap::new();
        let scope = [install.namespace, install.policy].map(|value| self.scopes.bound(value).to_owned());
        let mut add = |gauge: &Descriptor, labels: &[&str], value: i64| {
            let labels = labels.iter().map(|label| (*label).to_owned());
            series.insert((gauge.name, scope.iter().cloned().chain(labels).collect()), value);
        };
        let name = |value| self.names.bound(value);
        for (component, version, pods) in &install.pods {
            add(&COMPONENT_PODS, &[name(component), self.versions.bound(version)], *pods);
        }
        for SkewOf { component, peer, behind, left } in &install.skew {
            add(&SKEW_LINES, &[name(component), name(peer)], *behind);
            add(&SKEW_LINES_LEFT, &[name(component), name(peer)], *left);
        }
        for (component, rule, since) in &install.blocked {
            add(&BLOCKED_SINCE, &[name(component), name(rule)], *since);
        }
        for (component, held) in &install.held {
            add(&HELD, &[name(component)], i64::from(*held));
        }
        add(&OVERRIDES_IN_USE, &[], install.overrides);
        add(&INTENTS, &[], install.intents);
        for (condition, holds) in &install.conditions {
            add(&PLATFORM_CONDITION, &[name(condition)], i64::from(*holds));
        }
        if let Some(observed) = install.schema_observed {
            add(&SCHEMA_OBSERVED, &[], observed);
        }
        if let Some(Migration { state, started }) = install.migration {
            for possible in MIGRATION_STATES {
                add(&MIGRATION_STATE, &[possible], i64::from(*possible == state));
            }
            add(&MIGRATION_STARTED, &[], started);
        }
        series
    }

    /// Shows nothing more of an install.
    pub fn forget(&self, namespace: &str, policy: &str) {
        if let Some(series) = self.shown.lock().series.remove(&(namespace.to_owned(), policy.to_owned())) {
            self.remove(series.iter());
        }
    }

    /// Begins to show installs, or shows none any more.
    pub(super) fn lead(&self, leads: bool) {
        let mut shown = self.shown.lock();
        *shown = Shown { leads, ..Shown::default() };
        self.gauges.values().for_each(IntGaugeVec::reset);
    }

    fn remove<'a>(&self, series: impl Iterator<Item = &'a Series>) {
        for (gauge, labels) in series {
            // An error says that it is gone: two installs beyond the bound share one.
            let _ = self.gauges[gauge].remove_label_values(labels);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Metrics;
    use super::*;

    pub(in super::super) fn install<'a>(namespace: &'a str, version: &'a str) -> Install<'a> {
        Install {
            namespace,
            policy: "stoa",
            pods: vec![("gateway", version, 2)],
            skew: vec![SkewOf { component: "gateway", peer: "api", behind: 1, left: 0 }],
            blocked: vec![("gateway", "UG-ORDER", 1_900_000_000)],
            held: vec![("gateway", true)],
            overrides: 1,
            intents: 2,
            conditions: vec![("Ready", true)],
            schema_observed: Some(1_900_000_000),
            migration: Some(Migration { state: "HalfWay", started: 1_900_000_000 }),
        }
    }

    fn series(metrics: &Metrics, namespace: &str) -> Vec<String> {
        let text = metrics.render().expect("text");
        let wanted = format!("namespace=\"{namespace}\"");
        text.lines().filter(|line| line.contains(&wanted)).map(str::to_owned).collect()
    }

    /// One series of each gauge, and one for each state that migrations may be in.
    const SERIES: usize = GAUGES.len() + MIGRATION_STATES.len() - 1;

    #[test]
    fn what_is_over_is_not_shown() {
        let metrics = Metrics::new();
        metrics.installs().set(&install("early", "2.2.0"));
        assert_eq!(series(&metrics, "early"), Vec::<String>::new());
        metrics.leader(true);
        metrics.installs().set(&install("one", "2.2.0"));
        metrics.installs().set(&install("two", "2.2.0"));
        assert_eq!(series(&metrics, "one").len(), SERIES);
        metrics.installs().set(&Install { blocked: vec![], ..install("one", "2.3.0") });
        let shown = series(&metrics, "one").join("\n");
        assert!(shown.contains("version=\"2.3.0\"} 2") && !shown.contains("2.2.0"), "{shown}");
        assert!(!shown.contains("blocked"), "{shown}");
        let states: Vec<_> = shown.lines().filter(|line| line.contains("state=") && line.ends_with(" 1")).collect();
        assert!(states.len() == 1 && states[0].contains("HalfWay"), "one state: {states:?}");
        metrics.installs().set(&Install { migration: None, ..install("one", "2.3.0") });
        assert!(!series(&metrics, "one").join("\n").contains("migration"), "there is no run any more");
        metrics.installs().forget("one", "stoa");
        assert_eq!(series(&metrics, "one"), Vec::<String>::new());
        assert_eq!(series(&metrics, "two").len(), SERIES);
        metrics.leader(false);
        assert_eq!(series(&metrics, "two"), Vec::<String>::new());
    }
}
