//! Kubernetes objects as the API server writes them.

use serde_json::{Value, json};
use upgrade_guard::cluster::object::{WorkloadKind, WorkloadObject};
use upgrade_guard::cluster::record::{AutoscalerRecord, BudgetRecord, RevisionRecord, WorkloadRecord};

pub const NAMESPACE: &str = "stoa-system";
pub const REGISTRY: &str = "ghcr.io/stoa-platform";

/// The image of a component of the platform.
pub fn image(component: &str, version: &str) -> String {
    format!("{REGISTRY}/{component}:{version}")
}

/// A workload's JSON, with setters for what tests vary.
#[derive(Clone, Debug)]
pub struct Workload {
    pub kind: WorkloadKind,
    pub json: Value,
}

impl Workload {
    /// A settled Deployment of two pods, as Helm renders it and the API server completes it.
    pub fn deployment(name: &str, image: &str) -> Self {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        let json = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(name),
            "spec": {
                "progressDeadlineSeconds": 600,
                "replicas": 2,
                "revisionHistoryLimit": 10,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "strategy": strategy,
                "template": template(name, image),
            },
            "status": {
                "observedGeneration": 4,
                "replicas": 2,
                "updatedReplicas": 2,
                "readyReplicas": 2,
                "availableReplicas": 2,
                "conditions": [
                    condition("Available", "MinimumReplicasAvailable"),
                    condition("Progressing", "NewReplicaSetAvailable"),
                ],
            },
        });
        Self { kind: WorkloadKind::Deployment, json }
    }

    /// A settled StatefulSet of two pods.
    pub fn stateful_set(name: &str, image: &str) -> Self {
        let revision = format!("{name}-7d4f");
        let json = json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": metadata(name),
            "spec": {
                "podManagementPolicy": "OrderedReady",
                "replicas": 2,
                "revisionHistoryLimit": 10,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "serviceName": name,
                "template": template(name, image),
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            },
            "status": {
                "observedGeneration": 4,
                "replicas": 2,
                "readyReplicas": 2,
                "availableReplicas": 2,
                "currentReplicas": 2,
                "updatedReplicas": 2,
                "currentRevision": revision,
                "updateRevision": revision,
                "collisionCount": 0,
            },
        });
        Self { kind: WorkloadKind::StatefulSet, json }
    }

    /// A settled DaemonSet on two nodes.
    pub fn daemon_set(name: &str, image: &str) -> Self {
        let json = json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": metadata(name),
            "spec": {
                "revisionHistoryLimit": 10,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "template": template(name, image),
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            },
            "status": {
                "observedGeneration": 4,
                "currentNumberScheduled": 2,
                "desiredNumberScheduled": 2,
                "updatedNumberScheduled": 2,
                "numberAvailable": 2,
                "numberMisscheduled": 0,
                "numberReady": 2,
            },
        });
        Self { kind: WorkloadKind::DaemonSet, json }
    }

    /// A settled Argo Rollout of two pods. Its controller writes the observed generation as text.
    pub fn rollout(name: &str, image: &str) -> Self {
        let json = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": metadata(name),
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}},
                "template": template(name, image),
            },
            "status": {
                "observedGeneration": "4",
                "replicas": 2,
                "updatedReplicas": 2,
                "readyReplicas": 2,
                "availableReplicas": 2,
                "phase": "Healthy",
                "conditions": [condition("Healthy", "RolloutHealthy")],
            },
        });
        Self { kind: WorkloadKind::Rollout, json }
    }

    /// Sets a field; what is missing on the way is made.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.json;
        for key in pointer.split('/').skip(1) {
            let key = key.replace("~1", "/");
            at = match key.parse::<usize>() {
                Ok(index) if at.is_array() => &mut at[index],
                _ => &mut at[key.as_str()],
            };
        }
        *at = value.into();
        self
    }

    /// Takes a field away.
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.json.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        self
    }

    /// The image of the first container.
    pub fn image(self, image: &str) -> Self {
        self.set("/spec/template/spec/containers/0/image", image)
    }

    /// The number of pods, all of them there.
    pub fn replicas(self, count: u32) -> Self {
        self.set("/spec/replicas", count)
            .set("/status/replicas", count)
            .set("/status/updatedReplicas", count)
            .set("/status/availableReplicas", count)
    }

    /// A rollout with `updated` of two pods on the new revision.
    pub fn rolling(self, updated: u32) -> Self {
        self.set("/status/updatedReplicas", updated)
    }

    pub fn name(&self) -> String {
        self.json["metadata"]["name"].as_str().unwrap_or_default().to_owned()
    }

    pub fn record(&self) -> WorkloadRecord {
        let object: WorkloadObject = serde_json::from_value(self.json.clone()).unwrap();
        WorkloadRecord::read(self.kind, &object).unwrap()
    }

    /// A ReplicaSet of this workload with `pods` pods of `image`.
    pub fn replica_set(&self, image: &str, pods: u32) -> RevisionRecord {
        let hash = image.rsplit(':').next().unwrap().replace('.', "");
        let name = format!("{}-{hash}", self.name());
        let object: WorkloadObject = serde_json::from_value(json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [self.owner()]},
            "spec": {"replicas": pods, "template": self.clone().image(image).json["spec"]["template"]},
            "status": {"replicas": pods, "observedGeneration": 1},
        }))
        .unwrap();
        RevisionRecord::of_replica_set(&object).unwrap()
    }

    /// The ControllerRevision of this workload with this name and number, for `image`.
    pub fn controller_revision(&self, name: &str, number: i64, image: &str) -> RevisionRecord {
        let template = &self.clone().image(image).json["spec"]["template"];
        let object = serde_json::from_value(json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [self.owner()]},
            "data": {"spec": {"template": template}},
            "revision": number,
        }))
        .unwrap();
        RevisionRecord::of_controller_revision(&object).unwrap()
    }

    fn owner(&self) -> Value {
        json!({
            "apiVersion": self.json["apiVersion"],
            "kind": self.json["kind"],
            "name": self.json["metadata"]["name"],
            "uid": self.json["metadata"]["uid"],
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "namespace": NAMESPACE,
        "uid": format!("7c9e6679-7425-40de-944b-{name}"),
        "resourceVersion": "18834",
        "generation": 4,
        "creationTimestamp": "2026-03-02T09:11:27Z",
        "labels": {
            "app.kubernetes.io/name": name,
            "app.kubernetes.io/instance": "stoa",
            "app.kubernetes.io/managed-by": "Helm",
        },
        "annotations": {"deployment.kubernetes.io/revision": "4", "meta.helm.sh/release-name": "stoa"},
        "managedFields": [{
            "manager": "helm",
            "operation": "Update",
            "apiVersion": "apps/v1",
            "time": "2026-03-02T09:11:27Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }],
    })
}

fn template(name: &str, image: &str) -> Value {
    json!({
        "metadata": {
            "creationTimestamp": null,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "stoa"},
            "annotations": {"checksum/config": "5f2d"},
        },
        "spec": {
            "containers": [{
                "name": name,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "env": [{"name": "LOG_LEVEL", "value": "info"}],
                "resources": {"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/health", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {"runAsNonRoot": true},
            "serviceAccountName": name,
            "terminationGracePeriodSeconds": 30,
        },
    })
}

fn condition(kind: &str, reason: &str) -> Value {
    json!({
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": "",
        "lastTransitionTime": "2026-03-02T09:11:57Z",
        "lastUpdateTime": "2026-03-02T09:11:57Z",
    })
}

/// A disruption budget over the pods of `app`.
pub fn budget(app: &str, max_unavailable: u32) -> BudgetRecord {
    let object: k8s_openapi::api::policy::v1::PodDisruptionBudget = serde_json::from_value(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": app, "namespace": NAMESPACE},
        "spec": {
            "maxUnavailable": max_unavailable,
            "selector": {"matchLabels": {"app.kubernetes.io/name": app}},
        },
    }))
    .unwrap();
    BudgetRecord::from(&object)
}

/// An autoscaler of the Deployment `app`.
pub fn autoscaler(app: &str, least: u32) -> AutoscalerRecord {
    let object: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler = serde_json::from_value(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": app, "namespace": NAMESPACE},
        "spec": {
            "minReplicas": least,
            "maxReplicas": 10,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
        },
    }))
    .unwrap();
    AutoscalerRecord::from(&object)
}
