//! Changes that were refused or are held.

use jiff::SignedDuration;

use super::components::held_from;
use super::{LONGEST_TEXT, Scene, clip, most, shown, written};
use crate::api::{PlatformBlock, PlatformWorkload};
use crate::cluster::change::change;
use crate::cluster::record::WorkloadRecord;
use crate::domain::change::{Change, Move};
use crate::domain::decision::{Decision, Verdict, decide};
use crate::domain::policy::ComponentId;
use crate::domain::rules::Rule;
use crate::domain::version::Version;
use crate::domain::view::{WorkloadId, WorkloadView};

/// A refusal that nobody met for this long is given up.
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(1);
/// A refusal that would be none any more is kept this long after it was met last.
const LEGAL_NOW: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn all(scene: &Scene<'_>) -> Vec<PlatformBlock> {
    let held = scene.policy.ids().flat_map(|id| {
        let workloads = scene.view.component(id).workloads.iter();
        workloads.filter_map(move |workload| held(scene, id, workload))
    });
    let refused = scene.old.blocked.iter().filter(|block| !block.held && !is_over(scene, block)).cloned();
    held.chain(refused).take(most::BLOCKED).collect()
}

/// The entry of a workload that the guard holds.
fn held(scene: &Scene<'_>, id: ComponentId, view: &WorkloadView) -> Option<PlatformBlock> {
    let to = held_from(view)?.first();
    let (component, workload) = (scene.name(id).to_owned(), written(&view.id));
    let mut old = scene.old.blocked.iter();
    let old = old.find(|old| old.held && old.component == component && old.workload == workload);
    let record = scene.inventory.workload(&view.id)?;
    let decision = resumed(scene, record);
    let own = decision.reasons.iter().find(|reason| reason.component == component);
    let (rule, verdict, message) = if let Some(reason) = own.or_else(|| decision.reasons.first()) {
        (reason.rule.to_string(), reason.verdict, format!("{}: {}", reason.what, reason.facts))
    } else {
        let rule = old.map_or_else(|| Rule::Order.to_string(), |old| old.rule.clone());
        (rule, Verdict::NotYet, "is legal now, the guard lets it go on".to_owned())
    };
    Some(PlatformBlock {
        component,
        workload,
        from: view.desired.first().map(shown),
        to: to.map(shown),
        rule,
        verdict: verdict.to_string(),
        message: clip(&message, LONGEST_TEXT),
        held: true,
        since: old.map_or_else(|| scene.time(), |old| old.since.clone()),
        last_seen: old.map_or_else(|| scene.time(), |old| old.last_seen.clone()),
    })
}

/// What the rules say of letting a held workload go on.
fn resumed(scene: &Scene<'_>, held: &WorkloadRecord) -> Decision {
    let released = WorkloadRecord { paused: false, kept_back: 0, held: false, ..held.clone() };
    let change = change(scene.policy, &scene.inventory, Some(held), &released);
    Decision::of_all(change.iter().map(|change| decide(scene.policy, &scene.view, change, scene.now)))
}

/// Whether a refusal is no longer worth telling: it was met, given up, or would be none any more.
fn is_over(scene: &Scene<'_>, block: &PlatformBlock) -> bool {
    let age = scene.now.duration_since(block.last_seen.0);
    if age >= GIVEN_UP {
        return true;
    }
    let (Some(to), Some(id)) = (&block.to, scene.policy.component_named(&block.component)) else { return false };
    let (to, PlatformWorkload { kind, name }) = (Version::read(to), block.workload.clone());
    let workload = WorkloadId { kind, name };
    let shown = scene.view.component(id).workloads.iter().find(|shown| shown.id == workload);
    let met = |shown: &WorkloadView| held_from(shown).unwrap_or(&shown.desired).contains(&to);
    if shown.is_some_and(met) {
        return true;
    }
    let from: Vec<Option<Version>> = match shown {
        Some(shown) => shown.desired.iter().cloned().map(Some).collect(),
        None => vec![None],
    };
    let moves = from.into_iter().map(|from| Move::new(id, from, to.clone())).collect();
    let change = Change { workload, moves, restarts: vec![], capacity: None };
    age >= LEGAL_NOW && decide(scene.policy, &scene.view, &change, scene.now).verdict == Verdict::Allow
}
