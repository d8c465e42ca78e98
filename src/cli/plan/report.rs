//! A plan as data: the text, the JSON and the flowchart are made of this.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cli::reasons::{ReasonReport, reasons};
use crate::domain::ahead::Ahead;
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
    /// At which revision the database is, and how old that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<String>,
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
    /// What the hook, and whoever reads what is new, has to do before the steps that follow.
    Ahead(AheadReport),
    /// Rollouts that have to complete before anything else.
    Wait { rollouts: Vec<WaitReport> },
    /// A component's move; the next step begins when its rollout is complete.
    Move(MoveReport),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AheadReport {
    /// The release that the steps lead to, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release: Option<String>,
    /// The versions that they lead to.
    pub(super) versions: BTreeMap<String, String>,
    /// What the rules find missing.
    pub(super) missing: Vec<ReasonReport>,
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
    pub(super) fn of(
        policy: &Policy,
        targets: &BTreeMap<ComponentId, Version>,
        route: &Route,
        ahead: &[Ahead],
    ) -> Self {
        let name = |id: ComponentId| policy.component(id).name.clone();
        let moved = |(position, step): (usize, &Step)| {
            let before = ahead.iter().find(|ahead| ahead.before == position);
            let before = before.map(|ahead| StepReport::Ahead(AheadReport::of(policy, ahead)));
            let moved = StepReport::Move(MoveReport::of(name(step.component), targets, step));
            before.into_iter().chain([moved])
        };
        let mut steps: Vec<StepReport> = route.first.iter().enumerate().flat_map(moved).collect();
        if !route.waits.is_empty() {
            let rollouts = route.waits.iter().map(|wait| WaitReport::of(name(wait.component), wait));
            steps.push(StepReport::Wait { rollouts: rollouts.collect() });
        }
        steps.extend((route.first.len()..).zip(&route.steps).flat_map(moved));
        Self {
            namespace: String::new(),
            policy: policy.name.clone(),
            targets: targets.iter().map(|(id, version)| (name(*id), version.to_string())).collect(),
            database: None,
            found: route.found,
            steps,
            blocked: route.blocked.iter().map(|blocked| BlockedReport::of(name(blocked.component), blocked)).collect(),
            exhaustive: route.exhaustive,
            states: route.states,
        }
    }

    /// How many steps there are, without what is to be done before them.
    pub(super) fn counted(&self) -> usize {
        self.steps.iter().filter(|step| !matches!(step, StepReport::Ahead(_))).count()
    }

    /// The steps that move something.
    pub(super) fn moves(&self) -> impl Iterator<Item = &MoveReport> {
        self.steps.iter().filter_map(|step| match step {
            StepReport::Move(moved) => Some(moved),
            StepReport::Wait { .. } | StepReport::Ahead(_) => None,
        })
    }
}

impl AheadReport {
    fn of(policy: &Policy, ahead: &Ahead) -> Self {
        let release = |(id, version): &(ComponentId, Version)| {
            let line = policy.lines.span(*id, version).ok()?.asks();
            (!policy.lines.releases().is_empty()).then(|| policy.lines.title(line))
        };
        let mut releases: Vec<Option<String>> = ahead.versions.iter().map(release).collect();
        releases.dedup();
        let name = |(id, version): &(ComponentId, Version)| (policy.component(*id).name.clone(), version.to_string());
        Self {
            release: releases.pop().flatten().filter(|_| releases.is_empty()),
            versions: ahead.versions.iter().map(name).collect(),
            missing: reasons(&ahead.missing),
        }
    }

    /// What the hook is to be run for: `release 2026.07`, or `2.3.0`.
    pub(super) fn target(&self) -> String {
        if let Some(release) = &self.release {
            return format!("release {release}");
        }
        let distinct: BTreeSet<&str> = self.versions.values().map(String::as_str).collect();
        match distinct.first() {
            Some(only) if distinct.len() == 1 => (*only).to_owned(),
            _ => {
                let all = self.versions.iter().map(|(name, version)| format!("{name} {version}"));
                all.collect::<Vec<_>>().join(", ")
            }
        }
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
