//! The numbers of each install, which come and go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{IntGaugeVec, Registry};

use super::descriptors::{
    BLOCKED_SINCE, COMPONENT_PODS, Descriptor, HELD, INTENTS, OVERRIDES_IN_USE, SCHEMA_OBSERVED, SKEW_LINES,
};
use super::{BoundedNames, MAX_NAMES, opts, register};

/// What the gauges of installs are made of.
const GAUGES: [&Descriptor; 7] =
    [&COMPONENT_PODS, &SKEW_LINES, &BLOCKED_SINCE, &HELD, &OVERRIDES_IN_USE, &INTENTS, &SCHEMA_OBSERVED];
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
    /// Component, peer and how many lines the component is behind it.
    pub skew: Vec<(&'a str, &'a str, i64)>,
    /// Component, rule and the Unix time since when it stands in the way.
    pub blocked: Vec<(&'a str, &'a str, i64)>,
    /// Component and whether a rollout of it is held.
    pub held: Vec<(&'a str, bool)>,
    /// Changes that an override let pass and that are not complete yet.
    pub overrides: i64,
    /// Changes that were admitted and have not settled yet.
    pub intents: i64,
    /// The Unix time at which the revision of its database was read last.
    pub schema_observed: Option<i64>,
}

/// The position in [`GAUGES`] and the values of the labels.
type Series = (usize, Vec<String>);

/// The gauges of all installs. Clones are the same gauges.
#[derive(Clone, Debug)]
pub struct Installs {
    gauges: [IntGaugeVec; 7],
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
        let gauge = |descriptor: &Descriptor| register(registry, IntGaugeVec::new(opts(descriptor), descriptor.labels));
        Self {
            gauges: GAUGES.map(gauge),
            scopes: BoundedNames::new(MAX_PASSING),
            names: BoundedNames::new(MAX_NAMES),
            versions: BoundedNames::new(MAX_PASSING),
            shown: Arc::default(),
        }
    }

    /// Shows where an install stands now, and nothing else of it. Ignored unless this process leads: who stops to lead
    /// may still have a last word to say.
    pub fn set(&self, install: &Install<'_>) {
        let mut fresh = BTreeMap::new();
        let own = |value: &str| self.scopes.bound(value).to_owned();
        let mut add = |gauge: usize, labels: &[&str], value: i64| {
            let mut all = vec![own(install.namespace), own(install.policy)];
            all.extend(labels.iter().map(|label| (*label).to_owned()));
            fresh.insert((gauge, all), value);
        };
        for (component, version, pods) in &install.pods {
            add(0, &[self.names.bound(component), self.versions.bound(version)], *pods);
        }
        for (component, peer, lines) in &install.skew {
            add(1, &[self.names.bound(component), self.names.bound(peer)], *lines);
        }
        for (component, rule, since) in &install.blocked {
            add(2, &[self.names.bound(component), self.names.bound(rule)], *since);
        }
        for (component, held) in &install.held {
            add(3, &[self.names.bound(component)], i64::from(*held));
        }
        add(4, &[], install.overrides);
        add(5, &[], install.intents);
        if let Some(observed) = install.schema_observed {
            add(6, &[], observed);
        }

        let mut shown = self.shown.lock();
        if !shown.leads {
            return;
        }
        let before = shown.series.entry((install.namespace.to_owned(), install.policy.to_owned())).or_default();
        self.remove(before.iter().filter(|series| !fresh.contains_key(*series)));
        for ((gauge, labels), value) in &fresh {
            self.gauges[*gauge].with_label_values(labels).set(*value);
        }
        *before = fresh.into_keys().collect();
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
        self.gauges.iter().for_each(IntGaugeVec::reset);
    }

    fn remove<'a>(&self, series: impl Iterator<Item = &'a Series>) {
        for (gauge, labels) in series {
            // An error says that it is gone: two installs beyond the bound share one.
            let _ = self.gauges[*gauge].remove_label_values(labels);
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
            skew: vec![("gateway", "api", 1)],
            blocked: vec![("gateway", "UG-ORDER", 1_900_000_000)],
            held: vec![("gateway", true)],
            overrides: 1,
            intents: 2,
            schema_observed: Some(1_900_000_000),
        }
    }

    fn series(metrics: &Metrics, namespace: &str) -> Vec<String> {
        let text = metrics.render().expect("text");
        let wanted = format!("namespace=\"{namespace}\"");
        text.lines().filter(|line| line.contains(&wanted)).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_over_is_not_shown() {
        let metrics = Metrics::new();
        metrics.installs().set(&install("early", "2.2.0"));
        assert_eq!(series(&metrics, "early"), Vec::<String>::new());
        metrics.leader(true);
        metrics.installs().set(&install("one", "2.2.0"));
        metrics.installs().set(&install("two", "2.2.0"));
        assert_eq!(series(&metrics, "one").len(), GAUGES.len());
        metrics.installs().set(&Install { blocked: vec![], ..install("one", "2.3.0") });
        let shown = series(&metrics, "one").join("\n");
        assert!(shown.contains("version=\"2.3.0\"} 2") && !shown.contains("2.2.0"), "{shown}");
        assert!(!shown.contains("blocked"), "{shown}");
        metrics.installs().forget("one", "stoa");
        assert_eq!(series(&metrics, "one"), Vec::<String>::new());
        assert_eq!(series(&metrics, "two").len(), GAUGES.len());
        metrics.leader(false);
        assert_eq!(series(&metrics, "two"), Vec::<String>::new());
    }
}
