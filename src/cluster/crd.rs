//! What is kept of a CRD.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::domain::preparation::CrdState;

/// Gives the digest of what a CRD says. It is handed in, because comparing CRDs is the matter of a layer above.
pub type Digest = fn(&CustomResourceDefinition) -> String;

/// What counts of `definition`. One without a status, as in a manifest, is as good as established.
#[must_use]
pub fn state(definition: &CustomResourceDefinition, digest: Digest) -> CrdState {
    let leaving = definition.metadata.deletion_timestamp.is_some();
    let conditions = definition.status.as_ref().map(|status| status.conditions.as_deref().unwrap_or_default());
    let is =
        |kind: &str| conditions.is_none_or(|all| all.iter().any(|found| found.type_ == kind && found.status == "True"));
    let established = !leaving && is("Established") && is("NamesAccepted");
    CrdState { established, content: digest(definition) }
}
