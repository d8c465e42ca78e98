//! The chart's README has each value of values.yaml, with its default and what is said of it there.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::helm::chart;

fn file(path: &str) -> String {
    std::fs::read_to_string(chart().join(path)).unwrap()
}

/// The rows of the table, made of values.yaml: a value, its default, and the comment before it. A map that has comments
/// inside is no value but a group; one without any is a value as a whole.
fn rows() -> String {
    let defaults: Value = serde_saphyr::from_str(&file("values.yaml")).unwrap();
    let mut path: Vec<(usize, String)> = Vec::new();
    let (mut comment, mut table) = (String::new(), String::new());
    for line in file("values.yaml").lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim_start();
        if let Some(said) = line.strip_prefix("# ") {
            comment = if comment.is_empty() { said.to_owned() } else { format!("{comment} {said}") };
            continue;
        }
        if let Some((key, _)) = line.split_once(':').filter(|_| !line.starts_with('-') && !line.contains(": {cpu")) {
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, key.to_owned()));
            if !comment.is_empty() {
                let keys: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
                let value = keys.iter().fold(&defaults, |value, key| &value[*key]);
                writeln!(table, "| `{}` | `{value}` | {comment} |", keys.join(".")).unwrap();
            }
        }
        comment.clear();
    }
    table
}

/// Every path in `value` that is not a map with content.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => {
            for (key, value) in fields {
                leaves(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found);
            }
        }
        None => _ = found.insert(path.to_owned()),
    }
}

#[test]
fn the_readme_has_the_table_of_all_values() {
    let rows = rows();
    let mut all = BTreeSet::new();
    leaves(&serde_saphyr::from_str(&file("values.yaml")).unwrap(), "", &mut all);
    for path in all.iter().filter(|path| !path.starts_with("resources.")) {
        assert!(rows.contains(&format!("| `{path}` |")), "values.yaml says nothing of {path}");
    }
    let readme = file("README.md");
    let (_, table) = readme.split_once("| value | default | what it is |\n|---|---|---|\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap_or((table, ""));
    assert!(
        table.trim_end() == rows.trim_end(),
        "the table in charts/upgrade-guard/README.md is not what values.yaml says. It should be:\n{rows}"
    );
}

/// Every path that a JSON schema has, as `leaves` has those of values.
fn described(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    match schema["properties"].as_object() {
        Some(fields) => {
            assert_eq!(schema["additionalProperties"], false, "{path} takes unknown keys");
            for (key, schema) in fields {
                described(schema, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found);
            }
        }
        None => _ = found.insert(path.to_owned()),
    }
}

#[test]
fn the_schema_knows_every_value_and_no_other() {
    let (mut known, mut all) = (BTreeSet::new(), BTreeSet::new());
    described(&serde_json::from_str(&file("values.schema.json")).unwrap(), "", &mut known);
    leaves(&serde_saphyr::from_str(&file("values.yaml")).unwrap(), "", &mut all);
    // What a parent chart may add, and what a user may: Kubernetes' own shapes.
    let shapes = ["global", "resources.", "affinity.", "certificates.certManager.issuerRef."];
    let covered = |path: &String, others: &BTreeSet<String>| {
        others.contains(path) || shapes.iter().any(|shape| path.starts_with(shape))
    };
    let unknown: Vec<&String> = all.iter().filter(|path| !known.contains(*path)).collect();
    let only_shapes = unknown
        .iter()
        .all(|path| shapes.iter().any(|shape| format!("{path}.").starts_with(shape) || path.starts_with(shape)));
    assert!(only_shapes, "values.schema.json does not know {unknown:?}");
    let missing: Vec<&String> = known.iter().filter(|path| !covered(path, &all)).collect();
    assert!(missing.is_empty(), "values.yaml lacks {missing:?}");
}
