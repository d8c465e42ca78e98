//! What has to be done ahead of an upgrade: by the hook, and by those who read what it brings.
//!
//! A planner goes by a policy without these demands ([`Policy::without_demands`]) in a view in which the hook has run
//! ([`View::prepared`]); what is missing of them is told here, for the steps that it found.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::change::Change;
use super::decision::{Reason, Verdict, decide};
use super::policy::{ComponentId, Policy};
use super::route::Step;
use super::rules::Rule;
use super::version::Version;
use super::view::View;

/// What is missing for some neighbouring steps of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// The position of the first of these steps.
    pub before: usize,
    /// What the steps lead to.
    pub versions: Vec<(ComponentId, Version)>,
    /// What the rules say, each thing once.
    pub missing: Vec<Reason>,
}

/// What `UG-CRD`, `UG-PRECONDITION` and `UG-SCHEMA` say of `change`, refused or not.
pub fn missing(policy: &Policy, view: &View, change: &Change, now: Timestamp) -> impl Iterator<Item = Reason> + use<> {
    let decision = decide(policy, view, change, now);
    let all = decision.reasons.into_iter().chain(decision.warnings);
    all.filter(is_ahead)
}

/// Whether what `reason` asks for is done ahead of an upgrade. No migration mends a database that is too far ahead.
#[must_use]
pub fn is_ahead(reason: &Reason) -> bool {
    match reason.rule {
        Rule::Crd | Rule::Precondition => true,
        Rule::Schema => reason.verdict != Verdict::Never,
        _ => false,
    }
}

/// Adds what is not told already, whichever component it was told of.
pub fn add(told: &mut Vec<Reason>, new: impl Iterator<Item = Reason>) {
    for reason in new {
        let same = |old: &Reason| (old.rule, &old.what, &old.facts) == (reason.rule, &reason.what, &reason.facts);
        if !told.iter().any(same) {
            told.push(reason);
        }
    }
}

/// What is missing for `steps`, which begin where `view` is. Steps belong together until a component moves once more:
/// that is the next release, for which the hook runs again.
#[must_use]
pub fn ahead(policy: &Policy, view: &View, steps: &[Step], now: Timestamp) -> Vec<Ahead> {
    let mut groups: Vec<Ahead> = Vec::new();
    let mut moved: BTreeSet<ComponentId> = BTreeSet::new();
    let mut view = view.clone();
    for (position, step) in steps.iter().enumerate() {
        if groups.is_empty() || !moved.insert(step.component) {
            moved = BTreeSet::from([step.component]);
            groups.push(Ahead { before: position, versions: vec![], missing: vec![] });
        }
        let Some(group) = groups.last_mut() else { continue };
        let mut is_asked = false;
        for (change, _) in &step.changes {
            let found: Vec<Reason> = missing(policy, &view, change, now).collect();
            is_asked |= !found.is_empty();
            add(&mut group.missing, found.into_iter());
            view = view.after(change);
        }
        if is_asked {
            group.versions.push((step.component, step.to.clone()));
        }
    }
    groups.retain(|group| !group.missing.is_empty());
    groups
}
