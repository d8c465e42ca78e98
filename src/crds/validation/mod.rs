//! Whether an object fits a schema of a CRD, as the API server judges it: what it does not know is pruned, defaults are
//! filled in, and what is left is validated.
//!
//! Follows `k8s.io/apiextensions-apiserver/pkg/apiserver` (`schema/pruning`, `schema/defaulting`, `schema/listtype`,
//! `schema/objectmeta`, `schema/cel`) and `k8s.io/kube-openapi/pkg/validation/validate`, all of Kubernetes 1.36.

mod formats;
mod node;
mod patterns;
mod prepare;
mod rules;
mod structure;
mod translate;

use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, ValidationError};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;

use node::Node;

/// A schema of a CRD, ready to judge objects.
pub struct Validator {
    root: Node,
    schema: jsonschema::Validator,
    unchecked: BTreeSet<String>,
}

/// Something in an object that the schema forbids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The field: `spec.servers[0].port`.
    pub path: String,
    /// What is wrong with it, without the value itself, which may be a secret.
    pub message: String,
}

/// What a schema says of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What it forbids; empty when the API server would take the object.
    pub violations: Vec<Violation>,
    /// The fields that it does not know: the API server drops them.
    pub pruned: Vec<String>,
    /// What could not be looked at in this object, and why.
    pub unchecked: BTreeSet<String>,
}

impl Validator {
    /// Makes ready what `schema` (the `openAPIV3Schema` of a version) says.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub fn new(schema: &JSONSchemaProps) -> Result<Self, String> {
        let mut unchecked = BTreeSet::new();
        let root = Node::root(schema, &mut unchecked);
        let translated = translate::translate(schema, "", &mut unchecked);
        let options = jsonschema::options().with_draft(Draft::Draft7).offline().should_validate_formats(true);
        let schema =
            patterns::register(formats::register(options)).build(&translated).map_err(|error| error.to_string())?;
        Ok(Self { root, schema, unchecked })
    }

    /// What of the schema is never looked at, and why.
    #[must_use]
    pub fn unchecked(&self) -> &BTreeSet<String> {
        &self.unchecked
    }

    /// Judges `object`, which is left as the API server would keep it: pruned and with its defaults.
    #[must_use]
    pub fn judge(&self, object: &mut Value) -> Verdict {
        let mut verdict = Verdict { pruned: prepare::prune(&self.root, object), ..Verdict::default() };
        prepare::drop_nulls(Some(&self.root), object);
        prepare::fill_in(&self.root, object);
        verdict.violations.extend(self.schema.iter_errors(object).map(|error| told(&error)));
        structure::check(&self.root, object, &mut String::new(), &mut verdict);
        verdict.violations.sort();
        verdict
    }
}

fn told(error: &ValidationError<'_>) -> Violation {
    let mut path = field(error.instance_path());
    let message = match error.kind() {
        ValidationErrorKind::Required { property } => {
            append(&mut path, property.as_str().unwrap_or_default());
            "is required and missing".to_owned()
        }
        ValidationErrorKind::Custom { message, .. } => message.clone(),
        _ => error.masked_with("the value").to_string(),
    };
    Violation { path, message }
}

/// The place as Kubernetes writes it.
fn field(location: &Location) -> String {
    let mut path = String::new();
    for segment in location {
        match segment {
            LocationSegment::Property(name) => append(&mut path, &name),
            LocationSegment::Index(index) => append_index(&mut path, index),
        }
    }
    path
}

fn append(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn append_index(path: &mut String, index: usize) {
    path.push('[');
    path.push_str(&index.to_string());
    path.push(']');
}

#[cfg(test)]
mod tests;
