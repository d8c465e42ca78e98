//! `kubectl apply -k manifests/` is the chart with its defaults, without Helm.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::helm::{documents, in_repository, is_hook, name, objects};
use crate::support::cluster::Cluster;

/// Objects by kind and name, without the labels that only Helm sets.
fn plain(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let strip = |labels: &mut Value| {
        if let Some(labels) = labels.as_object_mut() {
            labels.remove("helm.sh/chart");
            labels.remove("app.kubernetes.io/managed-by");
        }
    };
    let each = objects.into_iter().map(|mut object| {
        strip(&mut object["metadata"]["labels"]);
        if let Some(template) = object["spec"].get_mut("template") {
            strip(&mut template["metadata"]["labels"]);
        }
        // Indexing has put a null where there were none.
        if object["metadata"]["labels"].is_null() {
            object["metadata"].as_object_mut().unwrap().remove("labels");
        }
        numbers(&mut object);
        (name(&object), object)
    });
    each.collect()
}

/// Makes 100 and 100.0 the same: kustomize writes one for the other.
fn numbers(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.as_f64().into(),
        Value::Array(values) => values.iter_mut().for_each(numbers),
        Value::Object(fields) => fields.values_mut().for_each(numbers),
        _ => {}
    }
}

#[test]
fn kustomize_builds_what_the_chart_renders() -> Result<()> {
    let kubectl = Cluster::kubectl_program()?;
    let built = Command::new(kubectl).arg("kustomize").arg(in_repository("manifests")).output()?;
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut built = plain(documents(&String::from_utf8(built.stdout)?));
    let mut expected = objects(&["--include-crds"]);
    expected.retain(|object| !is_hook(object));
    let expected = plain(expected);

    // Helm makes the namespace by an option.
    let namespace = built.remove("Namespace upgrade-guard").unwrap();
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    assert_eq!(built.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, object) in &expected {
        assert!(built[name] == *object, "{name} is not the same: run `make manifests`");
    }
    assert!(built.len() >= 15, "{:?}", built.keys());
    Ok(())
}
