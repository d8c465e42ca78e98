//! A plan as data: the text, the JSON and the flowchart are made of this.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::reasons::{ReasonReport, reasons};
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::route::{Blocked, Route, Step, Wait};
use crate::domain::version::Version;
use crate::domain::view::Missing;

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Whether every install has a way.
    pub(super) found: bool,
    /// One for each policy in each namespace.
    pub(super) installs: Vec<InstallReport>,
    /// What else a reader should know.
    pub(super) notes: Vec<String>,
}

/// The answer for one policy in one namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstallReport {
    pub(super) namespace: String,
    pub(super) policy: String,
    pub(super) targets: BTreeMap<String, String>,
    pub(super) found: bool,
    /// In their order; where no way was found, those of the furthest attempt.
    pub(super) steps: Vec<StepReport>,
    /// What stands in the way after the steps, the worst first.
    pub(super) blocked: Vec<BlockedReport>,
    /// Where no way was found: whether that is because there is none.
    pub(super) exhaustive: bool,
    /// States that were searched.
    pub(super) states: usize,
}

/// One step.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(super) enum StepReport {
    /// Rollouts that have to complete before anything else.
    Wait { rollouts: Vec<WaitReport> },
    /// A component's move; the next step begins when its rollout is complete.
    Move(MoveReport),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WaitReport {
    pub(super) component: String,
    pub(super) workload: Option<String>,
    pub(super) to: Vec<String>,
    pub(super) missing: String,
    /// What to do where waiting alone does not help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MoveReport {
    pub(super) component: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) workloads: Vec<String>,
    /// Whether the component was named as a target; else it moves so that the others can.
    pub(super) named: bool,
    /// Whether this is a hop on the way, where any version of the line will do.
    pub(super) intermediate: bool,
    pub(super) warnings: Vec<ReasonReport>,
}

/// A move that is not admitted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockedReport {
    pub(super) component: String,
    pub(super) workload: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) named: bool,
    pub(super) verdict: &'static str,
    pub(super) reasons: Vec<ReasonReport>,
}

impl InstallReport {
    pub(super) fn of(policy: &Policy, targets: &BTreeMap<ComponentId, Version>, route: &Route) -> Self {
        let name = |id: ComponentId| policy.component(id).name.clone();
        let moved = |step: &Step| StepReport::Move(MoveReport::of(name(step.component), targets, step));
        let mut steps: Vec<StepReport> = route.first.iter().map(moved).collect();
        if !route.waits.is_empty() {
            let rollouts = route.waits.iter().map(|wait| WaitReport::of(name(wait.component), wait));
            steps.push(StepReport::Wait { rollouts: rollouts.collect() });
        }
        steps.extend(route.steps.iter().map(moved));
        Self {
            namespace: String::new(),
            policy: policy.name.clone(),
            targets: targets.iter().map(|(id, version)| (name(*id), version.to_string())).collect(),
            found: route.found,
            steps,
            blocked: route.blocked.iter().map(|blocked| BlockedReport::of(name(blocked.component), blocked)).collect(),
            exhaustive: route.exhaustive,
            states: route.states,
        }
    }

    /// The steps that move something.
    pub(super) fn moves(&self) -> impl Iterator<Item = &MoveReport> {
        self.steps.iter().filter_map(|step| match step {
            StepReport::Move(moved) => Some(moved),
            StepReport::Wait { .. } => None,
        })
    }
}

impl WaitReport {
    fn of(component: String, wait: &Wait) -> Self {
        let remedy = match wait.missing {
            Missing::DeadlineExceeded => {
                Some("It will not complete by itself: give it another patch of its line, or undo it and plan again.")
            }
            Missing::Paused => Some("Resume it, or undo it and plan again."),
            _ => None,
        };
        Self {
            component,
            workload: wait.workload.as_ref().map(ToString::to_string),
            to: wait.to.iter().map(ToString::to_string).collect(),
            missing: wait.missing.to_string(),
            remedy: remedy.filter(|_| wait.is_stuck()),
        }
    }
}

impl MoveReport {
    fn of(component: String, targets: &BTreeMap<ComponentId, Version>, step: &Step) -> Self {
        let mut warnings: Vec<ReasonReport> = Vec::new();
        for warning in step.changes.iter().flat_map(|(_, decision)| reasons(&decision.warnings)) {
            if warnings.iter().all(|other| other.text != warning.text) {
                warnings.push(warning);
            }
        }
        Self {
            component,
            from: step.from.to_string(),
            to: step.to.to_string(),
            workloads: step.changes.iter().map(|(change, _)| change.workload.to_string()).collect(),
            named: step.named,
            intermediate: targets.get(&step.component) != Some(&step.to),
            warnings,
        }
    }
}

impl BlockedReport {
    fn of(component: String, blocked: &Blocked) -> Self {
        Self {
            component,
            workload: blocked.workload.to_string(),
            from: blocked.from.to_string(),
            to: blocked.to.to_string(),
            named: blocked.named,
            verdict: blocked.decision.verdict.as_str(),
            reasons: reasons(&blocked.decision.reasons),
        }
    }
}
