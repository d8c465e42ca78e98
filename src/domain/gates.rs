//! Which way each component may move now, and what stands in its way.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::change::{Change, Move};
use super::decision::{Decision, Verdict, decide};
use super::line::{Line, Span};
use super::policy::{ComponentId, Policy};
use super::rules::Rule;
use super::version::Version;
use super::view::{ComponentView, View};

/// Which way a component moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To a higher line.
    Up,
    /// To a lower line.
    Down,
}

/// Whether a component may move by one line now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The component.
    pub component: ComponentId,
    /// Which way.
    pub way: Way,
    /// The line it would go to.
    pub line: Line,
    /// The version that was asked about: the one that the hook prepared last, that the release there lists, or the first
    /// patch of the minor.
    pub version: semver::Version,
    /// What the rules say of it.
    pub decision: Decision,
}

impl Gate {
    /// Whether it may.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.decision.verdict == Verdict::Allow
    }

    /// The rule that stands in the way and what it says: `must wait for api 2.3.0: running 2.2.0 (2/2 pods)`.
    #[must_use]
    pub fn reason(&self) -> Option<(Rule, String)> {
        let worst = self.decision.reasons.first()?;
        Some((worst.rule, format!("{}: {}", worst.what, worst.facts)))
    }
}

/// The gates of every component with pods: one line up and one line down from what it asks for, where there is one.
///
/// What a workload of several asks for that lags behind the others counts on the way up, and the furthest of them on
/// the way down. Nothing but the versions is asked about: what else a request may lack only shows in the request.
#[must_use]
pub fn gates(policy: &Policy, view: &View, now: Timestamp) -> Vec<Gate> {
    let with_pods = policy.ids().filter(|id| view.component(*id).has_pods());
    with_pods
        .flat_map(|id| [Way::Up, Way::Down].into_iter().filter_map(move |way| gate(policy, view, id, way, now)))
        .collect()
}

fn gate(policy: &Policy, view: &View, id: ComponentId, way: Way, now: Timestamp) -> Option<Gate> {
    let component = view.component(id);
    let up = way == Way::Up;
    let (line, version) = policy.lines.beside(id, base(policy, component, id, up)?, up)?;
    let version = prepared(policy, view, id, line).filter(|_| up).unwrap_or(version);
    let changes = changes(component, id, &Version::Known(version.clone()), up);
    let decision = Decision::of_all(changes.iter().map(|change| decide(policy, view, change, now)));
    (!changes.is_empty()).then_some(Gate { component: id, way, line, version, decision })
}

/// The version of this line that the hook prepared last: it is the one that will be asked for.
fn prepared(policy: &Policy, view: &View, id: ComponentId, line: Line) -> Option<semver::Version> {
    let versions = view.preparations.iter().flatten().filter_map(|run| run.versions.get(&id));
    let mut on_line = versions.filter(|version| policy.lines.span(id, version).is_ok_and(|span| span.contains(line)));
    on_line.next()?.known().cloned()
}

/// Where the component sets out from: the lowest that it asks for on the way up, the highest on the way down.
fn base(policy: &Policy, component: &ComponentView, id: ComponentId, up: bool) -> Option<Span> {
    let asked: BTreeSet<&Version> = component.workloads.iter().flat_map(|workload| &workload.desired).collect();
    let mut spans = asked.into_iter().filter_map(|version| policy.lines.span(id, version).ok());
    if up { spans.next() } else { spans.next_back() }
}

/// One change for each workload that `to` would move up (down when not `up`).
fn changes(component: &ComponentView, id: ComponentId, to: &Version, up: bool) -> Vec<Change> {
    let changes = component.workloads.iter().filter_map(|workload| {
        let setting_out = workload.desired.iter().filter(|version| if up { *version < to } else { *version > to });
        let moves: Vec<Move> = setting_out.map(|from| Move::new(id, Some(from.clone()), to.clone())).collect();
        let workload = workload.id.clone();
        (!moves.is_empty()).then(|| Change { workload, moves, restarts: vec![], capacity: None })
    });
    changes.collect()
}
