use futures::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::cluster::feed::{
    Autoscalers, Budgets, ControllerRevisions, Platforms, ReplicaSets, Workloads, is_revision_wanted,
};
use crate::cluster::object::WorkloadKind;
use crate::cluster::raw::RawObject;
use crate::cluster::testing::{
    deployment_json, key, listed, mk_policy, mk_release, policy_json, read, replica_set_json, shown,
};
use crate::domain::policy::Mode;
use crate::domain::rules::Rule;

const DEPLOYMENTS: Workloads = Workloads(WorkloadKind::Deployment);
const API: &str = "ghcr.io/x/api";
const PORTAL: &str = "ghcr.io/x/portal";

/// An index with these policies, before anything else was listed.
fn index_with(policies: impl IntoIterator<Item = UpgradePolicy>) -> SharedIndex {
    let index = SharedIndex::new();
    assert_eq!(index.write(|index| index.reset_policies(listed(policies))), []);
    index
}

fn stoa() -> UpgradePolicy {
    mk_policy("stoa", &["stoa"], &[("api", API)])
}

fn apply<F: Feed>(index: &SharedIndex, feed: F, object: Value) {
    let object: RawObject = read(object);
    index.apply(feed, &ObjectKey::of(&object), object.read().unwrap());
}

/// A whole list of a kind, begun and ended under the current generation.
fn relist<F: Feed>(index: &SharedIndex, feed: F, objects: impl IntoIterator<Item = Value>) {
    assert!(relist_of(index, feed, index.read(Index::generation), objects));
}

fn relist_of<F: Feed>(index: &SharedIndex, feed: F, generation: u64, objects: impl IntoIterator<Item = Value>) -> bool {
    let objects =
        objects.into_iter().map(read::<RawObject>).map(|object| (ObjectKey::of(&object), object.read().unwrap()));
    let records =
        objects.filter_map(|(key, object)| Some((key.clone(), index.select(feed, &key.namespace, object)?))).collect();
    index.write(|index| index.reset(feed, generation, Listed { records, ..Listed::default() }))
}

/// Empty lists of everything but policies and Deployments.
fn relist_others(index: &SharedIndex) {
    index.write(|index| index.reset_releases(Listed::default()));
    for kind in [WorkloadKind::StatefulSet, WorkloadKind::DaemonSet] {
        relist(index, Workloads(kind), []);
    }
    index.write(|index| index.absent(Workloads(WorkloadKind::Rollout)));
    relist(index, ReplicaSets, []);
    relist(index, ControllerRevisions, []);
    relist(index, Budgets, []);
    relist(index, Autoscalers, []);
    relist(index, Platforms, []);
    index.write(|index| index.reset_crds(index.generation(), &Listed::default()));
}

fn view(index: &SharedIndex, namespace: &str) -> Vec<String> {
    shown(&index.snapshot(namespace).expect("a governed namespace"))
}

#[test]
fn only_governed_objects_are_kept() {
    let index = index_with([stoa()]);
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", "ghcr.io/x/api:2.2.0"));
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "redis", "redis:7"));
    apply(&index, DEPLOYMENTS, deployment_json("other", "api", "ghcr.io/x/api:9.9.9"));
    apply(&index, ReplicaSets, replica_set_json("stoa", "api-1", "api", "ghcr.io/x/api:2.2.0", 2));
    apply(&index, ReplicaSets, replica_set_json("stoa", "api-0", "api", "ghcr.io/x/api:2.1.0", 0));
    apply(&index, ReplicaSets, replica_set_json("stoa", "redis-1", "redis", "redis:7", 1));
    apply(&index, ReplicaSets, replica_set_json("other", "api-1", "api", "ghcr.io/x/api:2.2.0", 2));

    assert_eq!(view(&index, "stoa"), ["api: deployment/api wants 2.2.0 runs 2.2.0 x2", "api: completed 2.2.0"]);
    assert!(index.snapshot("other").is_none());
    // One policy, one Deployment, one ReplicaSet.
    assert_eq!(index.read(Index::len), 3);
}

