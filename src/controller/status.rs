//! What a `Platform` says: a function of what it said before and of what is seen now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    Direction, Platform, PlatformComponentStatus, PlatformGate, PlatformIntent, PlatformSpec, PlatformStatus,
    PlatformViolation, PlatformWorkload,
};
use crate::cluster::inventory::{Inventory, UNKNOWN_REVISION};
use crate::domain::gates::{Gate, Way, gates};
use crate::domain::intent::Evidence;
use crate::domain::policy::{ComponentId, Mode, Policy};
use crate::domain::rules::Rule;
use crate::domain::state;
use crate::domain::text::tame;
use crate::domain::version::Version;
use crate::domain::view::{View, WorkloadId};

mod blocked;
mod components;
mod conditions;
mod drift;
mod history;
mod next;
#[cfg(test)]
mod tests;

/// The most entries that the schema takes of each list.
mod most {
    pub(super) const COMPONENTS: usize = 32;
    pub(super) const VERSIONS: usize = 64;
    pub(super) const WORKLOADS: usize = 64;
    pub(super) const IMAGES: usize = 16;
    pub(super) const GATES: usize = 64;
    pub(super) const NEXT: usize = 32;
    pub(super) const BLOCKED: usize = 32;
    pub(super) const VIOLATIONS: usize = 32;
    pub(super) const INTENTS: usize = 64;
    pub(super) const HISTORY: usize = 50;
    pub(super) const FINDINGS: usize = 16;
}

/// The longest message, in characters.
const LONGEST_TEXT: usize = 1024;
/// The longest version or name, in characters.
const LONGEST_NAME: usize = 253;

/// What pods run, as far as their statuses tell.
pub type PodImages = BTreeMap<WorkloadId, Vec<PodImage>>;

/// One governed container of one pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodImage {
    /// The container's name.
    pub container: String,
    /// Its image, as the pod's spec has it.
    pub image: String,
    /// What it runs, as the pod's status has it (`imageID`), with or without a scheme in front; empty before it runs.
    pub image_id: String,
}

/// What is seen of one install at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The policy that governs it.
    pub policy: &'a Policy,
    /// What is known of its namespace. It may be older than the status that it is held against.
    pub inventory: &'a Inventory,
    /// What its pods run.
    pub images: &'a PodImages,
    /// The `metadata.generation` of the Platform.
    pub generation: i64,
    /// The time.
    pub now: Timestamp,
}

/// Something to tell as an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it is about.
    pub about: About,
    /// Whether it is a warning.
    pub warning: bool,
    /// Why, as one word.
    pub reason: &'static str,
    /// What happened. It is the same text for the same facts.
    pub note: String,
}

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The Platform.
    Platform,
    /// A workload of its namespace.
    Workload(WorkloadId),
}

/// What a status becomes, and what there is to tell of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Advanced {
    /// The new status.
    pub status: PlatformStatus,
    /// What happened since the old one.
    pub told: Vec<Told>,
}

/// Everything that the parts of a status are made of.
struct Scene<'a> {
    policy: &'a Policy,
    /// The namespace, with the status as it is stored now.
    inventory: Inventory,
    images: &'a PodImages,
    old: &'a PlatformStatus,
    /// The intents that have not ended.
    intents: Vec<PlatformIntent>,
    view: View,
    gates: Vec<Gate>,
    /// In whole seconds, as a status keeps them.
    now: Timestamp,
}

impl<'a> Scene<'a> {
    fn new(sight: &Sight<'a>, old: &'a PlatformStatus) -> Self {
        let policy = sight.policy;
        let now = Timestamp::from_second(sight.now.as_second()).unwrap_or(sight.now);
        let mut inventory = sight.inventory.clone();
        // What is stored counts, not what a watch showed of it a while ago.
        let platforms = inventory.platforms_mut();
        let known = platforms.remove(&policy.name).filter(|platform| platform.spec.policy == policy.name);
        platforms.retain(|_, platform| platform.spec.policy != policy.name);
        let acknowledged = known.map(|platform| platform.spec.acknowledged).unwrap_or_default();
        let mut platform = Platform::new(&policy.name, PlatformSpec { policy: policy.name.clone(), acknowledged });
        platform.status = Some(old.clone());
        platforms.insert(policy.name.clone(), platform);
        let evidence = |intent: &PlatformIntent| match policy.component_named(&intent.component) {
            Some(id) => inventory.evidence(policy, id, intent),
            // The policy has no such component any more.
            None => Evidence::gone(true),
        };
        let counting = old.intents.iter().filter(|intent| !evidence(intent).ends(intent.expires.0, now));
        let intents: Vec<PlatformIntent> = counting.take(most::INTENTS).cloned().collect();
        let view = inventory.view(policy, now);
        let gates = gates(policy, &view, now);
        Self { policy, inventory, images: sight.images, old, intents, view, gates, now }
    }

    fn name(&self, id: ComponentId) -> &'a str {
        &self.policy.component(id).name
    }

    fn time(&self) -> Time {
        Time(self.now)
    }

    /// What the status said of the component before.
    fn before(&self, component: &str) -> Option<&'a PlatformComponentStatus> {
        self.old.components.iter().find(|old| old.name == component)
    }
}

