//! Objects for the tests of the index and of the watches.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::index::{Listed, ObjectKey};
use super::snapshot::Snapshot;
use crate::api::{PlatformRelease, UpgradePolicy};

/// A policy that governs `namespaces`, with components found by image: `(component, repository)`.
pub fn policy_json(name: &str, namespaces: &[&str], components: &[(&str, &str)]) -> Value {
    let components: Vec<Value> = (components.iter())
        .map(|(component, image)| json!({ "name": component, "match": { "images": [image] } }))
        .collect();
    json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": name, "resourceVersion": "1" },
        "spec": { "namespaces": namespaces, "components": components },
    })
}

pub fn mk_policy(name: &str, namespaces: &[&str], components: &[(&str, &str)]) -> UpgradePolicy {
    serde_json::from_value(policy_json(name, namespaces, components)).unwrap()
}

pub fn mk_release(policy: &str, version: &str, component: &str, tag: &str, is: &str) -> PlatformRelease {
    serde_json::from_value(json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1",
        "kind": "PlatformRelease",
        "metadata": { "name": format!("{policy}-{version}") },
        "spec": {
            "policy": policy,
            "version": version,
            "components": [{ "name": component, "version": is, "tags": [tag] }],
        },
    }))
    .unwrap()
}

/// A settled Deployment of two pods.
pub fn deployment_json(namespace: &str, name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-{name}"), "resourceVersion": "1",
            "generation": 1, "labels": { "app": name },
            "managedFields": [{ "manager": "test", "fieldsV1": { "f:spec": {} } }],
        },
        "spec": {
            "replicas": 2,
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": image }] },
            },
        },
        "status": { "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 },
    })
}

/// A ReplicaSet of the Deployment `owner`.
pub fn replica_set_json(namespace: &str, name: &str, owner: &str, image: &str, pods: i32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "namespace": namespace, "name": name, "resourceVersion": "1",
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": owner, "uid": format!("uid-{owner}"),
                "controller": true,
            }],
        },
        "spec": {
            "replicas": pods,
            "template": { "spec": { "containers": [{ "name": "main", "image": image }] } },
        },
        "status": { "replicas": pods },
    })
}

/// `object` as the API server would send it.
pub fn read<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

pub fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// A list of cluster-scoped objects.
pub fn listed<K: kube::Resource>(objects: impl IntoIterator<Item = K>) -> Listed<K> {
    let records = objects.into_iter().map(|object| (ObjectKey::of(&object), object)).collect();
    Listed { records, ..Listed::default() }
}

/// Everything the first policy's view says, a line for each workload and one for what is recorded.
pub fn shown(snapshot: &Snapshot) -> Vec<String> {
    let policy = &snapshot.policies[0];
    let view = snapshot.inventory.view(policy, Timestamp::UNIX_EPOCH);
    let mut lines = Vec::new();
    for id in policy.ids() {
        let (name, component) = (&policy.component(id).name, view.component(id));
        for workload in &component.workloads {
            let desired: Vec<String> = workload.desired.iter().map(ToString::to_string).collect();
            let running: Vec<String> =
                workload.running.iter().map(|(version, pods)| format!("{version} x{pods}")).collect();
            lines.push(format!("{name}: {} wants {} runs {}", workload.id, desired.join(", "), running.join(", ")));
        }
        lines.extend(component.recorded.as_ref().map(|version| format!("{name}: completed {version}")));
        lines.extend(component.intents.iter().map(|intent| format!("{name}: admitted {}", intent.version)));
    }
    lines
}