#[test]
fn budgets_autoscalers_and_platforms_of_governed_namespaces_are_kept() {
    let index = index_with([stoa()]);
    for namespace in ["stoa", "other"] {
        let metadata = json!({ "namespace": namespace, "name": "api", "managedFields": [{ "manager": "x" }] });
        apply(&index, Budgets, json!({ "metadata": metadata, "spec": { "maxUnavailable": 1 } }));
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" });
        apply(
            &index,
            Autoscalers,
            json!({ "metadata": metadata, "spec": { "scaleTargetRef": target, "maxReplicas": 3 } }),
        );
        let completed = json!({ "components": [{ "name": "api", "completed": "2.1.0" }] });
        apply(
            &index,
            Platforms,
            json!({ "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "Platform", "metadata": metadata,
                    "spec": { "policy": "stoa" }, "status": completed }),
        );
    }
    let inventory = index.snapshot("stoa").unwrap().inventory;
    assert_eq!(inventory.budgets().keys().collect::<Vec<_>>(), ["api"]);
    assert_eq!(inventory.autoscalers()["api"].least, 1);
    assert_eq!(inventory.platforms()["api"].metadata.managed_fields, None);
    assert_eq!(view(&index, "stoa"), ["api: completed 2.1.0"]);

    index.remove(Budgets, &key("stoa", "api"));
    relist(&index, Autoscalers, []);
    relist(&index, Platforms, []);
    assert!(index.snapshot("stoa").unwrap().inventory.is_empty());
}

#[test]
fn a_revision_is_kept_by_image_by_owner_and_where_labels_count_always() {
    let mut by_name = policy_json("names", &["by-name"], &[("api", API)]);
    by_name["spec"]["components"][0]["match"] = json!({ "names": ["api"] });
    let mut by_label = policy_json("labels", &["by-label"], &[("api", API)]);
    by_label["spec"]["components"][0]["match"] = json!({ "labels": { "app": "api" } });
    let index = index_with([stoa(), read(by_name), read(by_label)]);
    for (namespace, owner, image, expected) in [
        ("stoa", "any", "ghcr.io/x/api:1.0.0", true),
        ("stoa", "api", "mirror/api:1.0.0", false),
        ("by-name", "api", "mirror/api:1.0.0", true),
        ("by-name", "any", "ghcr.io/x/api:1.0.0", false),
        ("by-label", "any", "redis:7", true),
    ] {
        let policies = index.read(|index| index.policies(namespace)).unwrap();
        let record = ReplicaSets.read(read(replica_set_json(namespace, "r", owner, image, 1))).unwrap();
        assert_eq!(is_revision_wanted(&record, &policies), expected, "{namespace}: {image} of {owner}");
        let data = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } } });
        let revision = json!({
            "metadata": { "namespace": namespace, "name": "r",
                          "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner, "uid": "u" }] },
            "data": data, "revision": 1,
        });
        apply(&index, ControllerRevisions, revision);
        let kept = index.snapshot(namespace).unwrap().inventory.len();
        assert_eq!(kept, usize::from(expected), "{namespace}: {image} of {owner}");
        index.remove(ControllerRevisions, &key(namespace, "r"));
    }
}

