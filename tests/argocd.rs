//! What Argo CD shows of a Platform, by the real script in the Lua that Argo CD has: 5.1, with hardly a library.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use mlua::{Lua, LuaOptions, LuaSerdeExt as _, StdLib};
use serde::Deserialize;
use serde_json::{Value, json};
use upgrade_guard::api::Platform;

const SCRIPT: &str = include_str!("../manifests/argocd/health.lua");
const CONFIG_MAP: &str = include_str!("../manifests/argocd/argocd-cm.yaml");

/// What Argo CD reads of the script's answer.
#[derive(Debug, Deserialize, PartialEq)]
struct Health {
    status: String,
    message: String,
}

fn health(platform: &Value) -> Health {
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).unwrap();
    lua.globals().set("obj", lua.to_value(platform).unwrap()).unwrap();
    lua.from_value(lua.load(SCRIPT).eval().unwrap()).unwrap()
}

fn platform(observed_generation: u64, conditions: &[(&str, &str)]) -> Value {
    let conditions = conditions.iter().map(|(kind, status)| {
        json!({
            "type": kind,
            "status": status,
            "reason": "Because",
            "message": format!("what {kind} says"),
            "lastTransitionTime": "2026-07-01T10:00:00Z",
        })
    });
    let platform = json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": "stoa", "namespace": "stoa-system", "generation": 2},
        "spec": {"policy": "stoa"},
        "status": {"observedGeneration": observed_generation, "conditions": conditions.collect::<Vec<_>>()},
    });
    // As the guard writes it: a misspelt field would be a test of nothing.
    let read: Platform = serde_json::from_value(platform).unwrap();
    serde_json::to_value(read).unwrap()
}

#[test]
fn the_health_is_that_of_the_conditions() {
    let settled = [("Ready", "True"), ("Reconciling", "False"), ("Stalled", "False")];
    let rolling = [("Ready", "False"), ("Reconciling", "True"), ("Stalled", "False")];
    let stalled = [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")];
    for (conditions, status, says) in [
        (&settled[..], "Healthy", "what Ready says"),
        (&[("Ready", "True")], "Healthy", "what Ready says"),
        (&rolling, "Progressing", "what Reconciling says"),
        (&stalled, "Degraded", "what Stalled says"),
        (&[("Stalled", "True"), ("Reconciling", "True")], "Degraded", "what Stalled says"),
        (&[("Ready", "True"), ("Reconciling", "True")], "Progressing", "what Reconciling says"),
        (&[("Ready", "False")], "Progressing", "what Ready says"),
        (&[("Ready", "Unknown")], "Progressing", "the guard has not looked at it yet"),
        (&[("Other", "True")], "Progressing", "the guard has not looked at it yet"),
        (&[], "Progressing", "the guard has not looked at it yet"),
    ] {
        let expected = Health { status: status.to_owned(), message: says.to_owned() };
        assert_eq!(health(&platform(2, conditions)), expected, "{conditions:?}");
        // What is said of an earlier spec is old news.
        let stale = health(&platform(1, conditions));
        assert_eq!(stale.status, "Progressing", "{conditions:?} of an earlier generation");
    }
}

#[test]
fn a_platform_that_nobody_looked_at_is_in_progress() {
    let mut platform = platform(2, &[]);
    platform["status"] = json!({"summary": "no conditions"});
    assert_eq!(health(&platform).status, "Progressing");
    platform.as_object_mut().unwrap().remove("status");
    assert_eq!(health(&platform).status, "Progressing");
}

#[test]
fn the_config_map_carries_the_script() {
    let config_map: Value = serde_saphyr::from_str(CONFIG_MAP).unwrap();
    assert_eq!(config_map["data"], json!({"resource.customizations.health.guard.gostoa.dev_Platform": SCRIPT}));
    assert_eq!((&config_map["kind"], &config_map["metadata"]["name"]), (&json!("ConfigMap"), &json!("argocd-cm")));
}
