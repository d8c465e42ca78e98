//! The state of the cluster that the kubeconfig names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::ListParams;
use kube::core::ApiResource;
use kube::{Api, Client, Resource, ResourceExt};

use super::State;
use crate::api::{Platform, PlatformRelease, UpgradePolicy};
use crate::cluster::crd;
use crate::cluster::error::said;
use crate::cluster::files::Install;
use crate::cluster::index::ObjectKey;
use crate::cluster::inventory::{Inventory, RevisionKind};
use crate::cluster::object::{WorkloadKind, WorkloadObject};
use crate::cluster::pod::Pod;
use crate::cluster::raw::RawObject;
use crate::cluster::record::{AutoscalerRecord, BudgetRecord, RevisionRecord, WorkloadRecord};
use crate::crds::content;
use crate::domain::policy::Policy;
use crate::domain::preparation::CrdState;

/// How long one list may take: kube itself waits for ever.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the cluster says of one CRD.
enum Answer {
    Found(CrdState),
    Missing,
    Forbidden,
}

/// A cluster that can be asked.
pub(in crate::cli) struct Cluster {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Cluster {
    /// Connects as kubectl would.
    pub(in crate::cli) fn connect() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start the asynchronous runtime")?;
        let client = runtime.block_on(Client::try_default());
        let client = client.context("cannot tell which cluster is meant: is there a kubeconfig?")?;
        Ok(Self { runtime, client })
    }

    /// The policies of the cluster.
    pub(in crate::cli) fn policies(&self) -> anyhow::Result<Vec<UpgradePolicy>> {
        self.runtime.block_on(all("UpgradePolicies", everywhere::<UpgradePolicy>(&self.client)))
    }

    /// The releases of the cluster.
    pub(in crate::cli) fn releases(&self) -> anyhow::Result<Vec<PlatformRelease>> {
        self.runtime.block_on(all("PlatformReleases", everywhere::<PlatformRelease>(&self.client)))
    }

    /// The Platforms of one namespace, or of all.
    pub(in crate::cli) fn platforms(&self, namespace: Option<&str>) -> anyhow::Result<Vec<Platform>> {
        let api = namespace.map_or_else(|| everywhere::<Platform>(&self.client), |name| self.api::<Platform>(name));
        self.runtime.block_on(all("Platforms", api))
    }

    /// The namespace that the kubeconfig, or the pod, is in.
    pub(in crate::cli) fn default_namespace(&self) -> String {
        self.client.default_namespace().to_owned()
    }

