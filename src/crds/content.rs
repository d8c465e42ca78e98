//! What a CRD says, apart from how it is written down and from what the API server adds.
//!
//! What the server adds is in `pkg/apis/apiextensions/v1/defaults.go` of Kubernetes' apiextensions-apiserver; what it
//! drops are the empty values of its `omitempty` fields.

use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Number, Value};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// The port of a conversion webhook's service where none is stated.
const WEBHOOK_PORT: i32 = 443;

/// The digest of what `definition` says: the same for a file and for what the API server makes of it. `sha256:` and
/// 64 hex digits.
///
/// Only `spec` counts, and in it not the CA bundle of a conversion webhook, which is put there in the cluster.
#[must_use]
pub fn digest(definition: &CustomResourceDefinition) -> String {
    // Keys of a JSON object are sorted.
    let text = Value::Object(spec(definition)).to_string();
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Whether `installed` says everything that `wanted` says, so that applying it would change nothing in `spec`.
#[must_use]
pub fn is_installed(wanted: &CustomResourceDefinition, installed: &CustomResourceDefinition) -> bool {
    let same_ca = ca_bundle(wanted).is_none_or(|bundle| ca_bundle(installed) == Some(bundle));
    same_ca && spec(wanted) == spec(installed)
}

/// The CA bundle of a conversion webhook.
pub(super) fn ca_bundle(definition: &CustomResourceDefinition) -> Option<&ByteString> {
    let conversion = definition.spec.conversion.as_ref()?;
    conversion.webhook.as_ref()?.client_config.as_ref()?.ca_bundle.as_ref()
}

/// The spec with what the server fills in and without what it drops.
pub(super) fn spec(definition: &CustomResourceDefinition) -> Object {
    let mut definition = definition.spec.clone();
    let names = &mut definition.names;
    if names.singular.as_deref().unwrap_or_default().is_empty() {
        names.singular = Some(names.kind.to_lowercase());
    }
    if names.list_kind.as_deref().unwrap_or_default().is_empty() {
        names.list_kind = Some(format!("{}List", names.kind));
    }
    let conversion = definition.conversion.get_or_insert_default();
    if conversion.strategy.is_empty() {
        "None".clone_into(&mut conversion.strategy);
    }
    if let Some(client) = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut()) {
        client.ca_bundle = None;
        if let Some(service) = &mut client.service {
            service.port.get_or_insert(WEBHOOK_PORT);
        }
    }
    let mut spec = object(serde_json::to_value(&definition).unwrap_or_default());
    tidy(&mut spec);
    spec
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(fields) => fields,
        _ => Object::new(),
    }
}

/// Takes out of `fields`, which are no schema, what the server does not keep.
fn tidy(fields: &mut Object) {
    for (key, value) in fields.iter_mut() {
        match value {
            Value::Object(fields) if key == "openAPIV3Schema" => tidy_schema(fields),
            Value::Object(fields) => tidy(fields),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(tidy),
            _ => {}
        }
    }
    // An empty `status` is a subresource, and an empty schema one that allows everything.
    fields.retain(|key, value| match key.as_str() {
        "status" | "openAPIV3Schema" => !value.is_null(),
        _ => !is_empty(value) && value.as_i64() != Some(0),
    });
}

/// Takes out of a schema what the server does not keep. What stands for itself stays: `default: false` is a default.
fn tidy_schema(schema: &mut Object) {
    for (key, value) in schema.iter_mut() {
        match (key.as_str(), &mut *value) {
            ("properties" | "patternProperties" | "definitions" | "dependencies", Value::Object(schemas)) => {
                schemas.values_mut().filter_map(Value::as_object_mut).for_each(tidy_schema);
            }
            ("items" | "not" | "additionalProperties" | "additionalItems", Value::Object(schema)) => {
                tidy_schema(schema);
            }
            ("items" | "allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter_mut().filter_map(Value::as_object_mut).for_each(tidy_schema);
            }
            ("x-kubernetes-validations", Value::Array(rules)) => {
                rules.iter_mut().filter_map(Value::as_object_mut).for_each(tidy);
            }
            _ => whole_numbers(value),
        }
    }
    schema.retain(|key, value| match key.as_str() {
        "default" | "example" | "items" | "not" | "additionalProperties" | "additionalItems" => !value.is_null(),
        _ => !is_empty(value),
    });
}

