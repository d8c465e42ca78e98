//! `UG-ZERODOWNTIME`: enough pods keep serving while others are replaced.

use crate::domain::change::{Budget, Capacity, KeptPods};
use crate::domain::decision::{Finding, Verdict};
use crate::domain::policy::Policy;

/// What is missing for an upgrade without downtime. Waiting mends none of it, so every finding is `Never`.
pub(crate) fn check(policy: &Policy, capacity: &Capacity) -> Vec<Finding> {
    let least = policy.min_replicas;
    let mut found = Vec::new();
    let mut lacks = |what: &str, facts: String, remedy: String| {
        found.push(Finding::new(Verdict::Never, what, facts, remedy));
    };
    if capacity.replicas < least {
        lacks(
            "has too few replicas",
            format!("{} asked for, {least} needed", capacity.replicas),
            format!("Set replicas to {least} or more."),
        );
    }
    if let Some((name, minimum)) = capacity.autoscaler.as_ref().filter(|(_, minimum)| *minimum < least) {
        lacks(
            "may be scaled to too few replicas",
            format!("HorizontalPodAutoscaler {name} may go to {minimum}, {least} needed"),
            format!("Set its minReplicas to {least} or more."),
        );
    }
    if capacity.only_replicas {
        return found;
    }
    match &capacity.budget {
        Budget::Allows => {}
        Budget::None => lacks(
            "has no disruption budget",
            "no PodDisruptionBudget selects its pods".into(),
            "Add one with minAvailable 1 (or maxUnavailable 1).".into(),
        ),
        Budget::Blocks(name) => lacks(
            "can never be disrupted",
            format!("PodDisruptionBudget {name} allows no disruption"),
            "Let it allow one disruption: until then node drains wait for ever.".into(),
        ),
    }
    if !capacity.readiness_probe {
        lacks(
            "has no readiness probe",
            "traffic would reach new pods before they can serve".into(),
            "Add a readinessProbe to its container.".into(),
        );
    }
    match capacity.kept_by_strategy {
        KeptPods::Recreate => lacks(
            "stops all pods before it starts new ones",
            "the update strategy is Recreate".into(),
            "Use RollingUpdate.".into(),
        ),
        KeptPods::AtLeast(0) if capacity.replicas > 0 => lacks(
            "keeps no pod serving during a rollout",
            "the update strategy lets all pods be unavailable at once".into(),
            "Lower maxUnavailable.".into(),
        ),
        KeptPods::AtLeast(_) | KeptPods::OneByOne => {}
    }
    found
}