/// The status after `old`, from what is seen now, and what happened in between.
///
/// `old` must be the status as it is stored, and the result must be written only if it still is: webhook replicas write
/// intents and refusals in between. Asked again with the status that it gave, it changes nothing and tells nothing.
#[must_use]
pub fn advance(sight: &Sight<'_>, old: &PlatformStatus) -> Advanced {
    let scene = Scene::new(sight, old);
    let mut told = Vec::new();
    let seen = drift::Digests::of(&scene);
    let components = components::all(&scene, &seen);
    let mut status = PlatformStatus {
        observed_generation: Some(sight.generation),
        release: next::release(&scene),
        gates: scene.gates.iter().take(most::GATES).map(|gate| shown_gate(&scene, gate)).collect(),
        blocked: blocked::all(&scene),
        // What happened is told before what it led to.
        history: history::advanced(&scene, &components, &drift::moves(&scene, &seen), &mut told),
        violations: violations(&scene, &seen, &mut told),
        intents: scene.intents.clone(),
        preparations: old.preparations.clone(),
        database: old.database.clone(),
        components,
        ..PlatformStatus::default()
    };
    status.next = next::steps(&scene, &status);
    status.summary = Some(next::summary(&scene, &status));
    status.conditions = conditions::all(&scene, &status, sight.generation);
    Advanced { status, told }
}

/// What the status becomes when its policy is gone: nothing in it pretends to be current, and what was completed and
/// what happened before stays.
#[must_use]
pub fn orphaned(old: &PlatformStatus, now: Timestamp) -> PlatformStatus {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    PlatformStatus {
        observed_generation: old.observed_generation,
        conditions: conditions::of_orphan(old, now),
        summary: Some("Not governed: its UpgradePolicy is gone".to_owned()),
        components: old.components.iter().filter_map(components::remembered).collect(),
        history: old.history.clone(),
        preparations: old.preparations.clone(),
        database: old.database.clone(),
        ..PlatformStatus::default()
    }
}

fn shown_gate(scene: &Scene<'_>, gate: &Gate) -> PlatformGate {
    let reason = gate.reason();
    PlatformGate {
        component: scene.name(gate.component).to_owned(),
        direction: match gate.way {
            Way::Up => Direction::Up,
            Way::Down => Direction::Down,
        },
        to: clip(&scene.policy.lines.title(gate.line), LONGEST_NAME),
        open: gate.is_open(),
        rule: reason.as_ref().map(|(rule, _)| rule.to_string()),
        message: reason.map(|(_, message)| clip(&message, LONGEST_TEXT)),
    }
}

/// What is against the rules now, each with when it was found first.
fn violations(scene: &Scene<'_>, seen: &drift::Digests, told: &mut Vec<Told>) -> Vec<PlatformViolation> {
    // Pods of a revision that is not known yet are nothing to report while their workload rolls.
    let passing = |violation: &state::Violation| {
        violation.version == Version::Unknown(UNKNOWN_REVISION.to_owned())
            && scene.view.component(violation.component).unsettled().is_some()
    };
    let found = state::violations(scene.policy, &scene.view, scene.now).into_iter();
    let found = found.filter(|violation| !passing(violation)).map(|one| (one.component, one.rule, one.what));
    let drifted = seen.violations(scene).into_iter().map(|(id, what)| (id, Rule::Version, what));
    let mut all = Vec::new();
    for (id, rule, what) in found.chain(drifted).take(most::VIOLATIONS) {
        let (component, rule, message) = (scene.name(id).to_owned(), rule.to_string(), clip(&what, LONGEST_TEXT));
        let mut old = scene.old.violations.iter();
        let same = old.find(|old| {
            old.component == component
                && old.rule == rule
                && drift::uncounted(&old.message) == drift::uncounted(&message)
        });
        if same.is_none() {
            let note = format!("[{rule}] {component} {}", drift::uncounted(&message));
            told.push(Told { about: About::Platform, warning: true, reason: "Violation", note });
        }
        let since = same.map_or_else(|| scene.time(), |old| old.since.clone());
        all.push(PlatformViolation { component, rule, message, since });
    }
    all
}

/// Whether the policy enforces the rule with this code.
fn is_enforced(policy: &Policy, code: &str) -> bool {
    Rule::with_code(code).is_some_and(|rule| policy.mode_of(rule) == Mode::Enforce)
}

/// A workload's id as a status has it.
fn written(id: &WorkloadId) -> PlatformWorkload {
    PlatformWorkload { kind: id.kind.clone(), name: id.name.clone() }
}

/// A version as a status has it.
fn shown(version: &Version) -> String {
    clip(&version.to_string(), LONGEST_NAME)
}

/// `text` on one line of at most `longest` characters.
fn clip(text: &str, longest: usize) -> String {
    let text = tame(text);
    if text.chars().count() <= longest {
        return text;
    }
    text.chars().take(longest.saturating_sub(3)).chain("...".chars()).collect()
}