#[test]
fn replica_sets_count_before_and_after_their_deployment() {
    let mut rolling = deployment_json("stoa", "api", "ghcr.io/x/api:2.3.0");
    rolling["status"]["updatedReplicas"] = json!(1);
    let old = replica_set_json("stoa", "api-1", "api", "ghcr.io/x/api:2.2.0", 1);
    let new = replica_set_json("stoa", "api-2", "api", "ghcr.io/x/api:2.3.0", 1);
    let expected = ["api: deployment/api wants 2.3.0 runs 2.2.0 x1, 2.3.0 x1"];

    let before = index_with([stoa()]);
    apply(&before, ReplicaSets, old.clone());
    apply(&before, ReplicaSets, new.clone());
    assert_eq!(view(&before, "stoa"), [""; 0]);
    apply(&before, DEPLOYMENTS, rolling.clone());
    assert_eq!(view(&before, "stoa"), expected);

    let after = index_with([stoa()]);
    apply(&after, DEPLOYMENTS, rolling);
    assert_eq!(view(&after, "stoa"), ["api: deployment/api wants 2.3.0 runs 2.3.0 x1, an unknown revision x1"]);
    apply(&after, ReplicaSets, old);
    apply(&after, ReplicaSets, new);
    assert_eq!(view(&after, "stoa"), expected);

    // The last old pod goes: the ReplicaSet stays in the cluster, without pods.
    apply(&after, ReplicaSets, replica_set_json("stoa", "api-1", "api", "ghcr.io/x/api:2.2.0", 0));
    apply(&after, ReplicaSets, replica_set_json("stoa", "api-2", "api", "ghcr.io/x/api:2.3.0", 2));
    apply(&after, DEPLOYMENTS, deployment_json("stoa", "api", "ghcr.io/x/api:2.3.0"));
    assert_eq!(view(&after, "stoa"), ["api: deployment/api wants 2.3.0 runs 2.3.0 x2", "api: completed 2.3.0"]);
}

#[test]
fn a_relist_replaces_a_kind_everywhere_at_once() {
    let index = index_with([mk_policy("stoa", &["a", "b"], &[("api", API)])]);
    apply(&index, DEPLOYMENTS, deployment_json("a", "old", "ghcr.io/x/api:2.2.0"));
    apply(&index, DEPLOYMENTS, deployment_json("b", "old", "ghcr.io/x/api:2.2.0"));
    apply(&index, Workloads(WorkloadKind::StatefulSet), deployment_json("a", "kept", "ghcr.io/x/api:2.2.0"));
    let held = index.snapshot("a").unwrap();

    let objects = [
        deployment_json("a", "new", "ghcr.io/x/api:2.3.0"),
        deployment_json("a", "redis", "redis:7"),
        deployment_json("c", "api", "ghcr.io/x/api:2.3.0"),
    ];
    relist(&index, DEPLOYMENTS, objects);
    assert_eq!(
        view(&index, "a"),
        [
            "api: deployment/new wants 2.3.0 runs 2.3.0 x2",
            "api: statefulset/kept wants 2.2.0 runs 2.2.0 x2",
            // All of it is settled, so the lowest version is what the component completed.
            "api: completed 2.2.0",
        ]
    );
    assert_eq!(view(&index, "b"), ["api: completed 2.2.0"], "what is gone is remembered");
    let old = ["api: deployment/old wants 2.2.0 runs 2.2.0 x2", "api: statefulset/kept wants 2.2.0 runs 2.2.0 x2"];
    assert_eq!(shown(&held)[..2], old, "a snapshot never changes");
}

#[test]
fn a_deleted_workload_is_remembered_over_relists() {
    let index = index_with([stoa()]);
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", "ghcr.io/x/api:2.2.0"));
    index.remove(DEPLOYMENTS, &key("stoa", "api"));
    assert_eq!(view(&index, "stoa"), ["api: completed 2.2.0"]);
    relist(&index, DEPLOYMENTS, []);
    relist(&index, DEPLOYMENTS, []);
    assert_eq!(view(&index, "stoa"), ["api: completed 2.2.0"]);
}

#[test]
fn a_workload_that_stops_being_governed_is_forgotten() {
    let index = index_with([stoa()]);
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", "ghcr.io/x/api:2.2.0"));
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", "redis:7"));
    assert_eq!(view(&index, "stoa"), ["api: completed 2.2.0"]);
    assert_eq!(index.snapshot("stoa").unwrap().inventory.len(), 0);
}

