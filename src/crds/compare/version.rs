//! The second pass: one version, old against new.

use serde_json::Value;

use super::super::check::Check;
use super::text::{Between, short, value};
use super::{Finding, Object, is, keys, schema, schema_of, string};

/// What is compared elsewhere, or harms nobody: printer columns are for people.
const KNOWN: [&str; 9] = [
    "additionalPrinterColumns",
    "deprecated",
    "deprecationWarning",
    "name",
    "schema",
    "selectableFields",
    "served",
    "storage",
    "subresources",
];

/// One version of the CRD.
pub(super) fn compare(name: &str, old: &Object, new: &Object) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |check: Check, path: &str, message: String| {
        found.push(Finding { check, version: Some(name.to_owned()), path: path.to_owned(), message });
    };
    subresources(old, new, &mut tell);
    if is(new, "deprecated") && !is(old, "deprecated") {
        let message = match string(new, "deprecationWarning") {
            "" => "would be deprecated".to_owned(),
            warning => format!("would be deprecated: {}", short(warning)),
        };
        tell(Check::Deprecation, "deprecated", message);
    }
    let wanted = selectable(new);
    for path in selectable(old).into_iter().filter(|path| !wanted.contains(path)) {
        tell(
            Check::SelectableField,
            path.trim_start_matches('.'),
            "objects could not be selected by it any more".into(),
        );
    }
    for key in keys(old, new).filter(|key| !KNOWN.contains(key) && old.get(*key) != new.get(*key)) {
        tell(Check::Unhandled, key, Between::Now.changed(&value(old.get(key)), &value(new.get(key))));
    }
    found.extend(schema::compare(&Between::Now, Some(name), &schema_of(old), &schema_of(new)));
    found
}

fn subresources(old: &Object, new: &Object, tell: &mut impl FnMut(Check, &str, String)) {
    let nothing = Object::new();
    let of = |version: &'_ Object| version.get("subresources").and_then(Value::as_object).cloned();
    let (old, new) = (of(old).unwrap_or_default(), of(new).unwrap_or_default());
    match (old.contains_key("status"), new.contains_key("status")) {
        (true, false) => tell(Check::StatusSubresource, "subresources.status", "would be gone".into()),
        (false, true) => {
            let message = "would be there: a status that is written with the object would be ignored";
            tell(Check::StatusSubresourceAdded, "subresources.status", message.into());
        }
        _ => {}
    }
    match (old.get("scale").and_then(Value::as_object), new.get("scale").and_then(Value::as_object)) {
        (Some(_), None) => tell(Check::ScaleSubresource, "subresources.scale", "would be gone".into()),
        (None, _) => {}
        (Some(old), new) => {
            let new = new.unwrap_or(&nothing);
            for key in keys(old, new).filter(|key| old.get(*key) != new.get(*key)) {
                let message = Between::Now.changed(&value(old.get(key)), &value(new.get(key)));
                tell(Check::ScaleSubresource, &format!("subresources.scale.{key}"), message);
            }
        }
    }
    for key in keys(&old, &new).filter(|key| !["status", "scale"].contains(key) && old.get(*key) != new.get(*key)) {
        let message = Between::Now.changed(&value(old.get(key)), &value(new.get(key)));
        tell(Check::Unhandled, &format!("subresources.{key}"), message);
    }
}

/// The fields by which objects can be selected.
fn selectable(version: &Object) -> Vec<&str> {
    let fields = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    fields.filter_map(|field| field.get("jsonPath")?.as_str()).collect()
}
