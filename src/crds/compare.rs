//! What changes from an installed CRD to a wanted one.
//!
//! In three passes, as crdify makes them: over the CRD as a whole; over each version, old against new; and over the
//! served versions of the wanted CRD, each against the others. Checks look at what makes stored objects, clients or a
//! way back fail; what only allows more is no difference. What no check knows is told as `unhandled`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::Version;
use serde_json::Value;

use super::check::{Check, Difference, Severities, Severity};
use super::content::{self, Object};

mod keyword;
mod schema;
mod served;
#[cfg(test)]
mod tests;
mod text;
mod version;
mod whole;

/// The differences from `installed` to `wanted` that `severities` does not switch off.
#[must_use]
pub fn compare(
    installed: &CustomResourceDefinition,
    wanted: &CustomResourceDefinition,
    severities: &Severities,
) -> Vec<Difference> {
    let (old, new) = (Definition::of(installed), Definition::of(wanted));
    let mut found = whole::identity(&old, &new);
    // Nothing of another CRD can be compared.
    if found.is_empty() {
        found = compare_versions(&old, &new, severities);
    }
    let told = found.into_iter().map(|finding| finding.taken(severities));
    told.filter(|difference| difference.severity != Severity::Off).collect()
}

/// The three passes.
fn compare_versions(old: &Definition<'_>, new: &Definition<'_>, severities: &Severities) -> Vec<Finding> {
    let mut found = whole::compare(old, new);
    for (name, new) in &new.versions {
        if let Some(old) = old.version(name) {
            found.extend(version::compare(name, old, new));
        }
    }
    found.extend(served::compare(old, new, severities));
    found
}

/// A CRD in its normal form.
struct Definition<'a> {
    crd: &'a CustomResourceDefinition,
    spec: Object,
    /// The versions, those that Kubernetes prefers last: alpha before beta before the rest.
    versions: Vec<(String, Object)>,
}

impl<'a> Definition<'a> {
    fn of(crd: &'a CustomResourceDefinition) -> Self {
        let mut spec = content::spec(crd);
        let mut versions: Vec<(String, Object)> = Vec::new();
        if let Some(Value::Array(listed)) = spec.remove("versions") {
            for version in listed {
                if let Value::Object(version) = version {
                    versions.push((string(&version, "name").to_owned(), version));
                }
            }
        }
        versions.sort_by_cached_key(|(name, _)| Version::parse(name).priority());
        Self { crd, spec, versions }
    }

    fn version(&self, name: &str) -> Option<&Object> {
        self.versions.iter().find(|(known, _)| known == name).map(|(_, version)| version)
    }

    /// The version in which objects are stored.
    fn storage(&self) -> Option<(&str, &Object)> {
        let stored = self.versions.iter().find(|(_, version)| is(version, "storage"));
        stored.map(|(name, version)| (name.as_str(), version))
    }

    /// Whether a webhook converts between versions; otherwise only `apiVersion` is exchanged.
    fn has_webhook(&self) -> bool {
        self.spec.get("conversion").and_then(|conversion| conversion.get("strategy")) == Some(&Value::from("Webhook"))
    }
}

/// What a check found, before it is known how that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    check: Check,
    version: Option<String>,
    path: String,
    message: String,
}

impl Finding {
    /// Something about the CRD as a whole.
    fn whole(check: Check, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { check, version: None, path: path.into(), message: message.into() }
    }

    fn taken(self, severities: &Severities) -> Difference {
        let Self { check, version, path, message } = self;
        let path = text::line(&path, text::LONGEST_PATH);
        Difference { check: check.row().name, severity: severities.of(check), version, path, message }
    }
}

/// The schema of a version; one that allows everything where there is none.
fn schema_of(version: &Object) -> Object {
    let schema = version.get("schema").and_then(|schema| schema.get("openAPIV3Schema"));
    schema.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Whether the field is `true`.
fn is(object: &Object, field: &str) -> bool {
    object.get(field) == Some(&Value::Bool(true))
}

/// The text in a field; empty where there is none.
fn string<'a>(object: &'a Object, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The keys of either object, each once.
fn keys<'a>(old: &'a Object, new: &'a Object) -> impl Iterator<Item = &'a str> {
    old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))).map(String::as_str)
}
