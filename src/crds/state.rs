//! Whether a CRD in the cluster can be used.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition,
};

/// Why `definition` cannot be used yet, in a few words, or `None` when it can: it is established, its names are
/// accepted, its schemas are structural, it serves a version, and it is not being deleted.
#[must_use]
pub fn missing(definition: &CustomResourceDefinition) -> Option<String> {
    if is_terminating(definition) {
        return Some("it is being deleted".to_owned());
    }
    if !definition.spec.versions.iter().any(|version| version.served) {
        return Some("it serves no version".to_owned());
    }
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let condition = |name: &str| conditions.iter().find(|condition| condition.type_ == name);
    let told = |name: &str, condition: Option<&CustomResourceDefinitionCondition>| {
        let why = condition.and_then(|condition| condition.message.as_deref()).unwrap_or("not said yet");
        Some(format!("{name}: {why}"))
    };
    // Names first: without them it is never established.
    for name in ["NamesAccepted", "Established"] {
        let condition = condition(name);
        if condition.is_none_or(|condition| condition.status != "True") {
            return told(name, condition);
        }
    }
    let broken = condition("NonStructuralSchema").filter(|condition| condition.status == "True");
    broken.and_then(|condition| told("NonStructuralSchema", Some(condition)))
}

/// Whether the CRD is on its way out.
#[must_use]
pub fn is_terminating(definition: &CustomResourceDefinition) -> bool {
    definition.metadata.deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(conditions: &[(&str, &str)], served: bool, deleted: bool) -> CustomResourceDefinition {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(name, status)| json!({"type": name, "status": status, "message": "because"}))
            .collect();
        let mut metadata = json!({"name": "things.example.com"});
        if deleted {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        serde_json::from_value(json!({
            "metadata": metadata,
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"kind": "Thing", "plural": "things"},
                "versions": [{"name": "v1", "served": served, "storage": true}],
            },
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn each_condition_counts() {
        let good = [("NamesAccepted", "True"), ("Established", "True")];
        let state = |conditions: &[(&str, &str)]| missing(&definition(conditions, true, false));
        assert_eq!(state(&good), None);
        assert_eq!(state(&[good[0], good[1], ("NonStructuralSchema", "False")]), None);
        assert_eq!(state(&[]).unwrap(), "NamesAccepted: not said yet");
        assert_eq!(state(&[("NamesAccepted", "False"), good[1]]).unwrap(), "NamesAccepted: because");
        assert_eq!(state(&[good[0], ("Established", "False")]).unwrap(), "Established: because");
        assert_eq!(state(&[good[0]]).unwrap(), "Established: not said yet");
        let broken = [good[0], good[1], ("NonStructuralSchema", "True")];
        assert_eq!(state(&broken).unwrap(), "NonStructuralSchema: because");
        assert_eq!(missing(&definition(&good, false, false)).unwrap(), "it serves no version");
        assert_eq!(missing(&definition(&good, true, true)).unwrap(), "it is being deleted");
    }
}
