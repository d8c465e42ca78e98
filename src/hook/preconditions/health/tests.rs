use std::cell::RefCell;

use serde_json::json;

use super::*;
use crate::api::UpgradePolicy;

fn policy() -> Policy {
    let component = |name: &str| json!({"name": name, "match": {"names": [name]}});
    let spec = json!({"namespaces": ["shop"], "components": [component("api"), component("ui")]});
    let policy: UpgradePolicy = serde_json::from_value(json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": "p"}, "spec": spec,
    }))
    .unwrap();
    Policy::try_from(&policy).unwrap()
}

fn workload(name: &str, replicas: u32, selector: &Value) -> Workload {
    let object = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": selector,
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": name, "image": "x:1"}]}},
        },
    }));
    Workload::read(WorkloadKind::Deployment, &object.unwrap()).unwrap()
}

fn of(name: &str) -> Value {
    json!({"matchLabels": {"app": name}})
}

fn pod(app: &str, name: &str, ready: &str, restarts: i32) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": app}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": app, "restartCount": restarts, "state": {"running": {}}}],
        },
    })
}

fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[last] = value;
    pod
}

fn spec(components: &[&str]) -> HealthSpec {
    HealthSpec { components: components.iter().map(ToString::to_string).collect(), max_restarts: 5 }
}

/// What was found, and what was said of single pods.
fn judged(components: &[&str], workloads: &[Workload], pods: &[Value]) -> (Result<String, String>, Vec<String>) {
    let said = RefCell::new(Vec::new());
    let found = judge(&policy(), &spec(components), workloads, pods, &|text| said.borrow_mut().push(text));
    (found.map(|proof| proof.message), said.into_inner())
}

#[test]
fn workloads_are_well_when_all_their_pods_are() {
    let crash = json!([{"name": "api", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
    let pull = json!([{"name": "api", "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
    let good = || pod("api", "api-a", "True", 1);
    let well = Ok("api 2/2 pods ready; none in a crash loop, at most 5 restarts each");
    for (second, expected) in [
        (Some(pod("api", "api-b", "True", 5)), well),
        (Some(pod("api", "api-b", "False", 0)), Err("api: 1 of 2 pods are ready")),
        (None, Err("api: 1 of 2 pods are ready")),
        (Some(pod("other", "api-b", "True", 0)), Err("api: 1 of 2 pods are ready")),
        (Some(pod("api", "api-b", "True", 6)), Err("api: a container restarted 6 times, at most 5")),
        (
            Some(with(pod("api", "api-b", "False", 0), "/status/containerStatuses", crash.clone())),
            Err("api: 1 of 2 pods are ready, 1 in a crash loop"),
        ),
        // A sidecar or an init container that loops is one, too, also while the pod says that it is ready.
        (
            Some(with(pod("api", "api-b", "True", 0), "/status/initContainerStatuses", crash)),
            Err("api: 1 in a crash loop"),
        ),
        (
            Some(with(pod("api", "api-b", "False", 0), "/status/containerStatuses", pull)),
            Err("api: 1 of 2 pods are ready"),
        ),
        (
            Some(with(pod("api", "api-b", "True", 0), "/metadata/deletionTimestamp", json!("2026-07-17T11:00:00Z"))),
            Err("api: 1 of 2 pods are ready"),
        ),
        (
            Some(with(pod("api", "api-b", "True", 0), "/status/phase", json!("Failed"))),
            Err("api: 1 of 2 pods are ready"),
        ),
    ] {
        let pods: Vec<Value> = [good()].into_iter().chain(second.clone()).collect();
        let (found, _) = judged(&[], &[workload("api", 2, &of("api"))], &pods);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{second:?}");
    }
}

#[test]
fn an_evicted_pod_that_was_replaced_is_no_fault() {
    let evicted = with(pod("api", "api-old", "False", 9), "/status/phase", json!("Failed"));
    let (found, said) = judged(&[], &[workload("api", 1, &of("api"))], &[pod("api", "api-a", "True", 0), evicted]);
    assert!(found.is_ok() && said.is_empty(), "{found:?} {said:?}");
}

#[test]
fn components_are_told_and_pods_only_said() {
    let crash = json!([{"name": "ui", "restartCount": 12, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
    let pods = [
        pod("api", "api-a", "True", 0),
        with(pod("ui", "ui-a", "False", 0), "/status/containerStatuses", crash),
        pod("ui", "ui-b", "False", 0),
    ];
    let workloads = [workload("api", 1, &of("api")), workload("ui", 2, &of("ui"))];
    let (found, said) = judged(&[], &workloads, &pods);
    assert_eq!(
        found.unwrap_err(),
        "ui: 0 of 2 pods are ready, 1 in a crash loop, a container restarted 12 times, at most 5"
    );
    assert_eq!(said, ["pod ui-a has container ui in a crash loop, 12 restarts", "pod ui-b is not ready, 0 restarts"]);
    let (found, _) = judged(&["api"], &workloads, &pods);
    assert_eq!(found.unwrap(), "api 1/1 pods ready; none in a crash loop, at most 5 restarts each");
}

#[test]
fn what_is_not_there_is_only_missed_where_it_is_named() {
    let (workloads, pods) = ([workload("api", 1, &of("api"))], [pod("api", "api-a", "True", 0)]);
    assert!(judged(&[], &workloads, &pods).0.is_ok());
    assert_eq!(judged(&["api", "ui"], &workloads, &pods).0.unwrap_err(), "ui has no workload");
    let nothing = "no component has a workload: there is nothing that could be well";
    assert_eq!(judged(&[], &[], &pods).0.unwrap_err(), nothing);
    assert!(judged(&[], &[workload("api", 0, &of("api"))], &[]).0.is_ok(), "scaled to zero is as it should be");
}

#[test]
fn a_workload_without_a_selector_does_not_own_every_pod() {
    for selector in [json!(null), json!({})] {
        let (found, _) = judged(&[], &[workload("api", 1, &selector)], &[pod("ui", "ui-a", "True", 0)]);
        assert_eq!(found.unwrap_err(), "api: deployment/api has no selector, so its pods cannot be told");
    }
}