    /// The custom resource definition of this name, if there is one.
    pub(in crate::cli) fn definition(&self, name: &str) -> anyhow::Result<Option<CustomResourceDefinition>> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let answer = self.runtime.block_on(async { tokio::time::timeout(LIST_TIMEOUT, api.get_opt(name)).await });
        match answer {
            Ok(Ok(definition)) => Ok(definition),
            Ok(Err(error)) => bail!("cannot read CustomResourceDefinition {name}: {}", said(&error)),
            Err(_) => {
                bail!("cannot read CustomResourceDefinition {name}: no answer in {} s", LIST_TIMEOUT.as_secs())
            }
        }
    }

    /// Runs `question` with a client of the cluster.
    pub(in crate::cli) fn block_on<T>(&self, question: impl AsyncFnOnce(Client) -> T) -> T {
        self.runtime.block_on(question(self.client.clone()))
    }

    /// What is in `namespaces`.
    pub(in crate::cli) fn installs<'a>(&self, namespaces: impl Iterator<Item = &'a str>) -> anyhow::Result<State> {
        let mut state = BTreeMap::new();
        for namespace in namespaces {
            state.insert(namespace.to_owned(), self.runtime.block_on(self.install(namespace))?);
        }
        Ok(state)
    }

    /// Adds what the cluster has of the CRDs that `policies` name. Where they may not be read, that is noted, and they
    /// are not judged.
    pub(in crate::cli) fn add_crds(
        &self,
        state: &mut State,
        policies: &[Policy],
        notes: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let components = policies.iter().flat_map(|policy| &policy.components);
        let names: BTreeSet<&str> = components.flat_map(|component| &component.crds).map(String::as_str).collect();
        let mut found = Some(BTreeMap::new());
        for name in names {
            match self.runtime.block_on(self.crd(name))? {
                Answer::Found(state) => _ = found.as_mut().map(|found| found.insert(name.to_owned(), state)),
                Answer::Missing => {}
                Answer::Forbidden => {
                    notes.push("you may not get customresourcedefinitions: they are not judged".to_owned());
                    found = None;
                    break;
                }
            }
        }
        for install in state.values_mut() {
            install.inventory.set_crds(found.clone());
        }
        Ok(())
    }

    async fn crd(&self, name: &str) -> anyhow::Result<Answer> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        match tokio::time::timeout(LIST_TIMEOUT, api.get(name)).await {
            Ok(Ok(crd)) => Ok(Answer::Found(crd::state(&crd, content::digest))),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Answer::Missing),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => Ok(Answer::Forbidden),
            Ok(Err(error)) => Err(anyhow!(error).context(format!("cannot get CRD {name}"))),
            Err(_) => Err(anyhow!("cannot get CRD {name}: no answer in {} s", LIST_TIMEOUT.as_secs())),
        }
    }

    /// The policies and the releases of the cluster.
    pub(in crate::cli) async fn rules(&self) -> anyhow::Result<(Vec<UpgradePolicy>, Vec<PlatformRelease>)> {
        let policies = all("UpgradePolicies", everywhere::<UpgradePolicy>(&self.client)).await?;
        Ok((policies, all("PlatformReleases", everywhere::<PlatformRelease>(&self.client)).await?))
    }

    /// The pods in a namespace.
    pub(in crate::cli) async fn pods(&self, namespace: &str) -> anyhow::Result<Vec<Pod>> {
        all("pods", self.api::<v1::Pod>(namespace)).await
    }

    /// What is in a namespace.
    pub(in crate::cli) async fn install(&self, namespace: &str) -> anyhow::Result<Install> {
        let mut install = Install { inventory: Inventory::live(), ..Install::default() };
        let inventory = &mut install.inventory;
        for kind in WorkloadKind::ALL {
            let objects = self.objects(namespace, &kind.api_resource()).await?;
            let records = objects.iter().filter_map(|object| WorkloadRecord::read(kind, object));
            records.for_each(|record| inventory.put_workload(record));
        }
        let replica_sets = self.objects(namespace, &ApiResource::erase::<ReplicaSet>(&())).await?;
        for record in replica_sets.iter().filter_map(RevisionRecord::of_replica_set) {
            inventory.put_revision(RevisionKind::ReplicaSet, record);
        }
        let revisions = self.typed::<ControllerRevision>("ControllerRevisions", namespace).await?;
        for record in revisions.iter().filter_map(RevisionRecord::of_controller_revision) {
            inventory.put_revision(RevisionKind::ControllerRevision, record);
        }
        for budget in self.typed::<PodDisruptionBudget>("PodDisruptionBudgets", namespace).await? {
            inventory.budgets_mut().insert(budget.name_any(), BudgetRecord::from(&budget));
        }
        for autoscaler in self.typed::<HorizontalPodAutoscaler>("HorizontalPodAutoscalers", namespace).await? {
            inventory.autoscalers_mut().insert(autoscaler.name_any(), AutoscalerRecord::from(&autoscaler));
        }
        for platform in self.typed::<Platform>("Platforms", namespace).await? {
            inventory.platforms_mut().insert(platform.name_any(), platform);
        }
        Ok(install)
    }

    async fn objects(&self, namespace: &str, resource: &ApiResource) -> anyhow::Result<Vec<WorkloadObject>> {
        all(&resource.plural, Api::namespaced_with(self.client.clone(), namespace, resource)).await
    }

    async fn typed<K>(&self, what: &str, namespace: &str) -> anyhow::Result<Vec<K>>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        all(what, self.api::<K>(namespace)).await
    }

    fn api<K: Resource<DynamicType = ()>>(&self, namespace: &str) -> Api<RawObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<K>(&()))
    }
}

/// The objects of a kind, in all namespaces.
fn everywhere<K: Resource<DynamicType = ()>>(client: &Client) -> Api<RawObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<K>(&()))
}