/// Writes `1.0` as `1`, as the server does.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|number| number.fract() == 0.0);
            if let Some(whole) = whole.and_then(|number| format!("{number:.0}").parse::<i64>().ok()) {
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "specs are written in place")]
    fn crd(spec: Value) -> CustomResourceDefinition {
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.shop.example"}, "spec": spec});
        serde_json::from_value(crd).unwrap()
    }

    fn with(schema: &Value) -> Value {
        json!({
            "group": "shop.example", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        })
    }

    fn webhook(config: &Value) -> Value {
        let mut spec = with(&json!({"type": "object"}));
        spec["conversion"] = json!({"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": config}});
        spec
    }

    /// What the server adds and drops; the real one is asked in `tests/crds`.
    #[test]
    fn what_the_server_adds_and_drops_makes_no_difference() {
        let file = with(&json!({"type": "object", "properties": {"a": {"type": "integer", "default": 1.0}}}));
        let mut stored = with(&json!({
            "type": "object", "description": "", "required": [], "nullable": false, "properties": {
                "a": {"type": "integer", "default": 1, "enum": []}}}));
        stored["names"] =
            json!({"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"});
        stored["conversion"] = json!({"strategy": "None"});
        stored["preserveUnknownFields"] = json!(false);
        stored["versions"][0]["deprecated"] = json!(false);
        stored["versions"][0]["additionalPrinterColumns"] = json!([]);
        assert_eq!(digest(&crd(file.clone())), digest(&crd(stored.clone())));
        assert!(is_installed(&crd(file), &crd(stored)));

        let service = |more: &Value| {
            let mut service = json!({"namespace": "shop", "name": "converter"});
            service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            webhook(&json!({"service": service}))
        };
        assert_eq!(digest(&crd(service(&json!({})))), digest(&crd(service(&json!({"port": 443})))));
        assert_ne!(digest(&crd(service(&json!({})))), digest(&crd(service(&json!({"port": 8443})))));
    }

    #[test]
    fn what_a_crd_says_makes_one() {
        let property = |property: Value| with(&json!({"type": "object", "properties": {"a": property}}));
        let all = [
            with(&json!({"type": "object"})),
            with(&json!({"type": "object", "additionalProperties": {}})),
            with(&json!({"type": "object", "additionalProperties": false})),
            property(json!({})),
            property(json!({"type": "boolean"})),
            property(json!({"type": "boolean", "default": false})),
            property(json!({"type": "boolean", "default": true})),
            property(json!({"type": "string", "default": ""})),
            property(json!({"type": "array", "default": [], "items": {}})),
            property(json!({"type": "object", "default": {}})),
            property(json!({"type": "string", "minLength": 0})),
            property(json!({"type": "string", "description": "A."})),
            property(json!({"type": "string", "enum": ["a", ""]})),
            property(json!({"type": "string", "enum": ["a"]})),
        ];
        let digests: std::collections::BTreeSet<String> = all.iter().map(|spec| digest(&crd(spec.clone()))).collect();
        assert_eq!(digests.len(), all.len());
        let mut status = with(&json!({"type": "object"}));
        status["versions"][0]["subresources"] = json!({"status": {}});
        assert!(!digests.contains(&digest(&crd(status))));
    }

    #[test]
    fn a_ca_bundle_is_put_there_in_the_cluster() {
        let [none, one, other] =
            [json!({}), json!({"caBundle": "QQ=="}), json!({"caBundle": "Qg=="})].map(|config| crd(webhook(&config)));
        assert_eq!(digest(&none), digest(&one));
        assert!(is_installed(&none, &one));
        assert!(!is_installed(&other, &one), "a bundle that a file states has to be there");
    }
}
