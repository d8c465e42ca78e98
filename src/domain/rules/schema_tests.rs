//! What `UG-SCHEMA` says, branch by branch.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Rule;
use crate::domain::ahead::ahead;
use crate::domain::change::{Change, Move};
use crate::domain::decision::{Decision, Verdict, decide};
use crate::domain::line::{Lines, Listed, Release};
use crate::domain::policy::{Component, ComponentId, Database, Policy, PolicyParts, Skew};
use crate::domain::route::{Question, route};
use crate::domain::schema::{Nature, Need, Recorded, Schema};
use crate::domain::version::Version;
use crate::domain::view::{Rollout, View, WorkloadId, WorkloadView};

const API: ComponentId = ComponentId(0);
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Releases 6 to 9 with api and ui at 2.1.0 to 2.4.0, which need r1, r2, r4 and r5; r4 takes something away.
fn policy() -> Policy {
    let ui =
        Component { after: vec![API], skew: vec![Skew { peer: API, behind: 1, ahead: 0 }], ..Component::named("ui") };
    let parts = PolicyParts {
        max_hop: 9,
        ..PolicyParts::new("p", vec![Component { uses_database: true, ..Component::named("api") }, ui])
    };
    let mut policy = Policy::new(parts).unwrap();
    let release = |(name, minor, revision): (&str, u64, &str)| {
        let listed = || {
            let version = semver::Version::new(2, minor, 0);
            Listed { version, tags: vec![], digests: vec![], needs: BTreeMap::new() }
        };
        Release {
            name: name.to_owned(),
            components: BTreeMap::from([(API, listed()), (ComponentId(1), listed())]),
            revision: Some(revision.to_owned()),
            ..Release::default()
        }
    };
    let releases = [("6", 1, "r1"), ("7", 2, "r2"), ("8", 3, "r4"), ("9", 4, "r5")];
    policy.lines = Lines::new(releases.map(release).into());
    policy.database = Some(Database::default());
    policy
}

/// `r1 <- r2 <- r3 <- r4 (breaking) <- r5`, and the database at `heads`.
fn database(heads: &[&str]) -> Schema {
    let all = [("r1", ""), ("r2", "r1"), ("r3", "r2"), ("r4", "r3"), ("r5", "r4")];
    let known = all.map(|(revision, down)| {
        let down = if down.is_empty() { vec![] } else { vec![down.to_owned()] };
        let nature = if revision == "r4" { Nature::Breaking } else { Nature::Additive };
        (revision.to_owned(), Recorded { down, nature })
    });
    let at = Ok(heads.iter().map(ToString::to_string).collect());
    Schema { at, known: known.into(), ..Schema::unread("") }
}

fn unread() -> Schema {
    Schema { at: Err("no answer from postgresql://db/stoa within 5 s.".to_owned()), ..database(&[]) }
}

/// Of a revision nobody knows what it does.
fn with(mut schema: Schema, revision: &str, nature: Nature) -> Schema {
    schema.known.get_mut(revision).unwrap().nature = nature;
    schema
}

fn deployment(name: &str, version: &str) -> WorkloadView {
    let version = Version::read(version);
    WorkloadView {
        id: WorkloadId { kind: "Deployment".into(), name: name.into() },
        desired: vec![version.clone()],
        running: BTreeMap::from([(version, 2)]),
        rollout: Rollout::Settled,
    }
}

/// All at this version; nothing is there when it is empty.
fn view(version: &str, schema: Schema) -> View {
    let mut view = View { schema: Some(schema), ..View::empty(&policy()) };
    if !version.is_empty() {
        view.components[0].workloads.push(deployment("api", version));
        view.components[1].workloads.push(deployment("ui", version));
    }
    view
}

fn asked(policy: &Policy, view: &View, step: Move) -> Decision {
    let workload = WorkloadId { kind: "Deployment".into(), name: "api".into() };
    let mut decision =
        decide(policy, view, &Change { workload, moves: vec![step], restarts: vec![], capacity: None }, NOW);
    for list in [&mut decision.reasons, &mut decision.warnings] {
        list.retain(|reason| reason.rule == Rule::Schema);
    }
    decision
}

fn moved(from: &str, to: &str) -> Move {
    Move::new(API, Some(from).filter(|from| !from.is_empty()).map(Version::read), Version::read(to))
}

