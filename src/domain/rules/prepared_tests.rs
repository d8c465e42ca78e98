//! What `UG-CRD` and `UG-PRECONDITION` say, branch by branch.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Rule;
use crate::domain::change::{Change, Move};
use crate::domain::decision::{Decision, decide};
use crate::domain::freeze::Freeze;
use crate::domain::line::{Lines, Listed, Release};
use crate::domain::policy::{Component, ComponentId, Policy, PolicyParts};
use crate::domain::preparation::{BreakingChange, CrdState, Precondition, Preparation};
use crate::domain::version::Version;
use crate::domain::view::{Rollout, View, WorkloadId, WorkloadView};

const API: ComponentId = ComponentId(0);
/// A Wednesday.
const NOW: Timestamp = Timestamp::constant(1_784_116_800, 0);

/// Releases 2026.06, .07 and .08 with the api at 2.2.0, 2.3.0 and 2.4.0; nothing else is asked for.
fn policy() -> Policy {
    let parts =
        PolicyParts { max_hop: 9, ..PolicyParts::new("p", vec![Component::named("api"), Component::named("portal")]) };
    let mut policy = Policy::new(parts).unwrap();
    let release = |(month, minor): (u8, u64)| {
        let version = semver::Version::new(2, minor, 0);
        let listed = Listed { version, tags: vec![], digests: vec![], needs: BTreeMap::new() };
        Release { name: format!("2026.0{month}"), components: BTreeMap::from([(API, listed)]), ..Release::default() }
    };
    policy.lines = Lines::new([(6, 2), (7, 3), (8, 4)].map(release).into());
    policy
}

/// The api with these pods; nothing there when there are none.
fn view(running: &[&str]) -> View {
    let mut view = View { crds: Some(BTreeMap::new()), preparations: Some(vec![]), ..View::empty(&policy()) };
    if let Some(first) = running.first() {
        view.components[0].workloads.push(WorkloadView {
            id: WorkloadId { kind: "Deployment".into(), name: "api".into() },
            desired: vec![Version::read(first)],
            running: running.iter().map(|version| (Version::read(version), 1)).collect(),
            rollout: Rollout::Settled,
        });
    }
    view
}

fn asked(policy: &Policy, view: &View, from: Option<&str>, to: &str, now: Timestamp) -> Decision {
    let step = Move::new(API, from.map(Version::read), Version::read(to));
    let workload = WorkloadId { kind: "Deployment".into(), name: "api".into() };
    let change = Change { workload, moves: vec![step], restarts: vec![], capacity: None };
    decide(policy, view, &change, now)
}

/// What `rule` says of a move of the api, as `verdict: what: facts`.
fn said(policy: &Policy, view: &View, rule: Rule, from: Option<&str>, to: &str) -> Vec<String> {
    let decision = asked(policy, view, from, to, NOW);
    let all = decision.reasons.iter().chain(&decision.warnings).filter(|reason| reason.rule == rule);
    all.map(|reason| format!("{}: {}: {}", reason.verdict, reason.what, reason.facts)).collect()
}

/// What the only reason of a move of the api from 2.2.0 to 2.3.0 says; empty when there is none.
fn denial(policy: &Policy, view: &View) -> String {
    asked(policy, view, Some("2.2.0"), "2.3.0", NOW).denial()
}

// --- UG-CRD

fn crds(of: &[(&str, bool, &str)]) -> BTreeMap<String, CrdState> {
    let state = |(name, established, content): &(&str, bool, &str)| {
        ((*name).to_owned(), CrdState { established: *established, content: (*content).to_owned() })
    };
    of.iter().map(state).collect()
}

fn needing(names: &[&str]) -> Policy {
    let mut policy = policy();
    policy.components[0].crds = names.iter().map(|name| (*name).to_owned()).collect();
    policy
}

/// The releases list these contents of `tools`: `None` for a release that does not list it.
fn listing(contents: [Option<&str>; 3]) -> Policy {
    let mut policy = needing(&["tools"]);
    let mut releases = policy.lines.releases().to_vec();
    for (release, content) in releases.iter_mut().zip(contents) {
        release.crds.extend(content.map(|content| ("tools".to_owned(), Some(content.to_owned()))));
    }
    policy.lines = Lines::new(releases);
    policy
}

fn applied(target: &str, version: &str, content: &str) -> Preparation {
    Preparation { crds: BTreeMap::from([("tools".to_owned(), content.to_owned())]), ..prepared(target, version) }
}

