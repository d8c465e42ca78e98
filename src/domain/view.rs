//! What is known of one install at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use super::change::Change;
pub use super::intent::Intent;
use super::line::{Lines, Span, Unplaced};
use super::policy::{ComponentId, Policy};
use super::preparation::{CrdState, Preparation};
use super::schema::Schema;
use super::version::Version;

/// One install as the rules see it: every component of the policy, at its position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The components, at the positions of the policy's.
    pub components: Vec<ComponentView>,
    /// The CRDs that the policy names and the cluster has; `None` where nobody looked, and then nothing is said of them.
    pub crds: Option<BTreeMap<String, CrdState>>,
    /// What the hook did, newest first; `None` where nobody looked, and then nothing is said of it.
    pub preparations: Option<Vec<Preparation>>,
    /// What is known of the database; `None` where nobody looked, and then nothing is said of it.
    pub schema: Option<Schema>,
    /// The breaking changes that are accepted for this install, by name.
    pub acknowledged: BTreeSet<String>,
}

/// One component of an install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentView {
    /// Its workloads; several count as one component.
    pub workloads: Vec<WorkloadView>,
    /// Changes admitted a moment ago; those that have ended are not among them.
    pub intents: Vec<Intent>,
    /// The last version that was rolled out completely, as recorded; see [`ComponentView::completed`].
    pub recorded: Option<Version>,
}

/// One workload of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadView {
    /// Which workload this is.
    pub id: WorkloadId,
    /// The versions its pod template asks for, one for each container of the component; those of its pods while the
    /// guard holds its rollout, because what is held has no effect until the guard lets it go on.
    pub desired: Vec<Version>,
    /// How many pods exist of each version.
    pub running: BTreeMap<Version, u32>,
    /// Where its rollout stands.
    pub rollout: Rollout,
}

/// A workload's kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    /// `Deployment`, `StatefulSet`, `DaemonSet` or `Rollout`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_lowercase(), self.name)
    }
}

/// Where a workload's rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// Generation observed, all replicas updated and available, no old pods.
    Settled,
    /// Not yet, and what is missing.
    Progressing(Missing),
}

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Its controller has not seen the last change.
    NotObserved,
    /// It is paused.
    Paused,
    /// The guard holds it back from these versions.
    Held(Vec<Version>),
    /// It made no progress within its deadline.
    DeadlineExceeded,
    /// Pods of the new revision are missing.
    Updated {
        /// Pods of the new revision.
        updated: u32,
        /// Pods asked for.
        of: u32,
    },
    /// Pods of an old revision are left.
    OldPods(u32),
    /// Pods are not available.
    Available {
        /// Pods available.
        available: u32,
        /// Pods asked for.
        of: u32,
    },
}

impl Missing {
    /// Whether waiting is all that it takes.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !matches!(self, Self::Paused | Self::DeadlineExceeded)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotObserved => f.write_str("its last change is not observed yet"),
            Self::Paused => f.write_str("its rollout is paused"),
            Self::Held(to) => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                write!(f, "its rollout to {} is held", to.join(", "))
            }
            Self::DeadlineExceeded => f.write_str("its rollout is over its progress deadline"),
            Self::Updated { updated, of } => write!(f, "{updated} of {of} pods updated"),
            Self::OldPods(count) => write!(f, "{count} old {} left", if *count == 1 { "pod" } else { "pods" }),
            Self::Available { available, of } => write!(f, "{available} of {of} pods available"),
        }
    }
}

impl WorkloadView {
    /// Whether its rollout is complete.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.rollout == Rollout::Settled
    }

    /// Every version it runs or asks for.
    pub fn live(&self) -> impl Iterator<Item = &Version> {
        self.running.keys().chain(&self.desired)
    }
}

