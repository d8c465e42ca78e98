//! How a hold is written into a workload, and taken out again.
//!
//! A held Deployment is paused; a held StatefulSet has a partition above all its pods. The label says that the guard did
//! it, so that a pause or partition of someone else is never taken for a hold.

use serde_json::{Map, Value, json};

use super::object::WorkloadKind;
use super::record::HELD_PARTITION;
use crate::api::{HELD_FROM_PARTITION, HELD_LABEL, HELD_RULE, HELD_SINCE, HELD_WAITS_FOR};

/// The kinds that can be held.
pub const KINDS: [WorkloadKind; 2] = [WorkloadKind::Deployment, WorkloadKind::StatefulSet];
/// Every annotation of a hold.
const ANNOTATIONS: [&str; 4] = [HELD_RULE, HELD_WAITS_FOR, HELD_SINCE, HELD_FROM_PARTITION];

/// What a held workload says of its hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The code of the rule that does not allow the rollout yet.
    pub rule: String,
    /// What it waits for.
    pub waits_for: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl Hold {
    /// What `object` says of its hold; `None` when it is marked by none.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        field(object, "labels", HELD_LABEL)?;
        let text = |key| field(object, "annotations", key).unwrap_or_default().to_owned();
        Some(Self { rule: text(HELD_RULE), waits_for: text(HELD_WAITS_FOR), since: text(HELD_SINCE) })
    }

    /// Writes the hold into `object`, which holds none.
    pub fn place(&self, kind: WorkloadKind, object: &mut Value) {
        let annotations = entries(object, "annotations");
        for (key, value) in [(HELD_RULE, &self.rule), (HELD_WAITS_FOR, &self.waits_for), (HELD_SINCE, &self.since)] {
            annotations.insert(key.to_owned(), json!(value));
        }
        entries(object, "labels").insert(HELD_LABEL.to_owned(), json!("true"));
        if kind == WorkloadKind::StatefulSet {
            let before = partition(object);
            entries(object, "annotations").insert(HELD_FROM_PARTITION.to_owned(), json!(before.to_string()));
            object["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(HELD_PARTITION);
        } else {
            object["spec"]["paused"] = json!(true);
        }
    }
}

/// The JSON merge patch that takes the hold out of `object`, as it was read: it applies to nothing newer.
#[must_use]
pub fn lifting(kind: WorkloadKind, object: &Value) -> Value {
    let annotations: Map<String, Value> = ANNOTATIONS.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    let mut patch = json!({"metadata": {"labels": {HELD_LABEL: null}, "annotations": annotations}});
    if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    // Without the label a pause is someone else's.
    if field(object, "labels", HELD_LABEL).is_some() {
        if kind == WorkloadKind::Deployment {
            patch["spec"] = json!({"paused": null});
        } else if partition(object) == HELD_PARTITION {
            let before = field(object, "annotations", HELD_FROM_PARTITION).and_then(|text| text.parse().ok());
            let before = before.filter(|before| (0..HELD_PARTITION).contains(before)).unwrap_or(0);
            patch["spec"] = json!({"updateStrategy": {"rollingUpdate": {"partition": before}}});
        }
    }
    patch
}

/// Takes the hold out of `object`.
pub fn lift(kind: WorkloadKind, object: &mut Value) {
    let patch = lifting(kind, object);
    for part in ["labels", "annotations"] {
        if let Some(found) = object.pointer_mut(&format!("/metadata/{part}")).and_then(Value::as_object_mut) {
            let named = patch["metadata"][part].as_object();
            found.retain(|key, _| named.is_none_or(|named| !named.contains_key(key)));
        }
    }
    if patch.pointer("/spec/paused").is_some() {
        object.pointer_mut("/spec").and_then(Value::as_object_mut).map(|spec| spec.remove("paused"));
    } else if let Some(partition) = patch.pointer("/spec/updateStrategy/rollingUpdate/partition") {
        object["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = partition.clone();
    }
}

fn partition(object: &Value) -> i32 {
    let found = object.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64);
    found.and_then(|found| i32::try_from(found).ok()).unwrap_or(0)
}

/// A label or annotation.
fn field<'a>(object: &'a Value, part: &str, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get(part)?.get(key)?.as_str()
}

/// The labels or annotations, made where there are none.
fn entries<'a>(object: &'a mut Value, part: &str) -> &'a mut Map<String, Value> {
    let found = &mut object["metadata"][part];
    if !found.is_object() {
        *found = json!({});
    }
    found.as_object_mut().expect("it was made an object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_and_let_go_is_what_it_was() {
        let hold =
            Hold { rule: "UG-ORDER".into(), waits_for: "must wait".into(), since: "2026-01-01T00:00:00Z".into() };
        let metadata = json!({"name": "x", "labels": {"a": "b"}, "annotations": {"c": "d"}});
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 3}});
        for (kind, spec) in [
            (WorkloadKind::Deployment, json!({"replicas": 2})),
            (WorkloadKind::StatefulSet, json!({"updateStrategy": rolling})),
        ] {
            let before = json!({"metadata": metadata, "spec": spec});
            let mut object = before.clone();
            assert_eq!(Hold::of(&object), None);
            hold.place(kind, &mut object);
            assert_eq!(Hold::of(&object), Some(hold.clone()));
            let mut patched = object.clone();
            json_patch::merge(&mut patched, &lifting(kind, &object));
            assert_eq!(patched, before, "as a patch");
            lift(kind, &mut object);
            assert_eq!(object, before);
        }
    }

    #[test]
    fn the_pause_of_someone_else_stays() {
        let paused =
            json!({"metadata": {"name": "x", "annotations": {HELD_RULE: "UG-ORDER"}}, "spec": {"paused": true}});
        let mut object = paused.clone();
        lift(WorkloadKind::Deployment, &mut object);
        assert_eq!(object, json!({"metadata": {"name": "x", "annotations": {}}, "spec": {"paused": true}}));
    }
}