#[test]
fn a_crd_has_to_be_there_and_established_whichever_way_it_goes() {
    let policy = needing(&["tools", "skills", "toolsets"]);
    let mut there = view(&["2.3.0"]);
    there.crds = Some(crds(&[("tools", true, "a"), ("skills", false, "a"), ("others", true, "a")]));
    let both = [
        "NotYet: must wait for CRD skills: installed and not established",
        "NotYet: must wait for CRD toolsets: not installed",
    ];
    for (from, to) in [("2.3.0", "2.4.0"), ("2.3.0", "2.2.0"), ("2.3.0", "2.3.1")] {
        assert_eq!(said(&policy, &there, Rule::Crd, Some(from), to), both, "{from} to {to}");
    }
    // Recreated at what it was.
    there.components[0].workloads.clear();
    there.components[0].recorded = Some(Version::read("2.3.0"));
    assert_eq!(said(&policy, &there, Rule::Crd, None, "2.3.0"), both);
    there.crds = None;
    assert_eq!(said(&policy, &there, Rule::Crd, None, "2.3.0"), [""; 0], "nobody looked");
}

#[test]
fn several_are_told_together_and_a_first_install_is_only_warned() {
    let policy = needing(&["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(
        denial(&policy, &view(&["2.2.0"])),
        "[UG-CRD] api 2.2.0 -> 2.3.0 must wait for CRDs a, b, c, d, e and 2 more: not installed. Run upgrade-guard presync \
         (the hook Job), which applies them, then retry."
    );
    let decision = asked(&needing(&["tools"]), &view(&[]), None, "2.3.0", NOW);
    assert_eq!(decision.reasons, []);
    assert_eq!(
        said(&needing(&["tools"]), &view(&[]), Rule::Crd, None, "2.3.0"),
        ["Allow: needs CRD tools: not installed"]
    );
}

#[test]
fn its_content_is_that_of_the_release_or_of_a_later_one() {
    let older = "NotYet: must wait for CRD tools: without the content of release 2026.07";
    for (releases, live, from, to, expected) in [
        ([Some("six"), Some("seven"), Some("eight")], "six", "2.2.0", "2.3.0", Some(older)),
        ([Some("six"), Some("seven"), Some("eight")], "seven", "2.2.0", "2.3.0", None),
        ([Some("six"), Some("seven"), Some("eight")], "eight", "2.2.0", "2.3.0", None),
        ([Some("six"), Some("seven"), Some("eight")], "other", "2.2.0", "2.3.0", Some(older)),
        // Another patch of the line goes up as well.
        ([Some("six"), Some("seven"), Some("eight")], "six", "2.3.0", "2.3.1", Some(older)),
        // Back, newer CRDs serve older versions, and nothing is known to be wrong with others.
        ([Some("six"), Some("seven"), Some("eight")], "other", "2.4.0", "2.3.0", None),
        // A release that does not say what it carries takes any.
        ([Some("six"), None, Some("eight")], "six", "2.2.0", "2.3.0", None),
        ([None, None, None], "other", "2.2.0", "2.3.0", None),
    ] {
        let mut view = view(&[from]);
        view.crds = Some(crds(&[("tools", true, live)]));
        let found = said(&listing(releases), &view, Rule::Crd, Some(from), to);
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{live} of {releases:?}, {from} to {to}");
    }
}

#[test]
fn else_its_content_is_what_the_hook_applied_for_the_version_or_later() {
    let changed = "NotYet: must wait for CRD tools: changed since presync prepared 2026.07";
    let seven = || applied("2026.07", "2.3.0", "seven");
    let eight = || applied("2026.08", "2.4.0", "eight");
    let running = || Preparation { ended: None, prepared: false, ..eight() };
    for (runs, live, expected) in [
        (vec![seven()], "seven", None),
        (vec![seven()], "other", Some(changed)),
        // Newest first.
        (vec![eight(), seven()], "eight", None),
        (vec![running(), seven()], "eight", None),
        (vec![seven(), eight()], "eight", Some(changed)),
        // It is known for another version only.
        (vec![eight()], "other", None),
        (vec![Preparation { ended: None, ..seven() }], "other", None),
        (vec![prepared("2026.07", "2.3.0")], "other", None),
    ] {
        let mut view = view(&["2.2.0"]);
        view.crds = Some(crds(&[("tools", true, live)]));
        view.preparations = Some(runs.clone());
        let found = said(&needing(&["tools"]), &view, Rule::Crd, Some("2.2.0"), "2.3.0");
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{live} after {runs:?}");
    }
    // What the release says comes first, and what the hook applied for it serves too.
    let mut view = view(&["2.2.0"]);
    view.crds = Some(crds(&[("tools", true, "theirs")]));
    view.preparations = Some(vec![applied("2026.07", "2.3.0", "theirs")]);
    let policy = listing([Some("six"), Some("seven"), Some("eight")]);
    assert_eq!(said(&policy, &view, Rule::Crd, Some("2.2.0"), "2.3.0"), [""; 0]);
}

// --- UG-PRECONDITION

/// An api that needs `backup`; `portal` also needs `export`.
fn demanding() -> Policy {
    let mut policy = policy();
    let precondition = |name: &str, components: &[usize]| Precondition {
        name: name.into(),
        components: components.iter().copied().map(ComponentId).collect(),
    };
    policy.demands.preconditions = vec![precondition("backup", &[]), precondition("export", &[1])];
    policy
}

/// What a run that found everything in order an hour ago left.
fn prepared(target: &str, version: &str) -> Preparation {
    Preparation {
        target: target.into(),
        versions: BTreeMap::from([(API, Version::read(version))]),
        ended: Some(NOW - SignedDuration::from_hours(1)),
        prepared: true,
        preconditions: BTreeMap::from([("backup".to_owned(), None), ("export".to_owned(), None)]),
        crds: BTreeMap::new(),
    }
}

#[test]
fn what_the_hook_recorded_decides() {
    let found = |name: &str, why: Option<&str>| {
        let found = BTreeMap::from([(name.to_owned(), why.map(str::to_owned))]);
        Preparation { preconditions: found, ..prepared("2026.07", "2.3.0") }
    };
    let good = || prepared("2026.07", "2.3.0");
    let old = Some(NOW - SignedDuration::from_hours(24) - SignedDuration::from_secs(1));
    let hook = "must wait for the hook: ";
    for (runs, expected) in [
        (vec![], format!("{hook}no presync run is recorded for 2.3.0")),
        (vec![prepared("2026.08", "2.4.0")], format!("{hook}no presync run is recorded for 2.3.0")),
        (vec![Preparation { ended: None, ..good() }], format!("{hook}its run for 2026.07 is not complete")),
        (
            vec![Preparation { prepared: false, ..good() }],
            format!("{hook}something was refused or failed when it ran for 2026.07"),
        ),
        (
            vec![found("backup", Some("its last success is 30h ago."))],
            "must wait for precondition backup: its last success is 30h ago".to_owned(),
        ),
        // What is declared since was not looked at.
        (
            vec![found("export", None)],
            "must wait for precondition backup: the hook did not look at it when it ran for 2026.07".to_owned(),
        ),
        (vec![Preparation { ended: old, ..good() }], format!("{hook}what it found for 2026.07 is more than 24h old")),
        // The newest counts, good or bad.
        (vec![Preparation { ended: None, ..good() }, good()], format!("{hook}its run for 2026.07 is not complete")),
        (vec![good(), Preparation { prepared: false, ..good() }], String::new()),
        // What only others need is theirs.
        (vec![found("backup", None)], String::new()),
        (vec![good()], String::new()),
        (vec![prepared("2026.08", "2.4.0"), good()], String::new()),
    ] {
        let mut view = view(&["2.2.0"]);
        view.preparations = Some(runs.clone());
        let said = said(&demanding(), &view, Rule::Precondition, Some("2.2.0"), "2.3.0");
        assert_eq!(said.join(", ").trim_start_matches("NotYet: "), expected, "{runs:?}");
    }
    assert_eq!(denial(&demanding(), &View { preparations: None, ..view(&["2.2.0"]) }), "", "nobody looked");
}

#[test]
fn only_moves_to_a_higher_line_are_asked() {
    let mut policy = demanding();
    let always = Freeze::new("always", "* * * * *", "UTC", SignedDuration::from_hours(1)).unwrap();
    policy.demands.freezes = vec![always];
    let recreated = |recorded: Option<&str>| {
        let mut view = view(&[]);
        view.components[0].recorded = recorded.map(Version::read);
        view
    };
    for (what, view, from, to, asked) in [
        ("up", view(&["2.2.0"]), Some("2.2.0"), "2.3.0", true),
        ("a patch", view(&["2.2.0"]), Some("2.2.0"), "2.2.1", false),
        ("a patch of a rollout that is stuck", view(&["2.3.0", "2.2.0"]), Some("2.3.0"), "2.3.1", false),
        ("up from what cannot be read", view(&["latest"]), Some("latest"), "2.3.0", true),
        ("up again in the middle of the way back", view(&["2.2.0", "2.3.0"]), Some("2.2.0"), "2.3.0", true),
        ("back", view(&["2.3.0"]), Some("2.3.0"), "2.2.0", false),
        ("an undo half-way", view(&["2.3.0", "2.2.0"]), Some("2.3.0"), "2.2.0", false),
        ("what cannot be read", view(&["2.2.0"]), Some("2.2.0"), "latest", false),
        ("a first install", recreated(None), None, "2.3.0", false),
        ("recreated", recreated(Some("2.3.0")), None, "2.3.0", false),
        ("recreated with another version", recreated(Some("2.2.0")), None, "2.3.0", true),
    ] {
        let said = said(&policy, &view, Rule::Precondition, from, to);
        assert_eq!(said.len(), if asked { 2 } else { 0 }, "{what}: {said:?}");
    }
}

#[test]
fn a_freeze_window_says_when_it_ends() {
    let mut policy = policy();
    let day = |name: &str, hours| Freeze::new(name, "0 0 * * *", "UTC", SignedDuration::from_hours(hours)).unwrap();
    policy.demands.freezes = vec![day("morning", 13), day("office", 18), day("night", 6)];
    assert_eq!(
        denial(&policy, &view(&["2.2.0"])),
        "[UG-PRECONDITION] api 2.2.0 -> 2.3.0 must wait for the end of freeze window office: it is open until \
         2026-07-15T18:00:00Z. Retry after that. Going back is possible at any time."
    );
    let after = NOW + SignedDuration::from_hours(6);
    assert_eq!(asked(&policy, &view(&["2.2.0"]), Some("2.2.0"), "2.3.0", after).denial(), "");
}

#[test]
fn breaking_changes_on_the_way_have_to_be_acknowledged() {
    let mut policy = policy();
    let mut releases = policy.lines.releases().to_vec();
    let change = |name: &str, url: Option<&str>, components: &[usize]| BreakingChange {
        name: name.into(),
        message: format!("{name} is gone."),
        url: url.map(str::to_owned),
        components: components.iter().copied().map(ComponentId).collect(),
    };
    releases[0].breaking_changes = vec![change("six", None, &[])];
    releases[1].breaking_changes =
        vec![change("seven", Some("https://example.com/7"), &[0]), change("portal", None, &[1])];
    releases[2].breaking_changes = vec![change("eight", None, &[]), change("and more", None, &[])];
    policy.lines = Lines::new(releases);
    assert_eq!(
        denial(&policy, &view(&["2.2.0"])),
        "[UG-PRECONDITION] api 2.2.0 -> 2.3.0 must wait until a breaking change is acknowledged: seven: seven is gone (https://example.com/7). Read it, then add \"seven\" to spec.acknowledged of UpgradePolicy p or \
         Platform p."
    );
    let named = |from: &str, to: &str, acknowledged: &[&str]| -> Vec<String> {
        let mut view = view(&[from]);
        view.acknowledged = acknowledged.iter().map(|name| (*name).to_owned()).collect();
        let decision = asked(&policy, &view, Some(from), to, NOW);
        let all = decision.reasons.iter().filter(|reason| reason.rule == Rule::Precondition);
        all.flat_map(|reason| reason.remedy.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
    };
    for (from, to, acknowledged, expected) in [
        ("2.2.0", "2.2.1", &[][..], &[][..]),
        ("2.2.0", "2.4.0", &[], &["seven", "eight", "and more"]),
        ("2.2.0", "2.4.0", &["seven", "and more"], &["eight"]),
        ("2.3.0", "2.4.0", &[], &["eight", "and more"]),
        ("2.4.0", "2.3.0", &[], &[]),
        // From nowhere that could be placed, everything up to there.
        ("latest", "2.3.0", &[], &["six", "seven"]),
    ] {
        assert_eq!(named(from, to, acknowledged), expected, "{from} to {to} with {acknowledged:?}");
    }
    let mut accepted = policy.clone();
    accepted.demands.acknowledged = ["seven".to_owned()].into();
    assert_eq!(denial(&accepted, &view(&["2.2.0"])), "", "the policy's own count too");
    let four = asked(&policy, &view(&["latest"]), Some("latest"), "2.4.0", NOW);
    let facts: Vec<&str> = four.reasons.iter().map(|reason| reason.facts.as_str()).collect();
    assert!(facts[0].ends_with("; 1 more"), "{facts:?}");
}

#[test]
fn without_demands_a_policy_asks_for_nothing_of_this() {
    let mut policy = demanding();
    policy.components[0].crds = vec!["tools".into()];
    let mut releases = policy.lines.releases().to_vec();
    let change = BreakingChange { name: "x".into(), message: "x".into(), url: None, components: BTreeSet::new() };
    releases[1].breaking_changes = vec![change];
    policy.lines = Lines::new(releases);
    policy.demands.freezes = vec![Freeze::new("f", "* * * * *", "UTC", SignedDuration::from_hours(1)).unwrap()];
    let before = asked(&policy, &view(&["2.2.0"]), Some("2.2.0"), "2.3.0", NOW);
    assert_eq!(before.reasons.len(), 4, "{:?}", before.reasons);
    assert_eq!(denial(&policy.without_demands(), &view(&["2.2.0"])), "");
    // What only the hook does is done in a prepared view, and nothing else.
    let after = asked(&policy, &view(&["2.2.0"]).prepared(), Some("2.2.0"), "2.3.0", NOW);
    assert_eq!(after.reasons.len(), 2, "{:?}", after.reasons);
}
