//! What a new state of a workload changes, as far as the rules of a policy care.

use std::collections::BTreeMap;

use super::inventory::{Inventory, version_of};
use super::object::{Container, WorkloadKind};
use super::record::WorkloadRecord;
use crate::api::SCHEMA_REVISION;
use crate::domain::change::{Change, Move, Restart};
use crate::domain::image::ImageRef;
use crate::domain::matching::governed;
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::version::Version;

/// The governed change from `old` to `new`, or `None` when no version, pause, restart or capacity of a component of
/// `policy` changes. `old` is `None` for a workload that does not exist yet.
///
/// What the guard holds back has no effect: a change of a workload that stays held is none, and one that is let go
/// moves from the versions of its pods to those it asks for. `inventory` is the namespace's, from before the change.
#[must_use]
pub fn change(
    policy: &Policy,
    inventory: &Inventory,
    old: Option<&WorkloadRecord>,
    new: &WorkloadRecord,
) -> Option<Change> {
    let assigned = assignments(policy, old, new);
    if assigned.is_empty() {
        return None;
    }
    let goes_on = |old: &&WorkloadRecord| (old.paused && !new.paused) || new.kept_back < old.kept_back;
    let mut moves = match old {
        _ if new.held => vec![],
        // What was held from its creation on has no pods to move: it starts only now.
        Some(old) if old.held && !inventory.has_pods(old) => moves(policy, None, new, &assigned),
        Some(old) if old.held => vec![],
        _ => moves(policy, old, new, &assigned),
    };
    if let Some(old) = old.filter(goes_on) {
        // A patch or another component in the same update does not hide what goes on again.
        let resumed = resumed(policy, inventory, old, new).into_iter().filter(|step| !moves.contains(step));
        moves.extend(resumed.collect::<Vec<_>>());
    }
    let restarts = if moves.is_empty() { restarts(policy, old, new, &assigned) } else { vec![] };
    // The pods of a DaemonSet are the cluster's nodes, not a wish.
    let fewer = old.is_some_and(|old| new.kind != WorkloadKind::DaemonSet && new.replicas < old.replicas);
    let subject = moves.first().map_or(assigned[0].0, |step| step.component);
    let touches_capacity = !moves.is_empty() || fewer;
    let capacity = touches_capacity.then(|| inventory.capacity(policy, new, subject, moves.is_empty()));
    (touches_capacity || !restarts.is_empty()).then(|| Change { workload: new.id(), moves, restarts, capacity })
}

/// The governed containers of `new`. A container that was a component's stays so under another image: a change of
/// registry is no way out of the rules.
fn assignments(policy: &Policy, old: Option<&WorkloadRecord>, new: &WorkloadRecord) -> Vec<(ComponentId, usize)> {
    let containers = &new.template.containers;
    let mut assigned = governed(policy, &new.name, &new.labels, containers);
    let Some(old) = old else { return assigned };
    for (id, position) in governed(policy, &old.name, &old.labels, &old.template.containers) {
        let name = &old.template.containers[position].name;
        let kept = containers.iter().position(|container| container.name == *name);
        if let Some(kept) = kept.filter(|kept| assigned.iter().all(|(_, taken)| taken != kept)) {
            assigned.push((id, kept));
        }
    }
    assigned
}