impl ComponentView {
    /// Every version that counts as live at `now`: running, asked for, or admitted a moment ago.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Version> {
        let intents = self.intents.iter().filter(move |intent| intent.expires > now).map(|intent| &intent.version);
        self.workloads.iter().flat_map(WorkloadView::live).chain(intents)
    }

    /// Pods of each version, over all workloads.
    #[must_use]
    pub fn running(&self) -> BTreeMap<&Version, u32> {
        let mut running = BTreeMap::new();
        for (version, count) in self.workloads.iter().flat_map(|workload| &workload.running) {
            let pods: &mut u32 = running.entry(version).or_default();
            *pods = pods.saturating_add(*count);
        }
        running
    }

    /// Whether at least one pod of it runs.
    #[must_use]
    pub fn has_pods(&self) -> bool {
        self.workloads.iter().any(|workload| workload.running.values().any(|count| *count > 0))
    }

    /// Whether nothing is known of it, now or before.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.workloads.is_empty() && self.intents.is_empty() && self.recorded.is_none()
    }

    /// The first workload that is not made of what was asked for, with what it waits for, if only for the guard.
    #[must_use]
    pub fn incomplete(&self) -> Option<(&WorkloadId, &Missing)> {
        self.workloads.iter().find_map(|workload| match &workload.rollout {
            Rollout::Settled => None,
            Rollout::Progressing(missing) => Some((&workload.id, missing)),
        })
    }

    /// The first workload whose rollout is not complete, with what it waits for. A rollout that the guard holds has not
    /// begun: its pods are all of what was completed before, and whoever waits for them need not wait for it. Else two
    /// that are held could wait for each other.
    #[must_use]
    pub fn unsettled(&self) -> Option<(&WorkloadId, &Missing)> {
        self.workloads.iter().find_map(|workload| match &workload.rollout {
            Rollout::Settled | Rollout::Progressing(Missing::Held(_)) => None,
            Rollout::Progressing(missing) => Some((&workload.id, missing)),
        })
    }

    /// The last completed version: what is recorded, else the lowest version with pods, because a rollout in
    /// progress started from there.
    #[must_use]
    pub fn completed(&self, id: ComponentId, lines: &Lines) -> Option<&Version> {
        self.recorded.as_ref().or_else(|| {
            let placed = |version: &&Version| lines.span(id, version).is_ok();
            let running = self.workloads.iter().flat_map(|workload| workload.running.keys());
            running.filter(placed).min()
        })
    }

    /// The pods by version as people read them, newest first: `2.3.0 (1/2 pods), 2.2.0 (1/2)`.
    #[must_use]
    pub fn describe(&self) -> String {
        let running = self.running();
        let total: u64 = running.values().map(|count| u64::from(*count)).sum();
        if total == 0 {
            return "no pod runs".to_owned();
        }
        let mut parts = Vec::new();
        for (version, count) in running.iter().rev().filter(|(_, count)| **count > 0) {
            let unit = if parts.is_empty() { " pods" } else { "" };
            parts.push(format!("{version} ({count}/{total}{unit})"));
        }
        format!("running {}", parts.join(", "))
    }
}

impl View {
    /// A view of `policy` in which nothing is installed.
    #[must_use]
    pub fn empty(policy: &Policy) -> Self {
        Self { components: vec![ComponentView::default(); policy.components.len()], ..Self::default() }
    }

    /// The view in which whatever the hook does is done: what a planner may count on, because the hook runs before
    /// everything else.
    #[must_use]
    pub fn prepared(&self) -> Self {
        let mut prepared = Self { crds: None, preparations: None, ..self.clone() };
        if let Some(schema) = &mut prepared.schema {
            schema.hook_comes = true;
        }
        prepared
    }

    /// The component at `id`.
    #[must_use]
    pub fn component(&self, id: ComponentId) -> &ComponentView {
        &self.components[id.0]
    }

    /// The lines of everything live of the component at `id`, each version once, oldest first.
    #[must_use]
    pub fn live(&self, policy: &Policy, id: ComponentId, now: Timestamp) -> Vec<(&Version, Result<Span, Unplaced>)> {
        let versions: BTreeSet<&Version> = self.component(id).live(now).collect();
        versions.into_iter().map(|version| (version, policy.lines.span(id, version))).collect()
    }

    /// The view after `change` was applied and its rollout is complete: what a planner goes on from.
    ///
    /// A workload at zero pods stays at zero; one that did not exist gets one pod.
    #[must_use]
    pub fn after(&self, change: &Change) -> Self {
        let mut after = self.clone();
        for step in &change.moves {
            let component = &mut after.components[step.component.0];
            let position = component.workloads.iter().position(|workload| workload.id == change.workload);
            let old = position.map(|at| component.workloads.swap_remove(at));
            let pods =
                old.as_ref().map_or(1, |workload| workload.running.values().copied().fold(0, u32::saturating_add));
            let mut desired = old.map(|workload| workload.desired).unwrap_or_default();
            match desired.iter().position(|version| Some(version) == step.from.as_ref()) {
                Some(at) => desired[at] = step.to.clone(),
                None => desired.push(step.to.clone()),
            }
            component.workloads.push(WorkloadView {
                id: change.workload.clone(),
                running: desired.iter().map(|version| (version.clone(), pods)).filter(|(_, pods)| *pods > 0).collect(),
                desired,
                rollout: Rollout::Settled,
            });
            if component.unsettled().is_none() {
                component.recorded = component.workloads.iter().flat_map(|workload| &workload.desired).min().cloned();
            }
        }
        after
    }
}
