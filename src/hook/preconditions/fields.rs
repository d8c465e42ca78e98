//! Reading fields of objects whose types this program does not have.

use jiff::Timestamp;
use serde_json::Value;

/// The text at a JSON pointer; empty text is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The time at a JSON pointer.
pub(super) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer)?.parse().ok()
}

/// The number at a JSON pointer; 0 where it is left out, as Go does with zeros.
pub(super) fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The entries of the list at a JSON pointer.
pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The name of an object.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

/// When an object was made.
pub(super) fn created(object: &Value) -> Option<Timestamp> {
    time(object, "/metadata/creationTimestamp")
}

/// The condition of this type in the status.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").find(|condition| text(condition, "/type") == Some(kind))
}

/// Whether the condition of this type is true.
pub(super) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == Some("True"))
}

/// What a condition says of itself: its reason and its message.
pub(super) fn because(condition: &Value) -> String {
    let parts = ["/reason", "/message"].into_iter().filter_map(|field| text(condition, field));
    match parts.collect::<Vec<&str>>().join(": ") {
        parts if parts.is_empty() => String::new(),
        parts => format!(" ({parts})"),
    }
}

/// An object that is on its way out is no evidence.
pub(super) fn stays(object: &Value) -> Result<(), String> {
    match text(object, "/metadata/deletionTimestamp") {
        Some(_) => Err("is being deleted".to_owned()),
        None => Ok(()),
    }
}
