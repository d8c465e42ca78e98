//! What moved, newest first.

use super::drift::{self, Moved};
use super::{About, LONGEST_TEXT, Scene, Told, clip, most, shown};
use crate::api::{Outcome, PlatformComponentStatus, PlatformHistoryEntry, PlatformIntent};
use crate::domain::policy::ComponentId;
use crate::domain::version::Version;

pub(super) fn advanced(
    scene: &Scene<'_>,
    components: &[PlatformComponentStatus],
    moved: &[Moved],
    told: &mut Vec<Told>,
) -> Vec<PlatformHistoryEntry> {
    let mut history = History { scene, entries: scene.old.history.clone(), told };
    for id in scene.policy.ids() {
        let now = components.iter().find(|component| component.name == scene.name(id));
        history.give_up(id);
        for version in begun(scene, id, now) {
            history.begin(id, version);
        }
        history.complete(id);
    }
    for moved in moved {
        history.tag_moved(moved);
    }
    history.end_tag_moves(components);
    bounded(history.entries)
}

/// The versions that a component asks for and did not before, where it is not seen for the first time.
fn begun<'s>(scene: &'s Scene<'_>, id: ComponentId, now: Option<&PlatformComponentStatus>) -> Vec<&'s Version> {
    let name = scene.name(id);
    let Some(old) = scene.before(name) else { return first_seen(scene, id) };
    if old.completed.is_none() && old.desired.is_empty() && old.running.is_empty() {
        return first_seen(scene, id);
    }
    let was_asked = |text: &String| {
        // What was held back had no effect: it begins when it is let go.
        if old.held { old.running.iter().any(|old| old.version == *text) } else { old.desired.contains(text) }
    };
    let recreated = |text: &String| old.desired.is_empty() && old.completed.as_ref() == Some(text);
    let open = |text: &String| scene.old.history.iter().any(|entry| is_open(entry, name) && entry.to == *text);
    let asked = in_effect(scene, id).into_iter().filter(|version| {
        let text = shown(version);
        !was_asked(&text) && !recreated(&text) && !open(&text) && !is_renamed(&text, old, now)
    });
    asked.collect()
}

/// A first install is where history begins, not a part of it; an override is remembered all the same.
fn first_seen<'s>(scene: &'s Scene<'_>, id: ComponentId) -> Vec<&'s Version> {
    let overridden = |version: &&Version| {
        let text = shown(version);
        let intent = intent_for(scene, id, &text);
        let known = scene.old.history.iter().any(|entry| entry.component == scene.name(id) && entry.to == text);
        intent.is_some_and(|intent| intent.overridden.is_some()) && !known
    };
    in_effect(scene, id).into_iter().filter(overridden).collect()
}

