//! Pods: whose they are, and how they are.

use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::object::PodSpec;
use crate::domain::view::WorkloadId;

/// A pod, of whose spec only the containers are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Whose it is.
    pub metadata: ObjectMeta,
    /// What it is to run.
    pub spec: PodSpec,
    /// What it runs.
    pub status: PodStatus,
}

/// The label that a Deployment gives its ReplicaSets, and the kind of that owner.
const HASHES: [(&str, &str); 2] = [("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")];

/// The workload that `pod` is of: its owner, or the one behind its ReplicaSet.
#[must_use]
pub fn owner(pod: &Pod) -> Option<WorkloadId> {
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    if owner.kind != "ReplicaSet" {
        return Some(WorkloadId { kind: owner.kind.clone(), name: owner.name.clone() });
    }
    HASHES.iter().find_map(|(label, kind)| {
        let hash = pod.metadata.labels.as_ref()?.get(*label)?;
        let name = owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
        Some(WorkloadId { kind: (*kind).to_owned(), name: name.to_owned() })
    })
}

/// How a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Which pod: no other has the same, also none of the same name.
    pub uid: String,
    /// The workload that it is of.
    pub owner: Option<WorkloadId>,
    /// Whether it is Ready.
    pub ready: bool,
    /// Its containers, the init containers first.
    pub containers: Vec<ContainerState>,
}

/// How a container of a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// How often it was started again.
    pub restarts: i32,
    /// Why it does not run, where that is more than starting: `CrashLoopBackOff`, `ImagePullBackOff`, ...
    pub trouble: Option<String>,
}

/// What a container waits for in the ordinary course of things.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

impl PodState {
    /// Reads a pod; `None` for one that has ended, or is about to.
    #[must_use]
    pub fn read(pod: &Pod) -> Option<Self> {
        let status = &pod.status;
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if ended || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let mut conditions = status.conditions.iter().flatten();
        let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        Some(Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            owner: owner(pod),
            ready: conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            containers: containers.map(ContainerState::read).collect(),
        })
    }

    /// The restarts of all its containers.
    #[must_use]
    pub fn restarts(&self) -> i64 {
        self.containers.iter().map(|container| i64::from(container.restarts)).sum()
    }
}

impl ContainerState {
    fn read(status: &ContainerStatus) -> Self {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        let trouble = waiting.and_then(|waiting| waiting.reason.clone());
        let trouble = trouble.filter(|reason| !ORDINARY.contains(&reason.as_str()));
        Self { name: status.name.clone(), restarts: status.restart_count, trouble }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(owner: &Value, labels: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "pod", "labels": labels, "ownerReferences": [owner]}}))
            .unwrap()
    }

    fn owner_json(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true})
    }

    #[test]
    fn a_pod_is_of_the_workload_behind_it() {
        for (kind, name, labels, expected) in [
            ("ReplicaSet", "api-v2-6d4b75cb6d", json!({"pod-template-hash": "6d4b75cb6d"}), Some("deployment/api-v2")),
            ("ReplicaSet", "api-6d4b75cb6d", json!({"rollouts-pod-template-hash": "6d4b75cb6d"}), Some("rollout/api")),
            ("ReplicaSet", "by-hand", json!({}), None),
            ("ReplicaSet", "6d4b75cb6d", json!({"pod-template-hash": "6d4b75cb6d"}), None),
            ("StatefulSet", "keycloak", json!({}), Some("statefulset/keycloak")),
            ("DaemonSet", "gateway", json!({}), Some("daemonset/gateway")),
        ] {
            let found = owner(&pod(&owner_json(kind, name), &labels)).map(|id| id.to_string());
            assert_eq!(found.as_deref(), expected, "{kind} {name}");
        }
    }

    #[test]
    fn a_pod_is_read_as_it_is_now() {
        let read = |extra: Value| {
            let mut pod = json!({
                "metadata": {"name": "pod", "uid": "1"},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}],
                    "initContainerStatuses": [
                        {"name": "wait", "image": "", "imageID": "", "ready": true, "restartCount": 1},
                    ],
                    "containerStatuses": [
                        {"name": "api", "image": "", "imageID": "", "ready": false, "restartCount": 4,
                         "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
                        {"name": "log", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                         "state": {"waiting": {"reason": "ContainerCreating"}}},
                    ],
                },
            });
            json_patch::merge(&mut pod, &extra);
            PodState::read(&serde_json::from_value(pod).unwrap())
        };
        let state = read(json!({})).unwrap();
        assert_eq!((state.ready, state.restarts()), (false, 5));
        let troubles: Vec<Option<&str>> = state.containers.iter().map(|c| c.trouble.as_deref()).collect();
        assert_eq!(troubles, [None, Some("CrashLoopBackOff"), None]);
        assert_eq!(read(json!({"metadata": {"deletionTimestamp": "2026-07-17T12:00:00Z"}})), None);
        assert_eq!(read(json!({"status": {"phase": "Failed"}})), None);
        let ready = read(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})).unwrap();
        assert!(ready.ready);
    }
}
