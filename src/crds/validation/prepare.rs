//! What the API server does to an object before it validates it.

use serde_json::{Map, Value};

use super::node::{Additional, Node};
use super::{append, append_index};

/// The fields that every object has, whatever its schema says.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes the fields that `root` does not know and returns where they were.
pub(super) fn prune(root: &Node, object: &mut Value) -> Vec<String> {
    let mut pruning = Pruning { path: String::new(), pruned: Vec::new() };
    pruning.value(Some(root), object);
    pruning.pruned
}

struct Pruning {
    path: String,
    pruned: Vec<String>,
}

impl Pruning {
    fn value(&mut self, node: Option<&Node>, value: &mut Value) {
        match value {
            Value::Object(fields) => self.fields(node, fields),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let length = self.path.len();
                    append_index(&mut self.path, index);
                    match node {
                        // Inside of what is kept, only what is described is looked at.
                        Some(node) if node.preserve && node.items.is_none() => {}
                        _ => self.value(node.and_then(|node| node.items.as_deref()), item),
                    }
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, node: Option<&Node>, fields: &mut Map<String, Value>) {
        let (embedded, preserve) = node.map_or((false, false), |node| (node.embedded, node.preserve));
        fields.retain(|name, value| {
            if embedded && META.contains(&name.as_str()) {
                return true;
            }
            let (known, inside) = match node {
                None => (false, None),
                Some(node) => match (node.field(name), &node.additional) {
                    (Some(inside), _) => (true, Some(inside)),
                    (None, Additional::None) => (false, None),
                    (None, _) => (true, None),
                },
            };
            let length = self.path.len();
            append(&mut self.path, name);
            if known {
                self.value(inside, value);
            } else if !preserve {
                self.pruned.push(self.path.clone());
            }
            self.path.truncate(length);
            known || preserve
        });
    }
}

/// Removes the nulls of fields that may not be null and have no default.
pub(super) fn drop_nulls(node: Option<&Node>, value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            let inside = node.and_then(|node| node.field(name));
            let dropped = value.is_null() && inside.is_some_and(|inside| !inside.nullable && inside.default.is_none());
            if !dropped {
                drop_nulls(inside, value);
            }
            !dropped
        }),
        Value::Array(items) => {
            let inside = node.and_then(|node| node.items.as_deref());
            for item in items {
                drop_nulls(inside, item);
            }
        }
        _ => {}
    }
}

/// Sets the defaults of fields that are missing, or null though they may not be.
pub(super) fn fill_in(node: &Node, value: &mut Value) {
    let replaced = |inside: &Node, value: &mut Value| {
        if let (true, false, Some(default)) = (value.is_null(), inside.nullable, &inside.default) {
            *value = default.clone();
        }
    };
    match value {
        Value::Object(fields) => {
            for (name, inside) in &node.properties {
                if let (Some(default), false) = (&inside.default, fields.contains_key(name)) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields {
                if let Some(inside) = node.field(name) {
                    replaced(inside, value);
                    fill_in(inside, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inside) = &node.items {
                for item in items {
                    replaced(inside, item);
                    fill_in(inside, item);
                }
            }
        }
        _ => {}
    }
}
