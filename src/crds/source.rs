//! Where the wanted CRDs come from.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use serde_json::Value;

use super::content;
use super::error::CrdError;
use crate::cluster::documents::{FileError, Found, Source, documents, documents_in};

/// The group of CRDs.
const GROUP: &str = "apiextensions.k8s.io";

/// A CRD that should be in the cluster.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it should say.
    pub definition: CustomResourceDefinition,
    /// Where that is written: `crds/tools.yaml: document 1 (line 1)`.
    pub origin: String,
}

impl Wanted {
    /// The CRD's name; [`load`] reads none without.
    #[must_use]
    pub fn name(&self) -> &str {
        self.definition.metadata.name.as_deref().unwrap_or_default()
    }
}

/// A place with CRDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrdSource {
    /// A file, a folder with everything below it, or the standard input.
    Files(Source),
    /// A `ConfigMap`: every key that ends with `.yaml`, `.yml` or `.json`.
    ConfigMap {
        /// Its namespace, when it is not the one that the command works in.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
}

impl FromStr for CrdSource {
    type Err = String;

    /// Reads `configmap:NAME`, `configmap:NAMESPACE/NAME`, a path, or `-` for the standard input.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(place) = text.strip_prefix("configmap:") else {
            let Ok(source) = text.parse();
            return Ok(Self::Files(source));
        };
        let (namespace, name) = match place.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, place),
        };
        if name.is_empty() || name.contains('/') || namespace.is_some_and(str::is_empty) {
            return Err(format!("{text} names no ConfigMap: write configmap:NAME or configmap:NAMESPACE/NAME"));
        }
        Ok(Self::ConfigMap { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

impl fmt::Display for CrdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(source) => source.fmt(f),
            Self::ConfigMap { namespace: Some(namespace), name } => write!(f, "ConfigMap {namespace}/{name}"),
            Self::ConfigMap { namespace: None, name } => write!(f, "ConfigMap {name}"),
        }
    }
}

/// Reads the CRDs of `sources`, in the order of their names. A `ConfigMap` is read through `client`; one without a
/// namespace is in `default_namespace`. What is no CRD is left out.
///
/// # Errors
/// [`CrdError::Input`] with every fault that was found: what cannot be read, a source without a CRD, a CRD of an old
/// version or with unknown fields, two of one name that differ. [`CrdError::Failed`] when a
/// `ConfigMap` cannot be read.
pub async fn load(
    sources: &[CrdSource],
    client: Option<&Client>,
    default_namespace: &str,
) -> Result<Vec<Wanted>, CrdError> {
    let mut reader = Reader::default();
    for source in sources {
        let documents = match source {
            CrdSource::Files(source) => documents(std::slice::from_ref(source)),
            CrdSource::ConfigMap { namespace, name } => {
                let Some(client) = client else {
                    let message = format!("{source} is in a cluster, and this command works without one");
                    return Err(CrdError::Input(vec![message]));
                };
                config_map(client, namespace.as_deref().unwrap_or(default_namespace), name).await?
            }
        };
        reader.source(source, documents);
    }
    reader.end()
}

/// Every document in a `ConfigMap`.
async fn config_map(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Vec<Result<Found<Value>, FileError>>, CrdError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = api.get(name).await;
    let map = map.map_err(|error| CrdError::failed(&format!("read ConfigMap {namespace}/{name}"), &error))?;
    let texts = map.data.into_iter().flatten();
    let bytes = map.binary_data.into_iter().flatten().map(|(key, bytes)| {
        // What is no text is no YAML either, and the parser says so.
        (key, String::from_utf8_lossy(&bytes.0).into_owned())
    });
    let mut keys: Vec<(String, String)> = texts.chain(bytes).filter(|(key, _)| is_manifest(key)).collect();
    keys.sort();
    let documents =
        keys.iter().flat_map(|(key, text)| documents_in(&format!("ConfigMap {namespace}/{name}, key {key}"), text));
    Ok(documents.collect())
}

fn is_manifest(key: &str) -> bool {
    let (_, ending) = key.rsplit_once('.').unwrap_or_default();
    ["yaml", "yml", "json"].contains(&ending)
}