#[test]
fn a_policy_that_cannot_be_read_keeps_its_last_good_self() {
    let index = index_with([stoa()]);
    let mut broken = stoa();
    broken.spec.components[0].after = vec!["nobody".to_owned()];
    let problems = index.write(|index| index.put_policy(&broken));
    let expected = ObjectProblem::of(
        Source::Policies,
        "stoa",
        "spec.components[0].after[0]: no component is named 'nobody'; there are api",
    );
    assert_eq!(problems, std::slice::from_ref(&expected));
    assert_eq!(index.write(|index| index.put_policy(&broken)), [], "the same problem is reported once");
    assert_eq!(index.read(Index::problems), [expected]);
    assert!(index.snapshot("stoa").is_some());

    // The same over a relist, and for one that is no policy at all.
    index.write(|index| index.reset_policies(listed([broken])));
    assert!(index.snapshot("stoa").is_some());
    let unreadable = BTreeMap::from([(key("", "stoa"), "invalid type".to_owned())]);
    index.write(|index| index.reset_policies(Listed { unreadable, ..Listed::default() }));
    assert!(index.snapshot("stoa").is_some());
    assert_eq!(index.read(Index::problems), [ObjectProblem::of(Source::Policies, "stoa", "invalid type")]);

    index.write(|index| index.put_policy(&stoa()));
    assert_eq!(index.read(Index::problems), []);
    index.write(|index| index.reset_policies(Listed::default()));
    assert!(index.snapshot("stoa").is_none());
}

#[test]
fn releases_make_lines_and_their_problems_are_told() {
    let index = index_with([stoa()]);
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", "ghcr.io/x/api:dev-1"));
    assert_eq!(view(&index, "stoa")[0], "api: deployment/api wants dev-1 runs dev-1 x2");

    let release = mk_release("stoa", "2026.07", "api", "dev-1", "2.2.0");
    assert_eq!(index.write(|index| index.put_release(release)), []);
    assert_eq!(view(&index, "stoa")[0], "api: deployment/api wants 2.2.0 runs 2.2.0 x2");

    let stranger = mk_release("stoa", "2026.08", "web", "dev-2", "2.3.0");
    let expected = ObjectProblem::of(
        Source::Releases,
        "stoa-2026.08",
        "spec.components[0].name: policy 'stoa' has no component 'web'",
    );
    assert_eq!(index.write(|index| index.put_release(stranger)), std::slice::from_ref(&expected));
    assert_eq!(index.read(Index::problems), [expected]);

    // One that cannot be read any more stays what it was; one that is gone is gone.
    let unreadable = BTreeMap::from([(key("", "stoa-2026.07"), "invalid type".to_owned())]);
    index.write(|index| index.reset_releases(Listed { unreadable, ..Listed::default() }));
    assert_eq!(view(&index, "stoa")[0], "api: deployment/api wants 2.2.0 runs 2.2.0 x2");
    assert_eq!(index.read(Index::problems), [ObjectProblem::of(Source::Releases, "stoa-2026.07", "invalid type")]);
    index.write(|index| index.remove_release("stoa-2026.07"));
    assert_eq!(view(&index, "stoa")[0], "api: deployment/api wants dev-1 runs dev-1 x2");
    assert_eq!(index.read(Index::problems), []);
    assert_eq!(index.read(Index::generation), 1, "releases change nothing of what is kept");
}

#[test]
fn an_unreadable_workload_stays_what_it_was() {
    let index = index_with([stoa()]);
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", "ghcr.io/x/api:2.2.0"));
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "gone", "ghcr.io/x/api:2.2.0"));
    let unreadable =
        ["api", "never-read"].map(|name| (key("stoa", name), "invalid type".to_owned())).into_iter().collect();
    index.write(|index| index.reset(DEPLOYMENTS, 1, Listed { records: vec![], unreadable }));
    assert_eq!(view(&index, "stoa"), ["api: deployment/api wants 2.2.0 runs 2.2.0 x2", "api: completed 2.2.0"]);
}

