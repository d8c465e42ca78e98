//! The demonstration's cluster: manifests in a folder, changed as Kubernetes would change them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use json_patch::{Patch, PatchOperation, ReplaceOperation};
use serde_json::{Value, json};

/// The policy that the demonstration is about, as it is shipped.
const POLICY: &str = include_str!("../../../manifests/policies/stoa.yaml");
const NAMESPACE: &str = "stoa-system";
const COMPONENTS: [&str; 4] = ["control-plane-api", "stoa-gateway", "control-plane-ui", "portal"];
const START: &str = "2.2.0";
const REPLICAS: u32 = 2;

/// A platform of four Deployments in a folder.
pub(super) struct Platform {
    folder: PathBuf,
    /// What each Deployment runs and asks for.
    versions: BTreeMap<&'static str, (String, String)>,
}

impl Platform {
    /// Writes the policy, the shipped one unless `policy` is another, and four Deployments that have completed their first version.
    pub(super) fn start(folder: &Path, policy: Option<&str>) -> anyhow::Result<Self> {
        let versions = COMPONENTS.map(|component| (component, (START.to_owned(), START.to_owned())));
        let platform = Self { folder: folder.to_owned(), versions: versions.into() };
        platform.write("policy.yaml", policy.unwrap_or(POLICY))?;
        for component in COMPONENTS {
            platform.write_workload(component, REPLICAS)?;
        }
        Ok(platform)
    }

    /// The version that a component asks for.
    pub(super) fn version(&self, component: &str) -> String {
        self.versions.get(component).map(|(_, wanted)| wanted.clone()).unwrap_or_default()
    }

    /// The review that `kubectl set image` leads to: the image replaced, everything else as it was.
    pub(super) fn review(&self, component: &str, version: &str) -> anyhow::Result<Value> {
        let old = self.deployment(component, REPLICAS);
        let mut new = old.clone();
        let path = "/spec/template/spec/containers/0/image".parse().context("the path of the image")?;
        let replace = ReplaceOperation { path, value: json!(image(component, version)) };
        json_patch::patch(&mut new, &Patch(vec![PatchOperation::Replace(replace)]))
            .context("cannot change the image")?;
        Ok(json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": format!("demo-{component}-{version}"),
                "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
                "name": component,
                "namespace": NAMESPACE,
                "operation": "UPDATE",
                "userInfo": {"username": "demo"},
                "object": new,
                "oldObject": old,
                "dryRun": false,
                "options": {"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions", "fieldManager": "kubectl-set"},
            }
        }))
    }

    /// Stores an admitted change, before any pod of it runs.
    pub(super) fn admit(&mut self, component: &str, version: &str) -> anyhow::Result<()> {
        if let Some((_, wanted)) = self.versions.get_mut(component) {
            version.clone_into(wanted);
        }
        self.write_workload(component, 0)
    }

    /// Lets the rollout go on to half of the pods.
    pub(super) fn roll_half(&mut self, component: &str, version: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.version(component) == version, "{component} was not admitted at {version}");
        self.write_workload(component, REPLICAS / 2)
    }

    /// Lets the rollout complete.
    pub(super) fn complete(&mut self, component: &str) -> anyhow::Result<()> {
        if let Some((running, wanted)) = self.versions.get_mut(component) {
            running.clone_from(wanted);
        }
        self.write_workload(component, REPLICAS)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a component's Deployment, ReplicaSets and disruption budget, with `updated` pods of what it asks for.
    fn write_workload(&self, component: &str, updated: u32) -> anyhow::Result<()> {
        let Some((running, wanted)) = self.versions.get(component) else { return Ok(()) };
        let mut items = vec![self.deployment(component, updated), budget(component)];
        items.push(replica_set(component, wanted, updated));
        if running != wanted {
            items.push(replica_set(component, running, REPLICAS - updated));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        self.write(&format!("{component}.json"), &list.to_string())
    }

    fn deployment(&self, component: &str, updated: u32) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": component, "namespace": NAMESPACE, "uid": component, "generation": 1},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": {"app": component}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
                "template": template(component, &self.version(component)),
            },
            "status": {
                "observedGeneration": 1,
                "replicas": REPLICAS,
                "updatedReplicas": updated,
                "readyReplicas": REPLICAS,
                "availableReplicas": REPLICAS,
            }
        })
    }
}

fn image(component: &str, version: &str) -> String {
    format!("ghcr.io/stoa-platform/{component}:{version}")
}

fn template(component: &str, version: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": component}},
        "spec": {"containers": [{
            "name": component,
            "image": image(component, version),
            "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}},
        }]}
    })
}

fn replica_set(component: &str, version: &str, pods: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{component}-{version}"),
            "namespace": NAMESPACE,
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": component, "uid": component, "controller": true}
            ],
        },
        "spec": {"replicas": pods, "template": template(component, version)},
        "status": {"replicas": pods},
    })
}

fn budget(component: &str) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": component, "namespace": NAMESPACE},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": component}}},
    })
}
