//! A toy platform with the names of the STOA platform: four components, each a real process (`tests/node/toy`).

use anyhow::Result;
use serde_json::{Value, json};

use crate::world::World;

/// The components, in the order of an upgrade.
pub(crate) const COMPONENTS: [&str; 4] = ["control-plane-api", "stoa-gateway", "control-plane-ui", "portal"];

/// The image of a component.
pub(crate) fn image(component: &str, version: &str) -> String {
    format!("ghcr.io/stoa-platform/{component}:{version}")
}

/// A Deployment of a component, as the platform's own are: two replicas, of which one goes before its successor comes.
pub(crate) fn deployment(namespace: &str, component: &str, version: &str, start_delay: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": component, "namespace": namespace},
        "spec": {
            "replicas": 2,
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "selector": {"matchLabels": {"app": component}},
            "template": {
                "metadata": {"labels": {"app": component}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": component,
                        "image": image(component, version),
                        "env": [{"name": "START_DELAY", "value": start_delay}, {"name": "STOP_DELAY", "value": "300ms"}],
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1},
                        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                        "securityContext": {
                            "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
                        },
                    }],
                },
            },
        },
    })
}

/// The Service of a component, at port 80.
pub(crate) fn service(namespace: &str, component: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": component, "namespace": namespace},
        "spec": {"selector": {"app": component}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

/// The Deployments of all components.
pub(crate) fn deployments(namespace: &str, version: &str, start_delay: &str) -> Value {
    let items: Vec<Value> =
        COMPONENTS.iter().map(|component| deployment(namespace, component, version, start_delay)).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// The policy of one namespace, of the same name, with the order and the skew of the STOA policy and `more` in its spec.
pub(crate) fn policy(namespace: &str, more: Value) -> Value {
    let component = |name: &str, after: &[&str]| {
        let skew: &[Value] = &[json!({"component": "control-plane-api", "behind": 1, "ahead": 0})];
        json!({
            "name": name,
            "match": {"images": [format!("*/stoa-platform/{name}")]},
            "after": after,
            "skew": if after.is_empty() { &[] } else { skew },
        })
    };
    let mut spec = json!({
        "namespaces": [namespace],
        "maxHop": 1,
        "components": [
            component("control-plane-api", &[]),
            component("stoa-gateway", &["control-plane-api"]),
            component("control-plane-ui", &["stoa-gateway"]),
            component("portal", &["stoa-gateway"]),
        ],
    });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    json!({"apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": namespace}, "spec": spec})
}

/// A namespace with this name.
pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

impl World {
    /// A namespace with a policy of its own and all components at a version, running.
    pub(crate) async fn platform_at(&self, name: &str, more: Value, version: &str, start_delay: &str) -> Result<()> {
        self.apply(&namespace(name)).await?;
        self.apply(&policy(name, more)).await?;
        self.apply(&deployments(name, version, start_delay)).await?;
        self.all_rolled_out(name).await
    }

    /// Waits until every component has rolled out.
    pub(crate) async fn all_rolled_out(&self, namespace: &str) -> Result<()> {
        for component in COMPONENTS {
            self.rolled_out(namespace, component).await?;
        }
        Ok(())
    }
}