#[test]
fn the_index_is_synced_when_every_kind_was_listed() {
    let index = SharedIndex::new();
    assert_eq!(index.read(|index| index.unsynced().collect::<Vec<_>>()), Source::ALL);
    index.write(|index| index.reset_policies(listed([stoa()])));
    relist_others(&index);
    assert_eq!(index.read(|index| index.unsynced().collect::<Vec<_>>()), [DEPLOYMENTS.source()]);
    assert!(!index.is_synced());
    relist(&index, DEPLOYMENTS, []);
    assert!(index.is_synced());

    // Rollouts come and are waited for, and go.
    index.write(|index| index.expect(Source::Workloads(WorkloadKind::Rollout)));
    assert!(!index.is_synced());
    index.write(|index| index.absent(Workloads(WorkloadKind::Rollout)));
    assert!(index.is_synced());
}

#[test]
fn a_policy_that_asks_for_more_waits_for_a_new_list() {
    let index = index_with([stoa()]);
    relist_others(&index);
    let portal = deployment_json("stoa", "portal", "ghcr.io/x/portal:2.2.0");
    relist(&index, DEPLOYMENTS, [portal.clone()]);
    assert_eq!(index.settled_snapshot("stoa").now_or_never().map(|found| shown(&found.unwrap())), Some(vec![]));

    let both = mk_policy("stoa", &["stoa"], &[("api", API), ("portal", PORTAL)]);
    index.write(|index| index.put_policy(&both));
    assert_eq!(index.read(Index::generation), 2);
    let mut settled = std::pin::pin!(index.settled_snapshot("stoa"));
    assert!(settled.as_mut().now_or_never().is_none());
    // Nobody else waits with it.
    assert!(index.settled_snapshot("elsewhere").now_or_never().expect("nothing to wait for").is_none());

    // What was listed before the change lacks the portal, whenever it arrives.
    assert!(!relist_of(&index, DEPLOYMENTS, 1, []));
    relist_others(&index);
    assert!(settled.as_mut().now_or_never().is_none());
    relist(&index, DEPLOYMENTS, [portal]);
    let expected = ["portal: deployment/portal wants 2.2.0 runs 2.2.0 x2", "portal: completed 2.2.0"];
    assert_eq!(shown(&settled.now_or_never().expect("synced").unwrap()), expected);
}

#[test]
fn only_what_is_asked_for_in_addition_starts_a_generation() {
    let base = || policy_json("stoa", &["stoa"], &[("api", API)]);
    let matching = |by: Value| {
        let mut policy = base();
        policy["spec"]["components"][0]["match"] = by;
        policy
    };
    let modes = {
        let mut policy = base();
        policy["spec"]["modes"] = json!({ "UG-ORDER": "Audit" });
        policy["spec"]["maxHop"] = json!(2);
        policy
    };
    for (what, changed, expected) in [
        ("nothing", base(), 1),
        ("modes", modes, 1),
        ("a name for a component", policy_json("stoa", &["stoa"], &[("renamed", API)]), 1),
        ("a namespace more", policy_json("stoa", &["stoa", "more"], &[("api", API)]), 2),
        ("an image more", matching(json!({ "images": [API, "*/api"] })), 2),
        ("a name more", matching(json!({ "images": [API], "names": ["api"] })), 2),
        ("labels more", matching(json!({ "images": [API], "labels": { "app": "api" } })), 2),
        ("another image", matching(json!({ "images": ["*/api"] })), 2),
    ] {
        let index = index_with([stoa()]);
        index.write(|index| index.put_policy(&read(changed)));
        assert_eq!(index.read(Index::generation), expected, "{what}");
    }
}

