//! What is known of each component.

use std::collections::BTreeSet;

use super::{LONGEST_NAME, LONGEST_TEXT, Scene, clip, drift, most, shown, written};
use crate::api::{PlatformComponentStatus, PlatformWorkload, RunningVersion};
use crate::domain::line::Span;
use crate::domain::policy::ComponentId;
use crate::domain::version::Version;
use crate::domain::view::{ComponentView, Missing, Rollout, WorkloadView};

pub(super) fn all(scene: &Scene<'_>, seen: &drift::Digests) -> Vec<PlatformComponentStatus> {
    let governed = scene.policy.ids().filter_map(|id| one(scene, seen, id));
    let gone = scene.old.components.iter().filter(|old| scene.policy.component_named(&old.name).is_none());
    governed.chain(gone.filter_map(remembered)).take(most::COMPONENTS).collect()
}

/// What stays of a component that nobody governs any more: what it completed.
pub(super) fn remembered(old: &PlatformComponentStatus) -> Option<PlatformComponentStatus> {
    let completed = Some(old.completed.clone()?);
    Some(PlatformComponentStatus { name: old.name.clone(), completed, ..PlatformComponentStatus::default() })
}

fn one(scene: &Scene<'_>, seen: &drift::Digests, id: ComponentId) -> Option<PlatformComponentStatus> {
    let view = scene.view.component(id);
    let name = scene.name(id);
    let old = scene.before(name);
    // What can be told is never forgotten for what cannot.
    let completed = view.recorded.as_ref().filter(|version| version.known().is_some()).map(shown);
    let completed = completed.or_else(|| old?.completed.clone());
    let own_intents = scene.intents.iter().filter(|intent| intent.component == name);
    let mut workloads: BTreeSet<PlatformWorkload> =
        view.workloads.iter().map(|workload| written(&workload.id)).collect();
    workloads.extend(own_intents.filter_map(|intent| intent.workload.clone()));
    if view.is_absent() && completed.is_none() && workloads.is_empty() {
        return None;
    }
    let (lowest, highest) = ends(scene, id, view);
    Some(PlatformComponentStatus {
        name: name.to_owned(),
        completed,
        lowest,
        highest,
        desired: asked(view).into_iter().take(most::VERSIONS).map(shown).collect(),
        running: running(scene, seen, id),
        settled: view.incomplete().is_none(),
        held: view.workloads.iter().any(|workload| held_from(workload).is_some()),
        waits_for: view.incomplete().map(|(workload, missing)| {
            let several = view.workloads.len() > 1;
            clip(&if several { format!("{workload}: {missing}") } else { missing.to_string() }, LONGEST_TEXT)
        }),
        workloads: workloads.into_iter().take(most::WORKLOADS).collect(),
    })
}

/// The versions that the guard holds a workload back from.
pub(super) fn held_from(workload: &WorkloadView) -> Option<&[Version]> {
    match &workload.rollout {
        Rollout::Progressing(Missing::Held(to)) => Some(to),
        _ => None,
    }
}

/// The versions asked for, in effect or held back.
pub(super) fn asked(view: &ComponentView) -> BTreeSet<&Version> {
    view.workloads.iter().flat_map(|workload| held_from(workload).unwrap_or(&workload.desired)).collect()
}

/// The names of the lowest and the highest line of what is live.
fn ends(scene: &Scene<'_>, id: ComponentId, view: &ComponentView) -> (Option<String>, Option<String>) {
    let lines = &scene.policy.lines;
    let placed = |version: &Version| lines.span(id, version).ok();
    let mut spans: Vec<Span> = view.live(scene.now).filter_map(placed).collect();
    spans.sort_by_key(|span| (span.asks().position(), span.serves().position()));
    let name = |line| clip(&lines.name(id, line), LONGEST_NAME);
    (spans.first().map(|span| name(span.asks())), spans.last().map(|span| name(span.serves())))
}

fn running(scene: &Scene<'_>, seen: &drift::Digests, id: ComponentId) -> Vec<RunningVersion> {
    let old = scene.before(scene.name(id)).map_or(&[][..], |old| &old.running);
    let running = scene.view.component(id).running().into_iter().filter(|(_, pods)| *pods > 0);
    let running = running.map(|(version, pods)| {
        let (text, mut images) = (shown(version), seen.of_version(id, version));
        // Pods that do not run yet take nothing away from what is known.
        if images.is_empty() {
            images = old.iter().find(|old| old.version == text).map(|old| old.images.clone()).unwrap_or_default();
        }
        RunningVersion { version: text, pods: i32::try_from(pods).unwrap_or(i32::MAX), images }
    });
    running.take(most::VERSIONS).collect()
}