/// All objects of an API; none where the cluster does not know the kind (Argo Rollouts, the guard's own).
pub(in crate::cli) async fn all<K: DeserializeOwned>(what: &str, api: Api<RawObject>) -> anyhow::Result<Vec<K>> {
    match tokio::time::timeout(LIST_TIMEOUT, api.list(&ListParams::default())).await {
        Ok(Ok(list)) => {
            let read = |object: RawObject| {
                let key = ObjectKey::of(&object);
                object.read().with_context(|| format!("cannot read {key} of {what}"))
            };
            list.items.into_iter().map(read).collect()
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(vec![]),
        Ok(Err(error)) => Err(anyhow!(error).context(format!("cannot list {what}"))),
        Err(_) => Err(anyhow!("cannot list {what}: no answer in {} s", LIST_TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use hyper::http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::view::WorkloadId;

    /// An API server that knows one Deployment with its `ReplicaSet` and a budget, empty lists of the other built-in
    /// kinds, and neither Argo Rollouts nor the guard's own.
    fn answer(path: &str) -> (u16, Value) {
        let list = |kind: &str, version: &str, items: Value| {
            (200, json!({"kind": format!("{kind}List"), "apiVersion": version, "metadata": {}, "items": items}))
        };
        let template = json!({"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "api", "image": "api:2.2.0"}]}});
        match path.rsplit_once("/namespaces/shop/").map_or(path, |(_, plural)| plural) {
            "deployments" => list(
                "Deployment",
                "apps/v1",
                json!([{
                    "metadata": {"name": "api", "namespace": "shop", "uid": "1", "generation": 1},
                    "spec": {"replicas": 2, "template": template},
                    "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
                }]),
            ),
            "replicasets" => list(
                "ReplicaSet",
                "apps/v1",
                json!([{
                    "metadata": {"name": "api-1", "namespace": "shop", "ownerReferences": [
                        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": "1", "controller": true},
                    ]},
                    "spec": {"replicas": 2, "template": template}, "status": {"replicas": 2},
                }]),
            ),
            "poddisruptionbudgets" => list(
                "PodDisruptionBudget",
                "policy/v1",
                json!([{
                    "metadata": {"name": "api", "namespace": "shop"}, "spec": {"minAvailable": 1},
                }]),
            ),
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/there.example.com" => (
                200,
                json!({
                    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                    "metadata": {"name": "there.example.com"}, "status": {"conditions": []},
                    "spec": {
                        "group": "example.com", "scope": "Namespaced", "names": {"plural": "there", "kind": "There"},
                        "versions": [{"name": "v1", "served": true, "storage": true}],
                    },
                }),
            ),
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secret.example.com" => (
                403,
                json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
                    "message": "customresourcedefinitions.apiextensions.k8s.io is forbidden",
                }),
            ),
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/missing.example.com"
            | "rollouts"
            | "platforms"
            | "/apis/guard.gostoa.dev/v1alpha1/upgradepolicies" => (
                404,
                json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                    "message": "the server could not find the requested resource",
                }),
            ),
            "daemonsets" => (
                403,
                json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
                    "message": "daemonsets.apps is forbidden",
                }),
            ),
            _ => list("", "v1", json!([])),
        }
    }

    fn cluster(allow_daemon_sets: bool) -> Cluster {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let service = tower::service_fn(move |request: Request<Body>| async move {
            let path = request.uri().path().to_owned();
            let (code, body) = match answer(&path) {
                (403, _) if allow_daemon_sets && path.ends_with("/daemonsets") => answer("/others"),
                answer => answer,
            };
            let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&body).unwrap()));
            Ok::<_, std::convert::Infallible>(response.unwrap())
        });
        let client = runtime.block_on(async { Client::new(service, "default") });
        Cluster { runtime, client }
    }

    #[test]
    fn a_namespace_is_read_and_unknown_kinds_are_none() {
        let cluster = cluster(true);
        let state = cluster.installs(["shop"].into_iter()).unwrap();
        let inventory = &state["shop"].inventory;
        assert_eq!(inventory.len(), 3, "a Deployment, its revision and a budget");
        let id = WorkloadId { kind: "Deployment".into(), name: "api".into() };
        assert_eq!(inventory.workload(&id).unwrap().uid, "1");
        assert!(cluster.policies().unwrap().is_empty(), "the guard is not installed there");
    }

    #[test]
    fn crds_that_policies_name_are_read_and_where_they_may_not_be_are_not_judged() {
        let policy = |names: &[&str]| {
            let policy: UpgradePolicy = serde_json::from_value(json!({
                "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": "p"},
                "spec": {"namespaces": ["shop"], "components": [{"name": "api", "match": {"names": ["api"]}, "crds": names}]},
            }))
            .unwrap();
            Policy::try_from(&policy).unwrap()
        };
        let cluster = cluster(true);
        let mut state = cluster.installs(["shop"].into_iter()).unwrap();
        let mut notes = vec![];
        cluster.add_crds(&mut state, &[policy(&["there.example.com", "missing.example.com"])], &mut notes).unwrap();
        let crds = state["shop"].inventory.crds().unwrap();
        let shown: Vec<_> = crds.iter().map(|(name, crd)| (name.as_str(), crd.established)).collect();
        assert_eq!((shown, notes.len()), (vec![("there.example.com", false)], 0));

        cluster.add_crds(&mut state, &[policy(&["there.example.com", "secret.example.com"])], &mut notes).unwrap();
        assert_eq!(state["shop"].inventory.crds(), None);
        assert_eq!(notes, ["you may not get customresourcedefinitions: they are not judged"]);
    }

    #[test]
    fn what_may_not_be_read_is_an_error() {
        let error = cluster(false).installs(["shop"].into_iter()).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot list daemonsets: "), "{error:#}");
    }
}
