//! One policy over one namespace: which changes there are, and whether they have an order.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::report::{ChangeReport, InstallReport, MoveReport, RestartReport, ran_at_once};
use crate::cli::input::{database, unseen};
use crate::cli::reasons::reasons;
use crate::cluster::change::change;
use crate::cluster::files::Install;
use crate::cluster::inventory::versions;
use crate::cluster::record::WorkloadRecord;
use crate::domain::ahead::{add, missing};
use crate::domain::change::{Change, Move};
use crate::domain::decision::{Decision, Reason, Verdict, decide};
use crate::domain::planner::{plan, worst_first};
use crate::domain::policy::Policy;
use crate::domain::view::{View, WorkloadId};

/// A change with the records it is made of.
struct Asked {
    old: Option<WorkloadRecord>,
    new: WorkloadRecord,
    change: Change,
}

/// Judges what leads from `before` to `after` by the rules of `policy`.
pub(super) fn judge(
    policy: &Policy,
    before: &Install,
    after: &Install,
    now: Timestamp,
    at_once: bool,
) -> InstallReport {
    let mut report = InstallReport::new(policy);
    let mut view = before.inventory.view(policy, now);
    // CRDs of the same change count: engines apply them along with it, and before the rest.
    if let Some(crds) = after.inventory.crds() {
        view.crds.get_or_insert_default().extend(crds.clone());
    }
    report.unseen = unseen(policy, &view);
    report.database = database(&view, now);
    let asked = asked(policy, before, after, &mut report);
    let changes: Vec<Change> = asked.iter().map(|asked| asked.change.clone()).collect();
    let told = |index: usize| ChangeReport::of(policy, &asked[index]);
    let mut ahead = Vec::new();
    if at_once {
        for (index, change) in changes.iter().enumerate() {
            report.changes.push(told(index).judged(&decide(policy, &view, change, now)));
        }
        report.allowed = report.changes.iter().all(|change| change.verdict == Verdict::Allow.as_str());
        return report;
    }
    for change in &changes {
        add(&mut ahead, hook_first(policy, &view, change, now));
    }
    report.ahead = reasons(&ahead);
    // The hook runs before the sync.
    let view = view.prepared();
    let mut plan = plan(policy, &view, &changes, now);
    worst_first(&mut plan.stuck);
    for (number, step) in (1..).zip(&plan.steps) {
        let mut change = told(step.change).judged(&step.decision);
        change.step = Some(number);
        report.changes.push(change);
    }
    for stuck in &plan.stuck {
        let mut change = told(stuck.change).judged(&stuck.at_best);
        change.before = (stuck.before != stuck.at_best).then(|| reasons(&stuck.before.reasons));
        report.changes.push(change);
    }
    report.allowed = plan.is_complete();
    report.exhaustive = plan.exhaustive;
    if plan.is_complete() {
        report.all_at_once = ran_at_once(policy, &view, &changes, now);
    }
    report
}

/// What the hook has to do before `change`; what it can do nothing about stands in the way of the change itself.
fn hook_first(policy: &Policy, view: &View, change: &Change, now: Timestamp) -> impl Iterator<Item = Reason> {
    let left: Vec<Reason> = missing(policy, &view.prepared(), change, now).collect();
    missing(policy, view, change, now).filter(move |reason| !left.contains(reason))
}

/// The changes from `before` to `after`; what does not change is noted in `report`.
fn asked(policy: &Policy, before: &Install, after: &Install, report: &mut InstallReport) -> Vec<Asked> {
    let governed =
        |record: &WorkloadRecord| !versions(policy, &record.name, &record.labels, &record.template).is_empty();
    // Budgets and autoscalers of the same change count: engines apply them along with it, and most of them before.
    let mut inventory = before.inventory.clone();
    let mut with_change = after.inventory.clone();
    inventory.budgets_mut().append(with_change.budgets_mut());
    inventory.autoscalers_mut().append(with_change.autoscalers_mut());

    let mut asked = Vec::new();
    let mut present: BTreeSet<WorkloadId> = BTreeSet::new();
    for new in after.inventory.workloads() {
        present.insert(new.id());
        let old = before.inventory.workload(&new.id());
        let new = completed(new, old, after);
        match change(policy, &inventory, old, &new) {
            Some(change) => asked.push(Asked { old: old.cloned(), new, change }),
            None if governed(&new) => report.unchanged.push(told_unchanged(policy, &new)),
            None => report.not_governed += 1,
        }
    }
    let gone = before.inventory.workloads().filter(|old| !present.contains(&old.id()) && governed(old));
    report.removed = gone.map(|old| old.id().to_string()).collect();
    asked
}

/// The manifest with what it leaves to the cluster taken from the cluster: applying it changes none of that.
fn completed(new: &WorkloadRecord, old: Option<&WorkloadRecord>, after: &Install) -> WorkloadRecord {
    let mut new = new.clone();
    let unstated = after.unstated.get(&new.id()).copied().unwrap_or_default();
    // Two manifests are compared as they are: what the later one leaves out, the cluster resets.
    if let Some(old) = old.filter(|old| old.pods.is_some() || !old.uid.is_empty()) {
        if unstated.replicas {
            new.replicas = old.replicas;
        }
        if unstated.paused {
            new.paused = old.paused;
        }
    }
    new
}

fn told_unchanged(policy: &Policy, record: &WorkloadRecord) -> ChangeReport {
    let mut report = ChangeReport::named(record);
    for (id, found) in versions(policy, &record.name, &record.labels, &record.template) {
        report.moves.push(MoveReport {
            component: policy.component(id).name.clone(),
            from: Some(found.version.to_string()),
            to: found.version.to_string(),
            known_by: found.source.as_ref().map(ToString::to_string),
        });
    }
    report
}

impl ChangeReport {
    fn named(record: &WorkloadRecord) -> Self {
        Self { workload: record.id().to_string(), verdict: Verdict::Allow.as_str(), ..Self::default() }
    }

    fn of(policy: &Policy, asked: &Asked) -> Self {
        let Asked { old, new, change } = asked;
        let known = versions(policy, &new.name, &new.labels, &new.template);
        let told = |step: &Move| MoveReport {
            component: policy.component(step.component).name.clone(),
            from: step.from.as_ref().map(ToString::to_string),
            to: step.to.to_string(),
            known_by: known
                .iter()
                .find(|(id, found)| *id == step.component && found.version == step.to)
                .and_then(|(_, found)| found.source.as_ref().map(ToString::to_string)),
        };
        let restarts = change.restarts.iter().map(|restart| RestartReport {
            component: policy.component(restart.component).name.clone(),
            on: restart.version.clone(),
        });
        Self {
            moves: change.moves.iter().map(told).collect(),
            restarts: restarts.collect(),
            replicas: old.as_ref().map(|old| [old.replicas, new.replicas]).filter(|[from, to]| from != to),
            ..Self::named(new)
        }
    }

    fn judged(mut self, decision: &Decision) -> Self {
        self.verdict = decision.verdict.as_str();
        self.reasons = reasons(&decision.reasons);
        self.warnings = reasons(&decision.warnings);
        self.audits = reasons(&decision.audits);
        self
    }
}