#[test]
fn modes_apply_at_once() {
    let index = index_with([stoa()]);
    relist_others(&index);
    relist(&index, DEPLOYMENTS, [deployment_json("stoa", "api", "ghcr.io/x/api:2.2.0")]);
    let mut policy = stoa();
    policy.spec.modes.insert("UG-ORDER".to_owned(), Mode::Audit);
    index.write(|index| index.put_policy(&policy));
    let snapshot = index.settled_snapshot("stoa").now_or_never().expect("no list is needed").unwrap();
    assert_eq!(snapshot.policies[0].mode_of(Rule::Order), Mode::Audit);
    assert_eq!(shown(&snapshot)[0], "api: deployment/api wants 2.2.0 runs 2.2.0 x2");
}

#[test]
fn a_deleted_policy_is_gone_at_once_with_all_it_kept() {
    let portal = mk_policy("portal", &["stoa", "web"], &[("portal", PORTAL)]);
    let index = index_with([stoa(), portal]);
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", "ghcr.io/x/api:2.2.0"));
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "portal", "ghcr.io/x/portal:2.2.0"));
    apply(&index, ReplicaSets, replica_set_json("stoa", "portal-1", "portal", "ghcr.io/x/portal:2.2.0", 2));
    apply(&index, DEPLOYMENTS, deployment_json("web", "portal", "ghcr.io/x/portal:2.2.0"));
    let policies = index.snapshot("stoa").unwrap().policies;
    assert_eq!(policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["portal", "stoa"]);

    index.write(|index| index.remove_policy("portal"));
    assert!(index.snapshot("web").is_none());
    assert_eq!(view(&index, "stoa"), ["api: deployment/api wants 2.2.0 runs 2.2.0 x2", "api: completed 2.2.0"]);
    assert_eq!(index.read(Index::len), 2, "the policy and its Deployment");
    assert_eq!(index.read(Index::generation), 1, "less needs no list");
}

#[test]
fn what_nobody_kept_takes_no_write_and_no_copy() {
    let index = index_with([stoa()]);
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", "ghcr.io/x/api:2.2.0"));
    let held = index.snapshot("stoa").unwrap();
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "redis", "redis:7"));
    index.remove(DEPLOYMENTS, &key("stoa", "redis"));
    index.remove(ReplicaSets, &key("stoa", "redis-1"));
    assert!(Arc::ptr_eq(&held.inventory, &index.snapshot("stoa").unwrap().inventory));
}

#[test]
fn who_follows_a_namespace_is_told_of_what_changes_in_it_and_of_nothing_else() {
    let index = index_with([stoa(), mk_policy("other", &["other"], &[("api", API)])]);
    let mut stoa = index.read(|index| index.revisions("stoa")).unwrap();
    assert!(index.read(|index| index.revisions("nowhere")).is_none());
    let mut changed = || {
        let changed = stoa.has_changed();
        stoa.mark_unchanged();
        changed.ok()
    };
    let api = format!("{API}:1.0.0");
    assert_eq!(changed(), Some(false));
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "api", &api));
    assert_eq!(changed(), Some(true));
    apply(&index, DEPLOYMENTS, deployment_json("other", "api", &api));
    apply(&index, DEPLOYMENTS, deployment_json("stoa", "nginx", "nginx:1"));
    index.remove(DEPLOYMENTS, &key("stoa", "nginx"));
    assert_eq!(changed(), Some(false), "what is not kept changes nothing");
    index.remove(DEPLOYMENTS, &key("stoa", "api"));
    assert_eq!(changed(), Some(true));

    let mut rebuilds = index.rebuilds();
    rebuilds.mark_unchanged();
    assert_eq!(index.write(|index| index.remove_policy("other")), []);
    assert!(rebuilds.has_changed().unwrap());
    assert_eq!(changed(), Some(true), "its policies may be others");
    assert_eq!(index.write(|index| index.remove_policy("stoa")), []);
    assert_eq!(changed(), None, "no policy governs it any more");
}
