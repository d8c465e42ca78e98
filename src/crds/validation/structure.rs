//! What the API server validates and JSON Schema has no words for: lists that are sets or maps, embedded objects, and
//! rules in CEL.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::node::{ListType, Node};
use super::rules;
use super::{Verdict, Violation, append, append_index};

/// Adds to `verdict` what is wrong with `value`, which is at `path`.
pub(super) fn check(node: &Node, value: &Value, path: &mut String, verdict: &mut Verdict) {
    if value.is_null() {
        return;
    }
    rules::check(node, value, path, verdict);
    match value {
        Value::Object(fields) => {
            if node.embedded {
                embedded(fields, path, verdict);
            }
            for (name, value) in fields {
                if let Some(inside) = node.field(name) {
                    below(path, |path| append(path, name), |path| check(inside, value, path, verdict));
                }
            }
        }
        Value::Array(items) => {
            list(&node.list, items, path, verdict);
            for (index, item) in items.iter().enumerate() {
                if let Some(inside) = &node.items {
                    below(path, |path| append_index(path, index), |path| check(inside, item, path, verdict));
                }
            }
        }
        _ => {}
    }
}

/// Does `what` one level below.
fn below(path: &mut String, step: impl FnOnce(&mut String), what: impl FnOnce(&mut String)) {
    let length = path.len();
    step(path);
    what(path);
    path.truncate(length);
}

fn violation(path: &str, step: impl FnOnce(&mut String), message: &str) -> Violation {
    let mut path = path.to_owned();
    step(&mut path);
    Violation { path, message: message.to_owned() }
}

/// An object inside an object says what it is.
fn embedded(fields: &Map<String, Value>, path: &str, verdict: &mut Verdict) {
    for name in ["apiVersion", "kind"] {
        let message = match fields.get(name) {
            None => "is required and missing",
            Some(Value::String(text)) if text.is_empty() => "must not be empty",
            Some(Value::String(_)) => continue,
            Some(_) => "must be a string",
        };
        verdict.violations.push(violation(path, |path| append(path, name), message));
    }
    if fields.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
        verdict.violations.push(violation(path, |path| append(path, "metadata"), "must be an object"));
    }
}

fn list(list: &ListType, items: &[Value], path: &str, verdict: &mut Verdict) {
    let keys: Vec<Value> = match list {
        ListType::Atomic => return,
        ListType::Set => items.to_vec(),
        ListType::Map(keys) => {
            if let Some(index) = items.iter().position(|item| !item.is_object() && !item.is_null()) {
                let message = "must be an object: its list is told apart by keys";
                verdict.violations.push(violation(path, |path| append_index(path, index), message));
                return;
            }
            let of = |item: &Value| -> Map<String, Value> {
                keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect()
            };
            items.iter().map(|item| of(item).into()).collect()
        }
    };
    let mut seen = BTreeSet::new();
    for (index, key) in keys.iter().enumerate() {
        if !seen.insert(key.to_string()) {
            let message = "is there twice: each element of this list must be different";
            verdict.violations.push(violation(path, |path| append_index(path, index), message));
        }
    }
}
