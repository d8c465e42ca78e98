//! Examples in YAML: what is a policy, or a part of one, is what the schema and the guard take.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use upgrade_guard::api::{self, UpgradePolicy};
use upgrade_guard::crds::validation::Validator;
use upgrade_guard::domain::overrides::Override;
use upgrade_guard::domain::policy::Policy;

use crate::markdown::Page;

/// Fields of a policy that are shown alone, with the path at which they stand.
const PARTS: [(&str, &[&str]); 4] = [
    ("waivers", &["spec", "database", "migrations"]),
    ("database", &["spec"]),
    ("components", &["spec"]),
    ("preconditions", &["spec"]),
];

/// How many examples of the guard's own objects there are, and what is wrong with any YAML.
pub(crate) fn check(pages: &[Page]) -> (usize, Vec<String>) {
    let (mut found, mut wrong) = (0, Vec::new());
    for page in pages {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            let mut tell = |problem: &str| wrong.push(format!("{}: {problem} in\n{}", page.path, block.text));
            let documents = match serde_saphyr::from_multiple::<Value>(&block.text) {
                Ok(documents) => documents,
                Err(error) => {
                    tell(&format!("no YAML: {error}"));
                    continue;
                }
            };
            for document in documents {
                for problem in overrides(&document) {
                    tell(&problem);
                }
                if let Some(whole) = completed(document) {
                    found += 1;
                    for problem in problems(whole) {
                        tell(&problem);
                    }
                }
            }
        }
    }
    (found, wrong)
}

/// The object that an example is, or is a part of; `None` for what is not the guard's.
fn completed(document: Value) -> Option<Value> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    if !text("apiVersion").is_empty() {
        return text("apiVersion").starts_with(api::GROUP).then_some(document);
    }
    let fields: Vec<&String> = document.as_object()?.keys().collect();
    let mut policy = match fields.as_slice() {
        [only] if *only == "spec" => document,
        [only] => {
            let (_, path) = PARTS.iter().find(|(name, _)| only == name)?;
            path.iter().rev().fold(document, |inner, field| json!({*field: inner}))
        }
        _ => return None,
    };
    policy["apiVersion"] = json!(format!("{}/{}", api::GROUP, api::VERSION));
    policy["kind"] = json!("UpgradePolicy");
    policy["metadata"] = json!({"name": "example"});
    for (field, value) in
        [("namespaces", json!(["ns"])), ("components", json!([{"name": "api", "match": {"names": ["api"]}}]))]
    {
        policy["spec"].as_object_mut()?.entry(field).or_insert(value);
    }
    // A part that is about something else leaves out how its components are found.
    for component in policy["spec"]["components"].as_array_mut().into_iter().flatten() {
        let found = json!({"names": [component["name"]]});
        component.as_object_mut()?.entry("match").or_insert(found);
    }
    // Waivers alone do not say whose migrations they are of.
    if let Some(database) = policy["spec"].get_mut("database").and_then(Value::as_object_mut) {
        database.entry("components").or_insert(json!(["api"]));
        if let Some(migrations) = database.get_mut("migrations").and_then(Value::as_object_mut) {
            let says = migrations.contains_key("alembic") || migrations.contains_key("command");
            if !says {
                migrations.insert("alembic".to_owned(), json!(["alembic"]));
            }
        }
    }
    Some(policy)
}

thread_local! {
    /// The schemas by kind: to make them ready takes longer than to ask them.
    static SCHEMAS: BTreeMap<String, Validator> = api::definitions().iter().map(schema).collect();
}

fn schema(crd: &CustomResourceDefinition) -> (String, Validator) {
    let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    (crd.spec.names.kind.clone(), Validator::new(schema.unwrap()).unwrap())
}

fn problems(mut object: Value) -> Vec<String> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if !SCHEMAS.with(|schemas| schemas.contains_key(&kind)) {
        return vec![format!("there is no kind {kind}")];
    }
    let mut wrong: Vec<String> = api::misfits(&kind, &object).iter().map(ToString::to_string).collect();
    if kind == "UpgradePolicy" && wrong.is_empty() {
        let policy: UpgradePolicy = serde_json::from_value(object.clone()).unwrap();
        wrong.extend(Policy::try_from(&policy).err().map(|problems| problems.to_string()));
    }
    let verdict = SCHEMAS.with(|schemas| schemas[&kind].judge(&mut object));
    wrong.extend(verdict.violations.into_iter().map(|violation| format!("{}: {}", violation.path, violation.message)));
    wrong
}

/// Overrides that the guard could not read.
fn overrides(document: &Value) -> Vec<String> {
    let annotations = document.pointer("/metadata/annotations");
    let stated = [annotations, Some(document)].into_iter().flatten().filter_map(|map| map.get(api::OVERRIDE)?.as_str());
    stated.filter_map(|text| Override::parse(text).err()).map(|error| format!("override: {error}")).collect()
}
