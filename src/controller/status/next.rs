//! What people read first: the summary, the next steps, and the release that runs.

use super::components::asked;
use super::{LONGEST_TEXT, Scene, clip, is_enforced, most};
use crate::api::{PlatformBlock, PlatformComponentStatus, PlatformIntent, PlatformStatus};
use crate::domain::ahead::is_ahead;
use crate::domain::decision::Verdict;
use crate::domain::gates::{Gate, Way};
use crate::domain::line::Span;
use crate::domain::policy::ComponentId;
use crate::domain::version::Version;
use crate::domain::view::Missing;

/// The longest summary, in characters: a column of a table.
const SUMMARY: usize = 120;

/// The newest release whose versions all components with pods run, all of them settled.
pub(super) fn release(scene: &Scene<'_>) -> Option<String> {
    let present: Vec<ComponentId> = scene.policy.ids().filter(|id| scene.view.component(*id).has_pods()).collect();
    if present.iter().any(|id| scene.view.component(*id).incomplete().is_some()) {
        return None;
    }
    let mut newest = scene.policy.lines.releases().iter().rev();
    let found = newest.find(|release| {
        let listed = |id: &ComponentId| release.components.get(id).map(|listed| &listed.version);
        let runs = |id: &ComponentId| {
            let is = |version: &Version| version.known().is_some_and(|version| Some(version) == listed(id));
            listed(id).is_none() || scene.view.component(*id).live(scene.now).all(is)
        };
        present.iter().any(|id| listed(id).is_some()) && present.iter().all(runs)
    });
    found.map(|release| clip(&release.name, super::LONGEST_NAME))
}

/// The legal next steps: first what is on its way, then what brings an upgrade to its end, then what begins one.
pub(super) fn steps(scene: &Scene<'_>, status: &PlatformStatus) -> Vec<String> {
    let blocked = status.blocked.iter().map(|block| {
        let lead = match (block.held, block.verdict == Verdict::Never.as_str()) {
            (false, _) => "",
            (true, false) => " goes on by itself:",
            (true, true) => " is held:",
        };
        format!("{}{lead} {}", subject(block), headline(block))
    });
    let mut ups: Vec<(&Gate, bool)> = (scene.gates.iter())
        .filter(|gate| gate.way == Way::Up && may_be_moved(scene, status, gate.component))
        .map(|gate| (gate, catches_up(scene, gate)))
        .collect();
    ups.sort_by_key(|(gate, catches_up)| (!catches_up, scene.policy.upstream(gate.component).len(), gate.component));
    let (open, closed): (Vec<_>, Vec<_>) = ups.into_iter().partition(|(gate, _)| gate.is_open());
    let (finishing, beginning): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, catches_up)| *catches_up);
    let may = |verb: &str, gate: &Gate| format!("{} {verb} {}", scene.name(gate.component), target(scene, gate));
    let back = scene.gates.iter().filter(|gate| {
        gate.way == Way::Down && gate.is_open() && missing(scene, gate.component).is_some_and(|it| !it.goes_on())
    });
    let lines = rolling(scene, status)
        .chain(admitted(status).map(awaited))
        .chain(back.map(|gate| may("may go back to", gate)))
        .chain(blocked)
        .chain(finishing.iter().map(|(gate, _)| may("may go to", gate)))
        .chain(closed.iter().filter(|(gate, catches_up)| *catches_up || waits_ahead(gate)).filter_map(|(gate, _)| {
            let named = status.blocked.iter().any(|block| block.component == scene.name(gate.component));
            let reason = gate.decision.reasons.first().filter(|_| !named)?;
            Some(format!("{} to {} {}", scene.name(gate.component), target(scene, gate), reason.what))
        }))
        .chain(beginning.iter().map(|(gate, _)| may("may go to", gate)));
    lines.take(most::NEXT).map(|line| clip(&line, LONGEST_TEXT)).collect()
}

/// Whether nothing but what is done ahead of an upgrade stands in the way.
fn waits_ahead(gate: &Gate) -> bool {
    gate.decision.reasons.iter().all(is_ahead)
}

/// What is on its way: `control-plane-api 2.2.0 -> 2.3.0: 1 of 2 pods updated`.
fn rolling<'s>(scene: &'s Scene<'_>, status: &'s PlatformStatus) -> impl Iterator<Item = String> + 's {
    let unsettled = status.components.iter().filter(|component| !component.settled && !component.held);
    unsettled.filter_map(|component| Some(format!("{}: {}", moving(scene, component)?, component.waits_for.as_ref()?)))
}

/// A component with the versions between which it moves.
fn moving(scene: &Scene<'_>, component: &PlatformComponentStatus) -> Option<String> {
    let id = scene.policy.component_named(&component.name)?;
    let asked: Vec<String> = asked(scene.view.component(id)).into_iter().map(ToString::to_string).collect();
    let to = asked.join(", ");
    Some(match component.completed.as_ref().filter(|from| **from != to) {
        Some(from) => format!("{} {from} -> {to}", component.name),
        None => format!("{} {to}", component.name),
    })
}

