//! What is against the law in a state, with no change in question.
//!
//! A rule judges a move and forgives what was broken before it; this says what is broken, however it came in. The
//! arithmetic is the rules' own. A rule that a policy does not enforce is reported as well: it is not refused, and no
//! less against the law.

use jiff::Timestamp;

use super::line::{Span, Unplaced};
use super::policy::{ComponentId, Policy};
use super::rules::skew::{Window, lines};
use super::rules::{Rule, supported, version};
use super::version::Version;
use super::view::View;

/// One thing that is against the law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule that it breaks.
    pub rule: Rule,
    /// The component; in a pair the one that is measured against the other.
    pub component: ComponentId,
    /// Its live version that breaks the rule.
    pub version: Version,
    /// The other side of a pair.
    pub peer: Option<Peer>,
    /// What is wrong: `2.3.0 is 2 lines behind control-plane-api 2.5.0 (allowed: 1)`.
    pub what: String,
}

/// The other side of a pair that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The component.
    pub component: ComponentId,
    /// Its live version.
    pub version: Version,
    /// By how many lines the pair breaks the rule.
    pub lines: i64,
}

/// Everything that is against the law in what is live at `now`, component by component. A rollout that is not complete
/// is no violation.
#[must_use]
pub fn violations(policy: &Policy, view: &View, now: Timestamp) -> Vec<Violation> {
    let live: Vec<Live<'_>> = policy.ids().map(|id| view.live(policy, id, now)).collect();
    let mut found = Vec::new();
    for id in policy.ids() {
        for (version, span) in &live[id.0] {
            match span {
                Ok(span) => pairs(policy, &live, (id, version, *span), &mut found),
                Err(why) => found.push(unplaced(id, version, *why)),
            }
            found.extend(unsupported(policy, id, version));
        }
    }
    found.sort_by_key(|violation| (violation.component, violation.rule));
    found
}

/// The live versions of a component with their lines.
type Live<'a> = Vec<(&'a Version, Result<Span, Unplaced>)>;

/// The pairs of `version` with what is upstream of it, and with what it is measured against.
fn pairs(
    policy: &Policy,
    live: &[Live<'_>],
    (id, version, span): (ComponentId, &Version, Span),
    found: &mut Vec<Violation>,
) {
    let placed = |peer: ComponentId| live[peer.0].iter().filter_map(|(version, span)| Some((*version, span.ok()?)));
    let mut add = |rule, component, peer: &Version, lines, what| {
        let peer = Some(Peer { component, version: peer.clone(), lines });
        found.push(Violation { rule, component: id, version: version.clone(), peer, what });
    };
    for upstream in policy.upstream(id) {
        let Ok(need) = policy.needed(id, version, *upstream) else { continue };
        for (peer, served) in placed(*upstream) {
            // What cannot be compared is no matter of order.
            if let Some(short) = need.above(served.serves()).filter(|lines| *lines > 0) {
                let name = &policy.component(*upstream).name;
                let what = format!("{version} needs {name} {}, not {peer}", policy.lines.name(*upstream, need));
                add(Rule::Order, *upstream, peer, short, what);
            }
        }
    }
    for skew in &policy.component(id).skew {
        for (peer, other) in placed(skew.peer) {
            let excess = Window::of_downstream(*skew).excess(span, other);
            if excess > 0 {
                let apart = span.distance_to(other).unwrap_or(0);
                let (side, allowed) = if apart > 0 { ("behind", skew.behind) } else { ("ahead of", skew.ahead) };
                let (apart, name) = (apart.abs(), &policy.component(skew.peer).name);
                let what = format!("{version} is {apart} {} {side} {name} {peer} (allowed: {allowed})", lines(apart));
                add(Rule::Skew, skew.peer, peer, excess, what);
            }
        }
    }
}

fn unplaced(component: ComponentId, version: &Version, why: Unplaced) -> Violation {
    let (what, facts, _) = version::explain(version, why);
    let what = format!("{version} {what}: {facts}");
    Violation { rule: Rule::Version, component, version: version.clone(), peer: None, what }
}

fn unsupported(policy: &Policy, component: ComponentId, version: &Version) -> Option<Violation> {
    let ranges = &policy.component(component).supported;
    supported::is_outside(ranges, version.known()?).then(|| {
        let what = format!("{version} is not a supported version: supported is {}", supported::describe(ranges));
        Violation { rule: Rule::Supported, component, version: version.clone(), peer: None, what }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::policy::{Component, Mode, PolicyParts, Skew, SupportedRange};
    use super::super::view::{Rollout, WorkloadId, WorkloadView};
    use super::*;

    fn policy() -> Policy {
        let skew = vec![Skew { peer: ComponentId(0), behind: 1, ahead: 0 }];
        let range = SupportedRange { range: ">=24.0.0, <25.0.0".parse().unwrap(), warn: None };
        Policy::new(PolicyParts {
            modes: BTreeMap::from([(Rule::Skew, Mode::Audit)]),
            mode: Mode::Warn,
            ..PolicyParts::new(
                "p",
                vec![
                    Component::named("api"),
                    Component { after: vec![ComponentId(0)], skew, ..Component::named("gateway") },
                    Component { supported: vec![range], ..Component::named("keycloak") },
                ],
            )
        })
        .unwrap()
    }

    /// What is against the law where each component has these versions.
    fn broken(versions: [&[&str]; 3]) -> Vec<String> {
        let policy = policy();
        let mut view = View::empty(&policy);
        for (component, versions) in view.components.iter_mut().zip(versions) {
            component.workloads.push(WorkloadView {
                id: WorkloadId { kind: "Deployment".into(), name: "any".into() },
                desired: vec![Version::read(versions[0])],
                running: versions.iter().map(|version| (Version::read(version), 1)).collect(),
                rollout: Rollout::Settled,
            });
        }
        let found = violations(&policy, &view, Timestamp::UNIX_EPOCH);
        found.iter().map(|one| format!("{} {} {}", one.rule, policy.component(one.component).name, one.what)).collect()
    }

    #[test]
    fn violations_say_what_is_wrong() {
        assert_eq!(broken([&["2.3.0"], &["2.2.0", "2.3.0"], &["24.0.1"]]), [""; 0]);
        assert_eq!(
            broken([&["2.5.0"], &["2.3.0", "2.4.0"], &["24.0.1"]]),
            ["UG-SKEW gateway 2.3.0 is 2 lines behind api 2.5.0 (allowed: 1)"]
        );
        assert_eq!(
            broken([&["2.3.0", "2.2.0"], &["2.3.0"], &["24.0.1"]]),
            [
                "UG-ORDER gateway 2.3.0 needs api 2.3.0, not 2.2.0",
                "UG-SKEW gateway 2.3.0 is 1 line ahead of api 2.2.0 (allowed: 0)"
            ]
        );
        assert_eq!(
            broken([&["2.3.0"], &["latest"], &["26.0.0"]]),
            [
                "UG-VERSION gateway latest names no version: nothing tells which version 'latest' is",
                "UG-SUPPORTED keycloak 26.0.0 is not a supported version: supported is >=24.0.0, <25.0.0"
            ]
        );
    }
}
