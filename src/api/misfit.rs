//! What of a manifest does not fit the schema of its kind.
//!
//! The API server drops fields that it does not know and refuses wrong types; a file has no API server in front of it.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::domain::policy::Problem;

/// Fields of every object; the API server adds them to each schema.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Everything in `value`, an object of this kind, that its custom resource definition does not allow: unknown fields,
/// missing ones, wrong types, values outside an enumeration. Nothing for a kind that is not the guard's own.
#[must_use]
pub fn misfits(kind: &str, value: &Value) -> Vec<Problem> {
    let crd = super::definitions().into_iter().find(|crd| crd.spec.names.kind == kind);
    let schema = crd
        .and_then(|crd| crd.spec.versions.into_iter().next())
        .and_then(|version| version.schema)
        .and_then(|schema| schema.open_api_v3_schema);
    let (Some(schema), Some(fields)) = (schema, value.as_object()) else { return vec![] };
    let own = fields.iter().filter(|(name, _)| !OF_EVERY_OBJECT.contains(&name.as_str()));
    let own = Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect());
    let mut found = Vec::new();
    walk("", &schema, &own, &mut found);
    found
}

fn walk(path: &str, schema: &JSONSchemaProps, value: &Value, found: &mut Vec<Problem>) {
    if value.is_null() && (schema.nullable == Some(true) || schema.default.is_some()) {
        return;
    }
    let expected = schema.type_.as_deref().unwrap_or_default();
    if !has_type(expected, value) && schema.x_kubernetes_int_or_string != Some(true) {
        found.push(Problem::new(path, format!("is {}, but must be {}", named(value), with_article(expected))));
        return;
    }
    let allowed: Vec<&Value> = schema.enum_.iter().flatten().map(|json| &json.0).collect();
    if !allowed.is_empty() && !allowed.contains(&value) {
        let allowed: Vec<String> = allowed.iter().map(|value| text(value)).collect();
        found.push(Problem::new(path, format!("is '{}', but must be one of {}", text(value), allowed.join(", "))));
    }
    match value {
        Value::Object(fields) => object(path, schema, fields, found),
        Value::Array(items) => {
            let Some(JSONSchemaPropsOrArray::Schema(of_item)) = &schema.items else { return };
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{path}[{index}]"), of_item, item, found);
            }
        }
        _ => {}
    }
}

fn object(path: &str, schema: &JSONSchemaProps, fields: &serde_json::Map<String, Value>, found: &mut Vec<Problem>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        found.push(Problem::new(below(name), "is missing"));
    }
    let nothing = BTreeMap::new();
    let known = schema.properties.as_ref().unwrap_or(&nothing);
    for (name, value) in fields {
        match (known.get(name), &schema.additional_properties) {
            (Some(schema), _) => walk(&below(name), schema, value, found),
            (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => walk(&below(name), schema, value, found),
            (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
            (None, Some(JSONSchemaPropsOrBool::Bool(false)) | None) => {
                if schema.x_kubernetes_preserve_unknown_fields != Some(true) {
                    found.push(Problem::new(below(name), unknown(name, known.keys())));
                }
            }
        }
    }
}

/// What to say of a field that is not known: which one is likely meant, or which ones there are.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    let near = known.clone().map(|other| (distance(name, other), other)).min().filter(|(distance, _)| *distance <= 2);
    if let Some((_, other)) = near {
        return format!("is no known field; did you mean '{other}'?");
    }
    let all: Vec<&str> = known.map(String::as_str).collect();
    format!("is no known field; there are {}", all.join(", "))
}

/// How many letters have to be changed, added, removed or swapped with their neighbour, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let above = &rows[i - 1];
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn has_type(expected: &str, value: &Value) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "object" => "a mapping".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "string" => "a text (put it in quotes)".to_owned(),
        other => format!("a {other}"),
    }
}

fn named(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        scalar => format!("'{}'", text(scalar)),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_policy(spec: &Value) -> Vec<String> {
        let value = json!({"apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": "p"}, "spec": spec});
        misfits("UpgradePolicy", &value).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_schema_allows_fits() {
        let spec = json!({
            "namespaces": ["a"], "maxHop": 1, "onNotYet": "Deny", "modes": {"UG-ORDER": "Warn"},
            "components": [{"name": "api", "match": {"labels": {"any": "thing"}}, "after": [], "version": {"tagPrefixes": ["v"]}}],
        });
        assert_eq!(of_policy(&spec), Vec::<String>::new());
    }

    #[test]
    fn every_misfit_is_told_with_its_path() {
        for (component, problem) in [
            (json!({"aftr": ["db"]}), "spec.components[0].aftr: is no known field; did you mean 'after'?"),
            (json!({"atfer": ["db"]}), "spec.components[0].atfer: is no known field; did you mean 'after'?"),
            (json!({"after": "db"}), "spec.components[0].after: is 'db', but must be a list"),
            (json!({"after": [1]}), "spec.components[0].after[0]: is '1', but must be a text (put it in quotes)"),
            (
                json!({"skew": [{"component": "db", "behind": "1"}]}),
                "spec.components[0].skew[0].behind: is '1', but must be a whole number",
            ),
            (json!({"skew": [{"behind": 1}]}), "spec.components[0].skew[0].component: is missing"),
            (
                json!({"version": {"colour": 1}}),
                "spec.components[0].version.colour: is no known field; there are sources, tagPattern, tagPrefixes",
            ),
            (
                json!({"version": {"sources": ["Tags"]}}),
                "spec.components[0].version.sources[0]: is 'Tags', but must be one of Annotation, Label, Tag, Release",
            ),
        ] {
            let mut whole = json!({"name": "api", "match": {"names": ["api"]}});
            whole.as_object_mut().unwrap().extend(component.as_object().unwrap().clone());
            assert_eq!(of_policy(&json!({"namespaces": ["a"], "components": [whole]})), [problem]);
        }
        assert_eq!(of_policy(&json!({"components": []})), ["spec.namespaces: is missing"]);
        let top = misfits("UpgradePolicy", &json!({"kind": "UpgradePolicy", "sepc": {}}));
        assert_eq!(top.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), ["spec", "sepc"]);
    }
}
