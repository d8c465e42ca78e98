use std::fmt::Write as _;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::Outcome::{self, Completed, Partial};
use crate::api::{
    PlatformBlock, PlatformHistoryEntry, PlatformOverride, PlatformPreparation, PlatformRelease, UpgradePolicy,
    misfits, with_releases,
};
use crate::cluster::inventory::RevisionKind;
use crate::cluster::object::{WorkloadKind, WorkloadObject};
use crate::cluster::record::{RevisionRecord, WorkloadRecord};
use crate::cluster::testing::{deployment_json, read, replica_set_json};
use crate::domain::freeze::Freeze;
use crate::domain::line::{Lines, Listed, Release};
use crate::domain::preparation::{BreakingChange, Demands, Precondition};

const API: &str = "api";
const GATEWAY: &str = "gateway";

fn policy() -> Policy {
    let component = |name: &str, more: Value| {
        let mut component = json!({"name": name, "match": {"images": [format!("x/{name}")]}});
        component.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        component
    };
    let behind = json!({"after": [API], "skew": [{"component": API, "behind": 1, "ahead": 0}]});
    let policy: UpgradePolicy = read(json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": {"name": "stoa"},
        "spec": {"namespaces": ["stoa"], "components": [component(API, json!({})), component(GATEWAY, behind)]},
    }));
    Policy::try_from(&policy).unwrap()
}

fn id(name: &str) -> WorkloadId {
    WorkloadId { kind: "Deployment".to_owned(), name: name.to_owned() }
}

fn workload(name: &str) -> PlatformWorkload {
    written(&id(name))
}

/// An install that is looked at again and again.
struct Install {
    policy: Policy,
    inventory: Inventory,
    images: PodImages,
    status: PlatformStatus,
    now: Timestamp,
    /// Everything told so far.
    told: Vec<Told>,
}