fn moves(
    policy: &Policy,
    old: Option<&WorkloadRecord>,
    new: &WorkloadRecord,
    assigned: &[(ComponentId, usize)],
) -> Vec<Move> {
    let mut moves = Vec::new();
    for &(id, position) in assigned {
        let container = &new.template.containers[position];
        let to = version_of(policy, id, container, &new.template).version;
        let before = old.and_then(|old| {
            let assigned = governed(policy, &old.name, &old.labels, &old.template.containers);
            // A container that was another component's had no version of this one.
            let of_another =
                |at: usize| assigned.iter().any(|(_, taken)| *taken == at) && !assigned.contains(&(id, at));
            let same_name = old.template.containers.iter().position(|other| other.name == container.name);
            // A renamed container replaces the component's first one.
            let same_component = || assigned.iter().find(|(other, _)| *other == id).map(|(_, at)| *at);
            let at = same_name.filter(|at| !of_another(*at)).or_else(same_component)?;
            let image = old.template.containers.get(at)?;
            Some((version_of(policy, id, image, &old.template).version, &image.image))
        });
        let step = match before {
            Some((from, image)) => {
                let (was, is) = (ImageRef::parse(image), ImageRef::parse(&container.image));
                let same_image = was.same_content(is);
                let unchanged = from == to && (same_image || from.known().is_some());
                // The same digest is the same content, whatever a tag that tells no version calls it. Two versions
                // stay a move: the new one would be believed from then on.
                let pinned = same_image && is.digest.is_some();
                if unchanged || (same_image && to.known().is_none() && (pinned || from.known().is_none())) {
                    continue;
                }
                asked(policy, new, (id, container), Some(from), to)
            }
            None => asked(policy, new, (id, container), None, to),
        };
        if !moves.contains(&step) {
            moves.push(step);
        }
    }
    moves
}

/// The move of a container of `new`, with what its template says of the database and of its image.
fn asked(
    policy: &Policy,
    new: &WorkloadRecord,
    (component, container): (ComponentId, &Container),
    from: Option<Version>,
    to: Version,
) -> Move {
    let annotations = &new.template.annotations;
    let own = annotations.get(&format!("{SCHEMA_REVISION}.{}", policy.component(component).name));
    let stated = own.or_else(|| annotations.get(SCHEMA_REVISION)).map(|revision| revision.trim().to_owned());
    Move {
        schema: stated.filter(|revision| !revision.is_empty()),
        image: ImageRef::parse(&container.image).digest.map(str::to_owned),
        ..Move::new(component, from, to)
    }
}

/// What resuming the paused rollout of `held` as `new` moves: from every version that still runs to the one asked for.
fn resumed(policy: &Policy, inventory: &Inventory, held: &WorkloadRecord, new: &WorkloadRecord) -> Vec<Move> {
    // The inventory may be older than the request, and show the workload before it was given its new version.
    let mut inventory = inventory.clone();
    inventory.put_workload(held.clone());
    let views = inventory.workload_views(policy, held);
    let containers = governed(policy, &new.name, &new.labels, &new.template.containers).into_iter();
    let asked_for: BTreeMap<(ComponentId, Version), &Container> = containers
        .map(|(id, position)| (id, &new.template.containers[position]))
        .map(|(id, container)| ((id, version_of(policy, id, container, &new.template).version), container))
        .collect();
    let mut moves = Vec::new();
    for ((component, to), container) in &asked_for {
        let own = views.iter().find(|(id, _)| id == component).map(|(_, own)| own);
        let others = own.into_iter().flat_map(|own| own.running.keys());
        let others = others.filter(|running| !asked_for.contains_key(&(*component, (*running).clone())));
        moves.extend(others.map(|from| asked(policy, new, (*component, container), Some(from.clone()), to.clone())));
    }
    moves
}

/// The governed containers that restart on an image whose version cannot be told: what it holds may have changed.
fn restarts(
    policy: &Policy,
    old: Option<&WorkloadRecord>,
    new: &WorkloadRecord,
    assigned: &[(ComponentId, usize)],
) -> Vec<Restart> {
    if old.is_none_or(|old| old.template.restarted_at == new.template.restarted_at) {
        return vec![];
    }
    let of_container = |&(component, position): &(ComponentId, usize)| {
        let container = &new.template.containers[position];
        let pinned = ImageRef::parse(&container.image).digest.is_some();
        match version_of(policy, component, container, &new.template).version {
            Version::Unknown(version) if !pinned => Some(Restart { component, version }),
            _ => None,
        }
    };
    assigned.iter().filter_map(of_container).collect()
}
