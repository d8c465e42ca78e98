//! Where `init` finds what runs: in manifests, or in the cluster.

use std::collections::BTreeSet;

use anyhow::bail;
use k8s_openapi::api::core::v1::Service;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use crate::api::UpgradePolicy;
use crate::cli::input::live::{self, Cluster};
use crate::cluster::documents::{Source, documents};
use crate::cluster::files::{Manifests, with_workloads};
use crate::cluster::object::WorkloadKind;
use crate::cluster::raw::RawObject;

/// What was found, and where.
pub(super) struct Read {
    pub(super) namespace: String,
    /// Workloads and Services of the namespace, and what Flux has.
    pub(super) objects: Vec<Value>,
    pub(super) policies: Vec<UpgradePolicy>,
    /// What could not be looked at, or was not.
    pub(super) notes: Vec<String>,
}

/// The kinds of Flux that tell what depends on what, with the versions that its clusters serve.
const FLUX: [(&str, &str, &str, &str); 2] = [
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
    ("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
];

/// Reads manifests.
///
/// # Errors
/// When they cannot be read, or when it is not clear which namespace is meant.
pub(super) fn files(sources: &[Source], namespace: Option<&str>) -> anyhow::Result<Read> {
    let documents = documents(sources);
    let objects: Vec<Value> =
        documents.iter().filter_map(|document| document.as_ref().ok().map(|found| found.object.clone())).collect();
    let manifests = Manifests::of(documents, namespace)?;
    let found = with_workloads(&manifests);
    let namespace = match (namespace, found.iter().collect::<Vec<_>>().as_slice()) {
        (Some(namespace), _) => namespace.to_owned(),
        (None, [only]) => (**only).to_owned(),
        (None, []) => bail!("the manifests hold no Deployment, StatefulSet, DaemonSet or Rollout: nothing to govern"),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|name| **name).collect();
            bail!("the manifests are of several namespaces ({}): name one with -n", names.join(", "))
        }
    };
    let others: Vec<&str> = found.iter().copied().filter(|other| *other != namespace).collect();
    let notes = if others.is_empty() {
        vec![]
    } else {
        vec![format!("what is in {} was not looked at: a policy may govern several namespaces", others.join(", "))]
    };
    let own = |object: &Value| {
        let stated = object.pointer("/metadata/namespace").and_then(Value::as_str);
        stated.is_none_or(|stated| stated == namespace) || is_of_flux(object)
    };
    let objects = objects.into_iter().filter(own).collect();
    let policies = manifests.policies.into_iter().map(|found| found.object).collect();
    Ok(Read { namespace, objects, policies, notes })
}

fn is_of_flux(object: &Value) -> bool {
    let group = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    FLUX.iter().any(|(flux, ..)| group.starts_with(flux))
}

/// Reads the cluster that the kubeconfig names.
///
/// # Errors
/// When it does not answer, or may not be asked for the workloads.
pub(super) fn cluster(namespace: Option<&str>) -> anyhow::Result<Read> {
    let cluster = Cluster::connect()?;
    let namespace = namespace.map_or_else(|| cluster.default_namespace(), str::to_owned);
    let mut read = Read { objects: vec![], policies: vec![], notes: vec![], namespace };
    for kind in WorkloadKind::ALL {
        let api = |client| Api::namespaced_with(client, &read.namespace, &kind.api_resource());
        read.objects.extend(list(&cluster, &kind.api_resource(), api)?);
    }
    // What only helps to guess may be forbidden.
    let services = ApiResource::erase::<Service>(&());
    let of_services = |client| Api::namespaced_with(client, &read.namespace, &services);
    match list(&cluster, &services, of_services) {
        Ok(found) => read.objects.extend(found),
        Err(error) => read.notes.push(format!("no order is guessed from Services: {error:#}")),
    }
    let flux: Vec<ApiResource> = FLUX
        .iter()
        .map(|(group, version, kind, plural)| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
        })
        .collect();
    for resource in flux {
        match list(&cluster, &resource, |client| Api::all_with(client, &resource)) {
            Ok(found) => read.objects.extend(found),
            Err(error) => read.notes.push(format!("no order is guessed from {}: {error:#}", resource.plural)),
        }
    }
    match cluster.policies() {
        Ok(policies) => read.policies = policies,
        Err(error) => read.notes.push(format!("whether a policy governs it already is not known: {error:#}")),
    }
    Ok(read)
}

/// All objects of one kind, each with its kind, as manifests have it.
fn list(
    cluster: &Cluster,
    resource: &ApiResource,
    api: impl FnOnce(Client) -> Api<RawObject>,
) -> anyhow::Result<Vec<Value>> {
    let mut objects: Vec<Value> = cluster.block_on(async |client| live::all(&resource.plural, api(client)).await)?;
    for fields in objects.iter_mut().filter_map(Value::as_object_mut) {
        // The items of a list do not say what they are.
        fields.insert("apiVersion".to_owned(), resource.api_version.clone().into());
        fields.insert("kind".to_owned(), resource.kind.clone().into());
    }
    Ok(objects)
}

/// A name for the policy that no other policy has: to apply it must not change one that is there.
pub(super) fn free_name(wanted: &str, policies: &[UpgradePolicy]) -> String {
    let taken: BTreeSet<&str> = policies.iter().filter_map(|policy| policy.metadata.name.as_deref()).collect();
    let numbered = (2..).map(|number: usize| format!("{wanted}-{number}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken.contains(name.as_str())).unwrap_or_default()
}
