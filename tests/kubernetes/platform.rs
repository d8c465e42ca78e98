//! The platform that the scenarios upgrade, and the requests that do it.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::ask::{Ask, Verb};

pub(crate) const API: &str = "control-plane-api";
pub(crate) const GATEWAY: &str = "stoa-gateway";
pub(crate) const UI: &str = "control-plane-ui";
pub(crate) const PORTAL: &str = "portal";

/// A label of the pod template that keeps its pods from becoming ready: see `tests/cluster/stages/pod.yaml`.
pub(crate) const NEVER_READY: &str = "test.guard.gostoa.dev/never-ready";

/// The image of a component's version.
pub(crate) fn image(component: &str, version: &str) -> String {
    format!("ghcr.io/stoa-platform/{component}:{version}")
}

/// Two replicas of one container named like the Deployment, as an upgrade without downtime wants them.
pub(crate) fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": name, "part-of": "platform"}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": name,
                        "image": image,
                        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
                    }],
                },
            },
        },
    })
}

/// A disruption budget for all that [`deployment`] makes, so that only what a scenario is about is spoken of.
pub(crate) fn budget() -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"part-of": "platform"}}},
    })
}

/// Fifty minors above a version.
pub(crate) fn far_from(version: &str) -> Result<String> {
    let mut parts = version.split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else { bail!("no minor in {version}") };
    Ok(format!("{major}.{}.0", minor.parse::<u32>()? + 50))
}

/// A Deployment's creation.
pub(crate) fn create(name: &str, image: &str) -> Ask {
    Ask::new(Verb::Create, "deployments", deployment(name, image))
}

/// Another version of a component's Deployment, which is named like it.
pub(crate) fn set(component: &str, version: &str) -> Ask {
    set_image(component, component, &image(component, version))
}

/// Another image of one container.
pub(crate) fn set_image(name: &str, container: &str, image: &str) -> Ask {
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": container, "image": image}]}}}});
    Ask::new(Verb::StrategicPatch, format!("deployments/{name}"), patch)
}

/// Another version whose pods never become ready; `plural` is that of the workload's kind.
pub(crate) fn set_held(plural: &str, component: &str, version: &str) -> Ask {
    set_labelled(plural, component, version, &json!({NEVER_READY: "true"}))
}

/// Another version whose pods become ready, also after a [`set_held`].
pub(crate) fn set_released(plural: &str, component: &str, version: &str) -> Ask {
    set_labelled(plural, component, version, &json!({NEVER_READY: null}))
}

fn set_labelled(plural: &str, component: &str, version: &str, labels: &Value) -> Ask {
    let patch = json!({"spec": {"template": {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": component, "image": image(component, version)}]},
    }}});
    Ask::new(Verb::StrategicPatch, format!("{plural}/{component}"), patch)
}