/// The versions that a component asks for, without what the guard holds back; oldest first.
fn in_effect<'s>(scene: &'s Scene<'_>, id: ComponentId) -> Vec<&'s Version> {
    let workloads = scene.view.component(id).workloads.iter();
    let mut versions: Vec<&Version> = workloads.flat_map(|workload| &workload.desired).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// Whether the same images only have another name than before: a release lists them since.
fn is_renamed(text: &str, old: &PlatformComponentStatus, now: Option<&PlatformComponentStatus>) -> bool {
    let running = now.and_then(|now| now.running.iter().find(|running| running.version == text));
    running.is_some_and(|running| {
        let among = |other: &[String]| running.images.iter().all(|image| other.contains(image));
        !running.images.is_empty() && old.running.iter().any(|other| among(&other.images))
    })
}

/// The newest intent of a component for a version.
fn intent_for<'s>(scene: &'s Scene<'_>, id: ComponentId, version: &str) -> Option<&'s PlatformIntent> {
    let own = scene.old.intents.iter().filter(|intent| intent.component == scene.name(id) && intent.to == version);
    own.max_by_key(|intent| intent.at.clone())
}

/// Whether the entry is a move of this component to another version that is not complete.
fn is_open(entry: &PlatformHistoryEntry, component: &str) -> bool {
    entry.component == component && entry.outcome == Outcome::Rolling && drift::version_with_digest(&entry.to).is_none()
}

/// What a move is called in an Event.
fn described(entry: &PlatformHistoryEntry) -> String {
    let PlatformHistoryEntry { component, from, to, .. } = entry;
    match from.as_ref().filter(|from| *from != to) {
        Some(from) => format!("{component} {from} -> {to}"),
        None => format!("{component} {to}"),
    }
}

struct History<'a, 's> {
    scene: &'s Scene<'s>,
    entries: Vec<PlatformHistoryEntry>,
    told: &'a mut Vec<Told>,
}

impl History<'_, '_> {
    fn tell(&mut self, about: About, warning: bool, reason: &'static str, note: &str) {
        self.told.push(Told { about, warning, reason, note: clip(note, LONGEST_TEXT) });
    }

    /// Ends the moves of a component that it no longer asks for, and all of them when another begins.
    fn end(&mut self, id: ComponentId, over: impl Fn(&PlatformHistoryEntry) -> bool) {
        let (name, now) = (self.scene.name(id), self.scene.time());
        let mut ended = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| is_open(entry, name) && over(entry)) {
            entry.outcome = Outcome::Partial;
            entry.ended = Some(now.clone());
            ended.push(format!("{} ended before it was complete", described(entry)));
        }
        for note in ended {
            self.tell(About::Platform, true, "Partial", &note);
        }
    }

    fn give_up(&mut self, id: ComponentId) {
        let asked: Vec<String> = in_effect(self.scene, id).into_iter().map(shown).collect();
        self.end(id, |entry| !asked.contains(&entry.to));
    }

    fn begin(&mut self, id: ComponentId, version: &Version) {
        let (scene, to) = (self.scene, shown(version));
        self.end(id, |entry| entry.to != to);
        let intent = intent_for(scene, id, &to);
        let entry = PlatformHistoryEntry {
            component: scene.name(id).to_owned(),
            from: scene.before(scene.name(id)).and_then(|old| old.completed.clone()),
            to,
            outcome: Outcome::Rolling,
            started: scene.time(),
            ended: None,
            verified: None,
            by: intent.and_then(|intent| intent.by.clone()),
            overridden: intent.and_then(|intent| intent.overridden.clone()),
            findings: intent.map(|intent| intent.findings.clone()).unwrap_or_default(),
        };
        let about = self.workload_with(id, version);
        let what = described(&entry);
        if intent.is_none() {
            let note = format!("{what}: the guard did not see the request");
            self.tell(about.clone(), true, "NotReviewed", &note);
        } else {
            self.tell(about.clone(), false, "Started", &what);
        }
        if let Some(by) = &entry.overridden {
            let note = format!("{what} overrides {}: {}", by.rules.join(", "), by.reason);
            self.tell(about, true, "Overridden", &note);
        }
        self.entries.insert(0, entry);
    }

    /// The first workload of the component that asks for `version`.
    fn workload_with(&self, id: ComponentId, version: &Version) -> About {
        let mut workloads = self.scene.view.component(id).workloads.iter();
        let found = workloads.find(|workload| workload.desired.contains(version));
        found.map_or(About::Platform, |workload| About::Workload(workload.id.clone()))
    }

    /// Completes the move on which the component has settled.
    fn complete(&mut self, id: ComponentId) {
        let (view, name) = (self.scene.view.component(id), self.scene.name(id));
        let asked: Vec<String> = in_effect(self.scene, id).into_iter().map(shown).collect();
        let [only] = asked.as_slice() else { return };
        if !view.has_pods() || view.unsettled().is_some() {
            return;
        }
        let mut done = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| is_open(entry, name) && entry.to == *only) {
            entry.outcome = Outcome::Completed;
            entry.ended = Some(self.scene.time());
            done.push(format!("{} is complete", described(entry)));
        }
        for note in done {
            self.tell(About::Platform, false, "Completed", &note);
        }
    }

    fn tag_moved(&mut self, moved: &Moved) {
        let Moved { component, version, from, to } = moved;
        let name = self.scene.name(*component).to_owned();
        let finding = format!("the tag of {version} moved without any change of the workload");
        let about = self.workload_running(*component, version);
        self.tell(about, true, "TagMoved", &format!("{name} {from} -> {to}: {finding}"));
        let entry = PlatformHistoryEntry {
            component: name,
            from: Some(from.clone()),
            to: to.clone(),
            outcome: Outcome::Rolling,
            started: self.scene.time(),
            ended: None,
            verified: None,
            by: None,
            overridden: None,
            findings: vec![finding],
        };
        self.entries.insert(0, entry);
    }

    /// The first workload of the component with pods of a version.
    fn workload_running(&self, id: ComponentId, version: &str) -> About {
        let mut workloads = self.scene.view.component(id).workloads.iter();
        let found = workloads.find(|workload| workload.running.keys().any(|running| shown(running) == version));
        found.map_or(About::Platform, |workload| About::Workload(workload.id.clone()))
    }

    /// Ends the moves of tags: complete when all pods run the new image, partial when none does.
    fn end_tag_moves(&mut self, components: &[PlatformComponentStatus]) {
        let now = self.scene.time();
        for entry in self.entries.iter_mut().filter(|entry| entry.outcome == Outcome::Rolling) {
            let Some(version) = drift::version_with_digest(&entry.to) else { continue };
            let component = components.iter().find(|component| component.name == entry.component);
            let running = component.into_iter().flat_map(|component| &component.running);
            let images: Vec<&String> =
                running.filter(|running| running.version == version).flat_map(|running| &running.images).collect();
            let runs = images.iter().any(|image| drift::with_digest(version, image) == entry.to);
            match (runs, images.len()) {
                (true, 1) => entry.outcome = Outcome::Completed,
                (true, _) => continue,
                (false, _) => entry.outcome = Outcome::Partial,
            }
            entry.ended = Some(now.clone());
        }
    }
}

/// At most as many entries as the schema takes. What goes first is old and complete; overrides, each component's newest
/// move and what is still on its way stay longest.
fn bounded(mut entries: Vec<PlatformHistoryEntry>) -> Vec<PlatformHistoryEntry> {
    for entry in &mut entries {
        entry.findings.truncate(most::FINDINGS);
    }
    while entries.len() > most::HISTORY {
        let worth = |(at, entry): &(usize, &PlatformHistoryEntry)| {
            let newest = entries[..*at].iter().all(|newer| newer.component != entry.component);
            let open = entry.outcome == Outcome::Rolling;
            (open, entry.overridden.is_some(), newest, entry.outcome != Outcome::Completed)
        };
        // Of several equal ones the first of the reversed list goes, which is the oldest.
        let least = entries.iter().enumerate().rev().min_by_key(worth).map(|(at, _)| at);
        let Some(least) = least else { break };
        entries.remove(least);
    }
    entries
}