/// Whether nothing of the component is on its way, held or admitted.
fn may_be_moved(scene: &Scene<'_>, status: &PlatformStatus, id: ComponentId) -> bool {
    missing(scene, id).is_none() && admitted(status).all(|intent| intent.component != scene.name(id))
}

/// The intents that no workload shows yet.
fn admitted(status: &PlatformStatus) -> impl Iterator<Item = &PlatformIntent> {
    let shown = |intent: &&PlatformIntent| {
        let own = status.components.iter().find(|own| own.name == intent.component);
        own.is_some_and(|own| own.desired.contains(&intent.to))
    };
    status.intents.iter().filter(move |intent| !shown(intent))
}

/// An intent as people read it.
fn awaited(intent: &PlatformIntent) -> String {
    format!("{} {}: admitted, not stored yet", intent.component, intent.to)
}

fn missing<'s>(scene: &'s Scene<'_>, id: ComponentId) -> Option<&'s Missing> {
    scene.view.component(id).incomplete().map(|(_, missing)| missing)
}

/// Whether the gate leads to a line on which something else already is that the component is upgraded after or measured
/// against: going there ends an upgrade, and begins none.
fn catches_up(scene: &Scene<'_>, gate: &Gate) -> bool {
    let (policy, to) = (scene.policy, Span::at(gate.line));
    let peers = policy.component(gate.component).skew.iter().map(|skew| skew.peer);
    peers.chain(policy.upstream(gate.component).iter().copied()).any(|peer| {
        let live = scene.view.live(policy, peer, scene.now).into_iter();
        live.filter_map(|(_, span)| to.distance_to(span.ok()?)).any(|above| above >= 0)
    })
}

/// What a gate leads to: `2.4.x`, or `2.4.1 (release 2026.07)`.
fn target(scene: &Scene<'_>, gate: &Gate) -> String {
    let title = scene.policy.lines.title(gate.line);
    if title == format!("{}.{}", gate.version.major, gate.version.minor) {
        format!("{title}.x")
    } else {
        format!("{} (release {title})", gate.version)
    }
}

/// A change that was refused or is held, with what it wants: `stoa-gateway 2.2.0 -> 2.3.0`.
fn subject(block: &PlatformBlock) -> String {
    let PlatformBlock { component, from, to, .. } = block;
    match (from, to) {
        (Some(from), Some(to)) => format!("{component} {from} -> {to}"),
        (None, Some(to)) => format!("{component} {to}"),
        _ => component.clone(),
    }
}

/// What stands in the way of it, without the subject and without facts, which may be old.
fn headline(block: &PlatformBlock) -> &str {
    let message = block.message.as_str();
    let message = message.strip_prefix(&format!("[{}] ", block.rule)).unwrap_or(message);
    let message = message.strip_prefix(&format!("{} ", subject(block))).unwrap_or(message);
    message.split(": ").next().unwrap_or(message)
}

/// Where the upgrade stands, in one line.
pub(super) fn summary(scene: &Scene<'_>, status: &PlatformStatus) -> String {
    let enforced = status.violations.iter().filter(|violation| is_enforced(scene.policy, &violation.rule));
    let broken = enforced.take(1).map(|violation| format!("Broken: {} {}", violation.component, violation.message));
    let held = status.blocked.iter().filter(|block| block.held).map(|block| {
        let what = headline(block);
        let what =
            what.strip_prefix("must wait for ").map_or_else(|| what.to_owned(), |peer| format!("waits for {peer}"));
        format!("{} held: {what}", block.component)
    });
    let refused = status.blocked.iter().filter(|block| !block.held);
    let refused = refused.map(|block| format!("Blocked: {} {}", subject(block), headline(block)));
    let parts: Vec<String> =
        broken.chain(rolling(scene, status)).chain(held).chain(admitted(status).map(awaited)).chain(refused).collect();
    clip(&if parts.is_empty() { settled(status) } else { parts.join("; ") }, SUMMARY)
}

fn settled(status: &PlatformStatus) -> String {
    if let Some(release) = &status.release {
        return format!("All at release {release}, settled");
    }
    let running: Vec<(&str, &str)> = (status.components.iter())
        .flat_map(|component| {
            component.running.iter().map(|running| (component.name.as_str(), running.version.as_str()))
        })
        .collect();
    match running.as_slice() {
        [] => "Nothing runs".to_owned(),
        [(_, first), rest @ ..] if rest.iter().all(|(_, version)| version == first) => {
            format!("All at {first}, settled")
        }
        all => {
            let all: Vec<String> = all.iter().map(|(component, version)| format!("{component} {version}")).collect();
            format!("Settled: {}", all.join(", "))
        }
    }
}