impl Install {
    fn new() -> Self {
        Self {
            policy: policy(),
            inventory: Inventory::default(),
            images: PodImages::new(),
            status: PlatformStatus::default(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            told: vec![],
        }
    }

    /// Both components settled at 2.2.0 and looked at.
    fn settled() -> Self {
        let mut install = Self::new();
        install.runs(API, "2.2.0", &[("2.2.0", 2)]);
        install.runs(GATEWAY, "2.2.0", &[("2.2.0", 2)]);
        install.look();
        install
    }

    /// The workload `name` asks for a tag and has these pods.
    fn runs(&mut self, name: &str, tag: &str, pods: &[(&str, i32)]) {
        self.runs_as(name, tag, pods, |_| ());
    }

    fn runs_as(&mut self, name: &str, tag: &str, pods: &[(&str, i32)], tweak: impl Fn(&mut Value)) {
        let image = |tag: &str| format!("x/{name}:{tag}");
        let mut object = deployment_json("stoa", name, &image(tag));
        let new: i32 = pods.iter().filter(|(version, _)| *version == tag).map(|(_, pods)| pods).sum();
        object["status"]["updatedReplicas"] = json!(new);
        tweak(&mut object);
        let object: WorkloadObject = read(object);
        self.inventory.put_workload(WorkloadRecord::read(WorkloadKind::Deployment, &object).unwrap());
        let others: Vec<RevisionRecord> =
            ([API, GATEWAY].iter()).filter(|other| **other != name).flat_map(|other| self.revisions(other)).collect();
        let own = pods.iter().map(|(version, pods)| {
            let set = replica_set_json("stoa", &format!("{name}-{version}"), name, &image(version), *pods);
            RevisionRecord::of_replica_set(&read(set)).unwrap()
        });
        self.inventory.reset_revisions(RevisionKind::ReplicaSet, own.chain(others).collect());
    }

    /// The revisions of a workload, as they were put.
    fn revisions(&self, name: &str) -> Vec<RevisionRecord> {
        let versions = ["2.1.0", "2.2.0", "2.3.0", "2.4.0", "2.5.0", "latest"];
        let key = |version: &&str| (RevisionKind::ReplicaSet, format!("{name}-{version}"));
        versions.iter().filter_map(|version| self.inventory.revision(&key(version)).cloned()).collect()
    }

    /// The pods of a workload run these digests, one each.
    fn digests(&mut self, name: &str, tag: &str, digests: &[&str]) {
        let pod = |digest: &&str| PodImage {
            container: "main".to_owned(),
            image: format!("x/{name}:{tag}"),
            image_id: format!("docker-pullable://x/{name}@sha256:{}", digest.repeat(32)),
        };
        self.images.insert(id(name), digests.iter().map(pod).collect());
    }

    /// A webhook replica admits a change.
    fn admit(&mut self, component: &str, to: &str) -> &mut PlatformIntent {
        self.status.intents.push(PlatformIntent {
            component: component.to_owned(),
            workload: Some(workload(component)),
            from: None,
            to: to.to_owned(),
            base: Some("1".to_owned()),
            uid: None,
            by: Some("jane".to_owned()),
            at: Some(Time(self.now)),
            expires: Time(self.now + SignedDuration::from_secs(90)),
            overridden: None,
            findings: vec![],
        });
        self.status.intents.last_mut().unwrap()
    }

    /// A webhook replica refuses a change.
    fn refuse(&mut self, component: &str, from: &str, to: &str) {
        self.status.blocked.push(PlatformBlock {
            component: component.to_owned(),
            workload: workload(component),
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            rule: "UG-ORDER".to_owned(),
            verdict: "NotYet".to_owned(),
            message: "must wait for api 2.3.0: running 2.2.0 (2/2 pods)".to_owned(),
            held: false,
            since: Time(self.now),
            last_seen: Time(self.now),
        });
    }

    fn advanced(&self) -> Advanced {
        let Self { policy, inventory, images, now, .. } = self;
        advance(&Sight { policy, inventory, images, generation: 1, now: *now }, &self.status)
    }

    /// Looks a minute later, twice: the second time finds nothing new. Gives what is told.
    fn look(&mut self) -> Vec<String> {
        self.now += SignedDuration::from_secs(60);
        let Advanced { status, told } = self.advanced();
        self.status = status;
        assert_eq!(self.advanced(), Advanced { status: self.status.clone(), told: vec![] });
        self.told.extend(told.clone());
        let about = |about: &About| match about {
            About::Platform => "platform".to_owned(),
            About::Workload(id) => id.to_string(),
        };
        let line = |told: &Told| {
            let kind = if told.warning { "Warning" } else { "Normal" };
            format!("{kind} {} {}: {}", told.reason, about(&told.about), told.note)
        };
        told.iter().map(line).collect()
    }

    /// Whether the schema takes the status.
    fn fits(&self) -> bool {
        let json = json!({"apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "stoa"},
                          "spec": {"policy": "stoa"}, "status": self.status});
        misfits("Platform", &json).is_empty()
    }

    /// Looks, and shows all of it.
    fn show(&mut self) -> String {
        let told = self.look();
        assert!(self.fits());
        let mut text = serde_saphyr::to_string(&self.status).unwrap();
        for told in told {
            let _ = write!(text, "\n# {told}");
        }
        text
    }

    fn history(&self) -> Vec<String> {
        let line = |entry: &PlatformHistoryEntry| {
            let PlatformHistoryEntry { component, from, to, outcome, by, findings, .. } = entry;
            let (from, by) = (from.as_deref().unwrap_or("nothing"), by.as_deref().unwrap_or("nobody"));
            format!("{component} {from} -> {to} {outcome:?} by {by} {findings:?}").replace(" []", "")
        };
        self.status.history.iter().map(line).collect()
    }

    fn condition(&self, kind: &str) -> (&str, &str) {
        let found = self.status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        (&found.status, &found.reason)
    }

    fn summary(&self) -> &str {
        self.status.summary.as_deref().unwrap()
    }
}

/// What the guard makes of a Deployment that it holds.
fn held(object: &mut Value) {
    object["metadata"]["labels"]["guard.gostoa.dev/held"] = json!("true");
    object["spec"]["paused"] = json!(true);
}

fn stuck(object: &mut Value) {
    object["status"]["conditions"] = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
}

#[test]
fn an_upgrade_moment_by_moment() {
    let mut install = Install::settled();
    insta::assert_snapshot!("1_installed", install.show());
    install.admit(API, "2.3.0");
    insta::assert_snapshot!("2_api_admitted", install.show());
    install.runs(API, "2.3.0", &[("2.2.0", 1), ("2.3.0", 1)]);
    install.refuse(GATEWAY, "2.2.0", "2.3.0");
    insta::assert_snapshot!("3_api_half_rolled_gateway_refused", install.show());
    install.runs_as(GATEWAY, "2.3.0", &[("2.2.0", 2)], held);
    insta::assert_snapshot!("4_gateway_held", install.show());
    install.runs(API, "2.3.0", &[("2.3.0", 2)]);
    insta::assert_snapshot!("5_api_settled", install.show());
    install.admit(GATEWAY, "2.3.0").by = Some("the guard".to_owned());
    install.runs(GATEWAY, "2.3.0", &[("2.2.0", 1), ("2.3.0", 1)]);
    insta::assert_snapshot!("6_gateway_resumed", install.show());
    install.runs(GATEWAY, "2.3.0", &[("2.3.0", 2)]);
    insta::assert_snapshot!("7_all_settled", install.show());
}

#[test]
fn what_is_undone_half_way_is_partial() {
    let mut install = Install::settled();
    install.admit(API, "2.3.0");
    install.runs(API, "2.3.0", &[("2.2.0", 1), ("2.3.0", 1)]);
    assert_eq!(install.look(), ["Normal Started deployment/api: api 2.2.0 -> 2.3.0"]);
    install.admit(API, "2.2.0");
    install.runs(API, "2.2.0", &[("2.2.0", 1), ("2.3.0", 1)]);
    let told = install.look();
    assert_eq!(
        told,
        [
            "Warning Partial platform: api 2.2.0 -> 2.3.0 ended before it was complete",
            "Normal Started deployment/api: api 2.2.0"
        ]
    );
    install.runs(API, "2.2.0", &[("2.2.0", 2)]);
    assert_eq!(install.look(), ["Normal Completed platform: api 2.2.0 is complete"]);
    let entries = ["api 2.2.0 -> 2.2.0 Completed by jane", "api 2.2.0 -> 2.3.0 Partial by jane"];
    assert_eq!(install.history(), entries);
}

#[test]
fn an_override_is_recorded_and_what_the_guard_did_not_see_is_told() {
    let mut install = Install::settled();
    let overridden = PlatformOverride { rules: vec!["UG-HOP".into()], reason: "fire".into(), until: "soon".into() };
    install.admit(API, "2.4.0").overridden = Some(overridden.clone());
    install.status.intents[0].findings = vec!["[UG-HOP] crosses 2 lines".to_owned()];
    install.runs(API, "2.4.0", &[("2.4.0", 2)]);
    let told = install.look();
    assert_eq!(told[0], "Normal Started deployment/api: api 2.2.0 -> 2.4.0");
    assert_eq!(told[1], "Warning Overridden deployment/api: api 2.2.0 -> 2.4.0 overrides UG-HOP: fire");
    assert_eq!(install.status.history[0].overridden, Some(overridden));
    assert_eq!(install.history(), [r#"api 2.2.0 -> 2.4.0 Completed by jane ["[UG-HOP] crosses 2 lines"]"#]);
    // The gateway is two lines behind now.
    assert_eq!(install.summary(), "Broken: gateway 2.2.0 is 2 lines behind api 2.4.0 (allowed: 1)");
    assert_eq!(install.condition("Stalled"), ("True", "RulesBroken"));
    let since = install.status.violations[0].since.clone();

    // The guard was down.
    install.runs(GATEWAY, "2.1.0", &[("2.1.0", 2)]);
    let told = install.look();
    let unseen = "gateway 2.2.0 -> 2.1.0: the guard did not see the request";
    assert!(told.contains(&format!("Warning NotReviewed deployment/gateway: {unseen}")), "{told:?}");
    assert_ne!(install.status.violations[0].since, since, "another violation");
    assert_eq!(install.history()[0], "gateway 2.2.0 -> 2.1.0 Completed by nobody");
}

#[test]
fn a_tag_that_moves_is_told_once_and_recorded() {
    let mut install = Install::settled();
    install.runs(GATEWAY, "latest", &[("latest", 2)]);
    install.digests(GATEWAY, "latest", &["aa", "aa"]);
    install.look();
    assert_eq!(install.status.components[1].completed.as_deref(), Some("2.2.0"), "what can be told stays");
    install.digests(GATEWAY, "latest", &["aa", "bb"]);
    let told = install.look();
    let (old, new) = ("sha256:aaaaaaaaaaaa", "sha256:bbbbbbbbbbbb");
    let finding = "the tag of latest moved without any change of the workload";
    let moved = format!("gateway latest ({old}) -> latest ({new}): {finding}");
    assert!(told.contains(&format!("Warning TagMoved deployment/gateway: {moved}")), "{told:?}");
    let message = format!("pods of latest run {old} (1 pod) and {new} (1 pod): the tag has moved");
    let violation = |install: &Install| install.status.violations.iter().find(|one| one.message == message).cloned();
    assert_eq!(violation(&install).map(|one| one.rule), Some("UG-VERSION".to_owned()));
    assert_eq!(
        install.history()[0],
        format!(r#"gateway latest ({old}) -> latest ({new}) Rolling by nobody ["{finding}"]"#)
    );
    // A pod that does not run yet takes nothing away.
    install.digests(GATEWAY, "latest", &[]);
    assert_eq!(install.look(), [""; 0]);
    install.digests(GATEWAY, "latest", &["bb", "bb"]);
    assert_eq!(install.look(), [""; 0]);
    assert!(violation(&install).is_none());
    assert_eq!(
        install.history()[0],
        format!(r#"gateway latest ({old}) -> latest ({new}) Completed by nobody ["{finding}"]"#)
    );
}

#[test]
fn releases_name_lines_and_a_new_name_is_no_move() {
    let release = |version: &str, api: Value| -> PlatformRelease {
        read(json!({
            "apiVersion": "guard.gostoa.dev/v1alpha1",
            "kind": "PlatformRelease",
            "metadata": {"name": format!("stoa-{version}")},
            "spec": {"policy": "stoa", "version": version, "components": [api]},
        }))
    };
    let mut install = Install::new();
    install.runs(API, "latest", &[("latest", 2)]);
    install.digests(API, "latest", &["aa", "aa"]);
    install.look();
    assert_eq!(install.status.components[0].running[0].version, "latest");
    let listed = json!({"name": API, "version": "2.2.0", "tags": ["latest"]});
    let other = json!({"name": API, "version": "2.3.0", "digests": [format!("sha256:{}", "bb".repeat(32))]});
    let releases = [release("2026.06", listed), release("2026.07", other)];
    install.policy = with_releases(policy(), &releases).0;
    assert_eq!(install.look(), [""; 0], "nothing moved");
    assert_eq!((install.history(), install.status.release.as_deref()), (vec![], Some("2026.06")));
    assert_eq!(install.summary(), "All at release 2026.06, settled");
    assert_eq!(install.status.next, ["api may go to 2.3.0 (release 2026.07)"]);
    // The tag holds what the next release lists by digest.
    install.digests(API, "latest", &["bb", "bb"]);
    install.look();
    let message = "pods of 2.2.0 run sha256:bbbbbbbbbbbb, which release 2026.07 calls 2.3.0";
    assert_eq!(install.status.violations[0].message, message);
}

#[test]
fn conditions_are_what_kstatus_reads() {
    type Change = fn(&mut Install);
    type Expected = [(&'static str, &'static str); 3];
    let cases: [(&str, Change, Expected); 7] = [
        ("settled", |_| (), [("True", "Settled"), ("False", "Settled"), ("False", "Settled")]),
        (
            "rolling",
            |install| install.runs(API, "2.3.0", &[("2.2.0", 1), ("2.3.0", 1)]),
            [("False", "RollingOut"), ("True", "RollingOut"), ("False", "GoesOn")],
        ),
        (
            "admitted",
            |install| _ = install.admit(API, "2.3.0"),
            [("False", "Admitted"), ("True", "Admitted"), ("False", "GoesOn")],
        ),
        (
            "held",
            |install| install.runs_as(GATEWAY, "2.3.0", &[("2.2.0", 2)], held),
            [("False", "Held"), ("True", "Held"), ("False", "GoesOn")],
        ),
        (
            "held for ever",
            |install| install.runs_as(GATEWAY, "2.5.0", &[("2.2.0", 2)], held),
            [("False", "HeldForEver"), ("False", "HeldForEver"), ("True", "HeldForEver")],
        ),
        (
            "stuck",
            |install| install.runs_as(API, "2.3.0", &[("2.2.0", 1), ("2.3.0", 1)], stuck),
            [("False", "RolloutStuck"), ("False", "RolloutStuck"), ("True", "RolloutStuck")],
        ),
        (
            "broken",
            |install| install.runs(API, "2.5.0", &[("2.5.0", 2)]),
            [("False", "RulesBroken"), ("False", "RulesBroken"), ("True", "RulesBroken")],
        ),
    ];
    for (name, change, expected) in cases {
        let mut install = Install::settled();
        let since = install.status.conditions[0].last_transition_time.clone();
        change(&mut install);
        install.look();
        let found = ["Ready", "Reconciling", "Stalled"].map(|kind| install.condition(kind));
        assert_eq!(found, expected, "{name}");
        let ready = &install.status.conditions[0];
        assert_eq!(ready.last_transition_time == since, ready.status == "True", "{name}");
        assert_eq!(ready.observed_generation, Some(1));
    }
}

#[test]
fn intents_stay_until_they_end() {
    let mut install = Install::settled();
    install.admit(API, "2.3.0");
    install.admit("unknown", "1.0.0");
    // It is new, and the inventory does not show it yet.
    let intent = install.admit(GATEWAY, "2.2.1");
    (intent.workload, intent.base) = (Some(workload("another")), None);
    install.look();
    let to = |install: &Install| install.status.intents.iter().map(|intent| intent.to.clone()).collect::<Vec<_>>();
    assert_eq!(to(&install), ["2.3.0", "2.2.1"], "nothing is unknown to the policy and admitted");
    assert!(install.status.components[1].workloads.contains(&workload("another")));
    install.runs(API, "2.3.0", &[("2.2.0", 1), ("2.3.0", 1)]);
    install.look();
    assert_eq!(to(&install), ["2.3.0"], "the others expired");
    install.runs(API, "2.3.0", &[("2.3.0", 2)]);
    install.look();
    assert_eq!(to(&install), [""; 0]);
}

/// What the hook left for `version` of the api.
fn hook_run(install: &Install, version: &str) -> PlatformPreparation {
    read(json!({
        "target": version, "components": [{"name": API, "version": version}], "outcome": "Prepared",
        "started": install.now.to_string(), "ended": install.now.to_string(),
        "preconditions": [{"name": "backup", "held": true, "message": ""}],
    }))
}

#[test]
fn what_the_hook_has_to_do_is_told_until_it_is_done() {
    let mut install = Install::settled();
    let backup = Precondition { name: "backup".to_owned(), components: [].into() };
    install.policy.demands.preconditions = vec![backup];
    install.look();
    assert_eq!(install.status.next, ["api to 2.3.x must wait for the hook"]);
    // Another patch of the line is what it prepared, and what will be asked for.
    install.status.preparations = vec![hook_run(&install, "2.3.4")];
    install.look();
    assert_eq!(install.status.next, ["api may go to 2.3.x"]);
    assert!(install.fits() && install.status.preparations.len() == 1, "it is kept");

    // Its time runs out, and what it found counts no more.
    install.now += SignedDuration::from_hours(25);
    install.look();
    assert_eq!(install.status.next, ["api to 2.3.x must wait for the hook"]);

    let freeze = Freeze::new("weekend", "0 0 1 1 *", "UTC", SignedDuration::from_hours(36)).unwrap();
    install.policy.demands = Demands { freezes: vec![freeze], ..Demands::default() };
    install.look();
    assert_eq!(install.status.next, ["api to 2.3.x must wait for the end of freeze window weekend"]);
    install.now += SignedDuration::from_hours(11);
    install.look();
    assert_eq!(install.status.next, ["api may go to 2.3.x"]);

    // What is acknowledged stands in the spec of the Platform.
    let change = BreakingChange { name: "x".into(), message: "x".into(), url: None, components: [].into() };
    let listed =
        |version: &str| Listed { version: version.parse().unwrap(), tags: vec![], digests: vec![], needs: [].into() };
    let release = |name: &str, version: &str, breaking_changes: Vec<BreakingChange>| {
        let components = [(ComponentId(0), listed(version)), (ComponentId(1), listed(version))].into();
        Release { name: name.into(), components, breaking_changes, ..Release::default() }
    };
    install.policy.lines = Lines::new(vec![release("one", "2.2.0", vec![]), release("two", "2.3.0", vec![change])]);
    install.look();
    assert_eq!(install.status.next, ["api to 2.3.4 (release two) must wait until a breaking change is acknowledged"]);
    let spec = PlatformSpec { policy: install.policy.name.clone(), acknowledged: vec!["x".to_owned()] };
    install.inventory.platforms_mut().insert(install.policy.name.clone(), Platform::new(&install.policy.name, spec));
    install.look();
    assert_eq!(install.status.next, ["api may go to 2.3.4 (release two)"]);
}

#[test]
fn refusals_go_when_they_are_met_given_up_or_legal_for_a_while() {
    let refused = |minutes: i64, change: fn(&mut Install)| {
        let mut install = Install::settled();
        install.refuse(GATEWAY, "2.2.0", "2.3.0");
        install.now += SignedDuration::from_mins(minutes);
        change(&mut install);
        install.look();
        install.status.blocked.len()
    };
    let api_up: fn(&mut Install) = |install| install.runs(API, "2.3.0", &[("2.3.0", 2)]);
    for (name, minutes, change, expected) in [
        ("just refused", 0, (|_| ()) as fn(&mut Install), 1),
        ("not yet legal", 20, |_| (), 1),
        ("given up", 59, |_| (), 0),
        ("legal since a moment", 5, api_up, 1),
        ("legal for a while", 9, api_up, 0),
        ("met", 0, |install| install.runs(GATEWAY, "2.3.0", &[("2.3.0", 2)]), 0),
    ] {
        assert_eq!(refused(minutes, change), expected, "{name}");
    }
}

#[test]
fn what_was_completed_outlives_workloads_and_policies() {
    let mut install = Install::settled();
    install.inventory.remove_workload(&id(GATEWAY));
    install.inventory = Inventory::default();
    install.runs(API, "2.2.0", &[("2.2.0", 2)]);
    install.look();
    assert_eq!(install.status.components[1].completed.as_deref(), Some("2.2.0"));
    // Recreated as it was: nothing moved.
    install.admit(GATEWAY, "2.2.0");
    install.runs(GATEWAY, "2.2.0", &[("2.2.0", 2)]);
    assert_eq!((install.look(), install.history()), (vec![], vec![]));
    let orphan = orphaned(&install.status, install.now);
    assert_eq!(orphaned(&orphan, install.now + SignedDuration::from_secs(9)), orphan);
    insta::assert_snapshot!("orphaned", serde_saphyr::to_string(&orphan).unwrap());
    install.status = orphan;
    assert_eq!((install.look(), install.history()), (vec![], vec![]));
    assert_eq!(install.summary(), "All at 2.2.0, settled");
}

#[test]
fn history_keeps_what_matters_longest() {
    let mut install = Install::settled();
    let entry = |component: &str, outcome: Outcome, overridden: bool| PlatformHistoryEntry {
        component: component.to_owned(),
        from: None,
        to: "1.0.0".to_owned(),
        outcome,
        started: Time(install.now),
        ended: None,
        by: None,
        overridden: overridden.then(PlatformOverride::default),
        findings: vec![],
        verified: None,
    };
    let mut history = vec![entry(API, Completed, false); 60];
    history.extend([entry(API, Partial, false), entry(API, Completed, true), entry(GATEWAY, Completed, false)]);
    let kept = history[60..].to_vec();
    install.status.history = history;
    install.look();
    assert_eq!(install.status.history.len(), 50);
    assert_eq!(install.status.history[47..], kept);
}

const VERSIONS: [&str; 5] = ["2.1.0", "2.2.0", "2.3.0", "2.4.0", "latest"];

/// One random thing that happens.
fn happen(install: &mut Install, (what, component, version, pods): (u8, bool, usize, (i32, i32))) {
    let (component, version) = (if component { API } else { GATEWAY }, VERSIONS[version]);
    match what {
        0 => _ = install.admit(component, version),
        1 => install.refuse(component, "2.2.0", version),
        2 => install.inventory.remove_workload(&id(component)),
        3 => install.digests(component, version, &["aa", if pods.0 > 0 { "bb" } else { "cc" }]),
        4 => install.runs_as(component, version, &[("2.2.0", 1 + pods.0)], held),
        5 => install.runs_as(component, version, &[("2.2.0", pods.0), (version, pods.1)], stuck),
        6 => install.now += SignedDuration::from_mins(15),
        7 => install.runs(component, version, &[(version, 2)]),
        _ => install.runs(component, version, &[("2.2.0", pods.0), (version, pods.1)]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// `look` looks twice.
    #[test]
    fn looking_again_finds_nothing_new(
        steps in prop::collection::vec((0..10_u8, any::<bool>(), 0..5_usize, (0..3, 0..3)), 1..30)
    ) {
        let mut install = Install::settled();
        for step in steps {
            happen(&mut install, step);
            install.look();
            let summary = install.summary().chars().count();
            prop_assert!(summary <= 120);
        }
        prop_assert!(install.fits());
    }
}