#[test]
fn texts() {
    let mut told = Vec::new();
    let mut tell = |title: &str, policy: &Policy, schema: Schema, step: Move| {
        let from = step.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let decision = asked(policy, &view(&from, schema), step);
        let reasons = decision.reasons.iter().map(|reason| format!("{}: {reason}", reason.verdict));
        let warnings = decision.warnings.iter().map(|reason| format!("warning: {reason}"));
        let mut all: Vec<String> = reasons.chain(warnings).collect();
        if all.is_empty() {
            all.push("nothing".to_owned());
        }
        told.push(format!("# {title}\n{}", all.join("\n")));
    };
    let policy = &policy();
    tell("migrated", policy, database(&["r4"]), moved("2.2.0", "2.3.0"));
    tell("not migrated", policy, database(&["r2"]), moved("2.2.0", "2.3.0"));
    tell("migrated half of the way", policy, database(&["r3"]), moved("2.2.0", "2.3.0"));
    tell("empty", policy, database(&[]), moved("2.2.0", "2.3.0"));
    tell("two heads", policy, database(&["r2", "x"]), moved("2.2.0", "2.3.0"));
    tell("it does not answer", policy, unread(), moved("2.2.0", "2.3.0"));
    tell("at a revision that nobody knows", policy, database(&["x"]), moved("2.2.0", "2.3.0"));
    let stated = |revision: &str| Move { schema: Some(revision.to_owned()), ..moved("2.2.0", "2.9.0") };
    tell("what it needs is not known", policy, database(&["r2"]), moved("2.2.0", "2.9.0"));
    tell("the template says what it needs", policy, database(&["r3"]), stated("r3"));
    tell("the template says that it needs more", policy, database(&["r3"]), stated("r5"));
    let differs = Move { schema: Some("r3".to_owned()), ..moved("2.2.0", "2.3.0") };
    tell("the template says something else than the release", policy, database(&["r4"]), differs);
    tell("back over what only adds", policy, with(database(&["r5"]), "r4", Nature::Additive), moved("2.4.0", "2.2.0"));
    tell("back over what takes away", policy, database(&["r5"]), moved("2.4.0", "2.2.0"));
    tell(
        "back over what nobody looked at",
        policy,
        with(database(&["r5"]), "r4", Nature::Unknown),
        moved("2.4.0", "2.2.0"),
    );
    tell("back to where nothing goes", policy, database(&["r5"]), moved("2.3.0", "2.2.0"));
    let mut may = policy.clone();
    may.database = Some(Database { downgrade: true, ..Database::default() });
    tell("back, where the policy allows downgrades", &may, database(&["r5"]), moved("2.4.0", "2.2.0"));
    tell("first install, not migrated", policy, database(&[]), moved("", "2.3.0"));
    tell(
        "up to what does not fit either, but for less",
        policy,
        with(database(&["r5"]), "r2", Nature::Breaking),
        moved("2.1.0", "2.2.0"),
    );
    tell("a patch of what does not fit", policy, database(&["r5"]), moved("2.2.0", "2.2.1"));
    tell("up, past all of it", policy, database(&["r5"]), moved("2.2.0", "2.3.0"));
    tell("up to what does not fit", policy, with(database(&["r5"]), "r5", Nature::Breaking), moved("2.2.0", "2.3.0"));
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn only_what_uses_the_database_is_asked_and_only_where_somebody_looked() {
    let policy = policy();
    let ui = Move { component: ComponentId(1), ..moved("2.2.0", "2.3.0") };
    assert_eq!(asked(&policy, &view("2.2.0", database(&["r1"])), ui).verdict, Verdict::NotYet, "by another rule");
    let of_ui = Move { component: ComponentId(1), ..moved("2.2.0", "2.3.0") };
    assert_eq!(asked(&policy, &view("2.2.0", database(&["r1"])), of_ui).reasons, vec![]);
    let nobody = View { schema: None, ..view("2.2.0", database(&[])) };
    assert_eq!(asked(&policy, &nobody, moved("2.2.0", "2.3.0")).reasons, vec![]);
}

#[test]
fn the_digest_tells_images_of_one_version_apart() {
    let policy = policy();
    let need = |image: &str, revision: &str| Need {
        component: API,
        version: Version::read("2.9.0"),
        image: Some(image.to_owned()),
        revision: revision.to_owned(),
    };
    let needs = vec![need("sha256:a", "r5"), need("sha256:b", "r2")];
    let view = view("2.2.0", Schema { needs, ..database(&["r2"]) });
    for (image, facts) in [
        (Some("sha256:a"), "the database is at r2, 2.9.0 needs r5 (recorded by the hook)"),
        (Some("sha256:b"), ""),
        (Some("sha256:c"), "nothing tells that of 2.9.0"),
        (None, "sources differ: r5 (recorded by the hook), r2 (recorded by the hook)"),
    ] {
        let step = Move { image: image.map(str::to_owned), ..moved("2.2.0", "2.9.0") };
        let decision = asked(&policy, &view, step);
        let found = decision.reasons.first().map(|reason| reason.facts.as_str()).unwrap_or_default();
        assert_eq!(found, facts, "{image:?}");
    }
}

/// The way to `version`, as steps and what stands in the way.
fn planned(view: &View, version: &str) -> (Vec<String>, Vec<String>) {
    let policy = policy();
    let targets = policy.ids().map(|id| (id, Version::read(version))).collect();
    let (free, prepared, capacities) = (policy.without_demands(), view.prepared(), BTreeMap::new());
    let question = Question { policy: &free, view: &prepared, targets: &targets, capacities: &capacities, now: NOW };
    let found = route(&question);
    let name = |id: ComponentId| policy.component(id).name.clone();
    let mut steps = Vec::new();
    for before in ahead(&policy, view, &found.steps, NOW) {
        steps.extend(before.missing.iter().map(|reason| format!("before {}: {}", before.before, reason.what)));
    }
    steps.extend(found.steps.iter().map(|step| format!("{} {}", name(step.component), step.to)));
    let blocked = found.blocked.iter().flat_map(|blocked| &blocked.decision.reasons);
    (steps, blocked.map(|reason| format!("{} {}", reason.component, reason.what)).collect())
}

#[test]
fn a_way_up_counts_on_the_hook_and_a_way_back_does_not_begin_where_it_cannot_end() {
    let (steps, blocked) = planned(&view("2.2.0", database(&["r2"])), "2.3.0");
    assert_eq!(steps, ["before 0: must wait for the database migrations", "api 2.3.0", "ui 2.3.0"]);
    assert!(blocked.is_empty(), "{blocked:?}");

    let (steps, blocked) = planned(&view("2.4.0", database(&["r5"])), "2.2.0");
    assert_eq!((steps.len(), blocked), (0, vec!["api cannot start on this database".to_owned()]), "{steps:?}");

    let (steps, blocked) = planned(&view("2.4.0", database(&["r5"])), "2.3.0");
    assert_eq!((steps, blocked.len()), (vec!["ui 2.3.0".to_owned(), "api 2.3.0".to_owned()], 0));
}
