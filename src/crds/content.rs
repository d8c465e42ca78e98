//! What a CRD says, apart from how it is written down and from what the API server adds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// The digest of what `definition` says: the same for a file and for what the API server makes of it. `sha256:` and
/// 64 hex digits.
#[must_use]
pub fn digest(definition: &CustomResourceDefinition) -> String {
    // Keys of a JSON object are sorted.
    let spec = serde_json::to_value(&definition.spec).unwrap_or(Value::Null);
    let digest = ring::digest::digest(&ring::digest::SHA256, spec.to_string().as_bytes());
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}