#[derive(Default)]
struct Reader {
    found: BTreeMap<String, Wanted>,
    errors: Vec<String>,
}

impl Reader {
    fn source(&mut self, source: &CrdSource, documents: Vec<Result<Found<Value>, FileError>>) {
        let (faults, mut crds) = (self.errors.len(), 0);
        for document in documents {
            match document {
                Ok(found) if is_crd(&found.object) => {
                    crds += 1;
                    if let Err(error) = self.document(found) {
                        self.errors.push(error);
                    }
                }
                // Values of a chart, a kustomization and the like lie beside CRDs.
                Ok(_) | Err(FileError::Document { .. }) => {}
                Err(error) => self.errors.push(error.to_string()),
            }
        }
        if crds == 0 && self.errors.len() == faults {
            self.errors.push(format!("{source} holds no CustomResourceDefinition"));
        }
    }

    fn document(&mut self, found: Found<Value>) -> Result<(), String> {
        let origin = found.origin.to_string();
        let definition = read(found.object).map_err(|error| format!("{origin}: {error}"))?;
        let wanted = Wanted { definition, origin };
        let name = wanted.name().to_owned();
        match self.found.get(&name) {
            Some(earlier) if content::digest(&earlier.definition) != content::digest(&wanted.definition) => {
                let (first, second) = (&earlier.origin, &wanted.origin);
                return Err(format!(
                    "{name} is there twice and not the same: {first}, and {second}. Remove one of them"
                ));
            }
            Some(_) => {}
            None => {
                self.found.insert(name, wanted);
            }
        }
        Ok(())
    }

    fn end(self) -> Result<Vec<Wanted>, CrdError> {
        if self.errors.is_empty() { Ok(self.found.into_values().collect()) } else { Err(CrdError::Input(self.errors)) }
    }
}

fn is_crd(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition"
        && object["apiVersion"].as_str().is_none_or(|version| version.split('/').next() == Some(GROUP))
}

/// Reads a CRD, without its status.
fn read(mut object: Value) -> Result<CustomResourceDefinition, String> {
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    if version != format!("{GROUP}/v1") {
        let hint = "Kubernetes takes only apiextensions.k8s.io/v1 since 1.22. Take the CRD from a newer release of the \
                    chart, or convert it: spec.version and spec.validation become entries of spec.versions";
        return Err(format!("the CRD has apiVersion {version:?}. {hint}"));
    }
    if let Some(fields) = object.as_object_mut() {
        // Generators write an empty one, and what is in it is the API server's.
        fields.remove("status");
    }
    let definition: CustomResourceDefinition =
        serde_path_to_error::deserialize(&object).map_err(|error| match error.path().to_string().as_str() {
            "." => format!("the CRD cannot be read: {}", error.inner()),
            path => format!("the CRD cannot be read: {path}: {}", error.inner()),
        })?;
    if definition.metadata.name.as_deref().is_none_or(str::is_empty) {
        return Err("the CRD has no metadata.name".to_owned());
    }
    let kept = serde_json::to_value(&definition).unwrap_or(Value::Null);
    let mut unknown = Vec::new();
    lost(&object, &kept, &mut String::new(), &mut unknown);
    if unknown.is_empty() {
        return Ok(definition);
    }
    let unknown = unknown.join(", ");
    Err(format!("the CRD has fields that are no part of apiextensions.k8s.io/v1: {unknown}. Correct or remove them"))
}

/// Adds to `unknown` where `written` says something that `kept` does not.
fn lost(written: &Value, kept: &Value, path: &mut String, unknown: &mut Vec<String>) {
    let length = path.len();
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            for (name, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(name);
                match kept.get(name) {
                    Some(kept) => lost(value, kept, path, unknown),
                    None => unknown.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        (Value::Array(written), Value::Array(kept)) => {
            for (index, (value, kept)) in written.iter().zip(kept).enumerate() {
                path.extend(["[", &index.to_string(), "]"]);
                lost(value, kept, path, unknown);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
