//! An API server for the tests of this file, and CRDs to put there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::client::{Body, ClientBuilder};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tower::util::MapRequestLayer;
use upgrade_guard::crds::apply::{Applied, CrdError, Options, apply};
use upgrade_guard::crds::check::{Severities, Severity};
use upgrade_guard::crds::error::Refusal;
use upgrade_guard::crds::source::Wanted;
use upgrade_guard::report::{News, Stage};

use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::wait_for;

/// The API server that the tests of this process share; each has a group of its own. `None` when they are skipped.
pub(crate) async fn cluster() -> Result<Option<&'static Cluster>> {
    static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();
    Ok(SHARED.get_or_try_init(|| Cluster::alone(Shape::ApiServer)).await?.as_ref())
}

/// A client that notes the calls made with it, such as `GET /apis/...`.
pub(crate) async fn noting(cluster: &Cluster) -> Result<(Client, Arc<Mutex<Vec<String>>>)> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let layer = MapRequestLayer::new(move |request: hyper::Request<Body>| {
        noted.lock().push(format!("{} {}", request.method(), request.uri().path()));
        request
    });
    Ok((ClientBuilder::try_from(cluster.config().await?)?.with_layer(&layer).build(), calls))
}

/// A group of API objects for one test.
pub(crate) struct Group {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Group {
    /// A group that no other test has; its name begins with `prefix`.
    pub(crate) async fn new(cluster: &Cluster, prefix: &str) -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{prefix}{}.example.com", NUMBER.fetch_add(1, Ordering::Relaxed));
        Ok(Self { client: cluster.client().await?, name })
    }

    /// A CRD for `kind` with the versions of `versions`, each with its schema of `spec`; the last one is stored.
    pub(crate) fn crd(&self, kind: &str, versions: &[(&str, Value)]) -> Wanted {
        let singular = kind.to_lowercase();
        let last = versions.len() - 1;
        let versions: Vec<Value> = versions
            .iter()
            .enumerate()
            .map(|(index, (name, spec))| {
                json!({
                    "name": name,
                    "served": true,
                    "storage": index == last,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
                })
            })
            .collect();
        wanted(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{singular}s.{}", self.name)},
            "spec": {
                "group": self.name,
                "scope": "Cluster",
                "names": {
                    "kind": kind, "listKind": format!("{kind}List"), "plural": format!("{singular}s"),
                    "singular": singular,
                },
                "conversion": {"strategy": "None"},
                "versions": versions,
            },
        }))
    }

    pub(crate) fn crds(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client.clone())
    }

    /// Puts a CRD there with another manager, and waits until it is established.
    pub(crate) async fn install(&self, wanted: &Wanted, manager: &str) -> Result<CustomResourceDefinition> {
        let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
        self.crds().create(&params, &wanted.definition).await?;
        let established = |crd: &CustomResourceDefinition| upgrade_guard::crds::state::missing(crd).is_none();
        wait_for(&self.crds(), wanted.name(), "it to be established", established).await
    }

    /// The CRD as it is now.
    pub(crate) async fn installed(&self, wanted: &Wanted) -> Result<CustomResourceDefinition> {
        Ok(self.crds().get(wanted.name()).await?)
    }

    /// The objects of a CRD, in one of its versions.
    pub(crate) fn objects(&self, kind: &str, version: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(&self.name, version, kind);
        Api::all_with(self.client.clone(), &ApiResource::from_gvk(&kind))
    }

    /// An object of a CRD.
    pub(crate) fn object(&self, kind: &str, version: &str, name: &str, spec: &Value) -> DynamicObject {
        let api_version = format!("{}/{version}", self.name);
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    /// Makes an object of a CRD.
    pub(crate) async fn create(&self, kind: &str, version: &str, name: &str, spec: &Value) -> Result<()> {
        let object = self.object(kind, version, name, spec);
        self.objects(kind, version).create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Applies with the usual options and what `change` makes of them.
    pub(crate) async fn apply(
        &self,
        wanted: &[Wanted],
        change: impl FnOnce(&mut Options),
    ) -> (Result<Applied, CrdError>, Vec<News>) {
        let mut options = options();
        change(&mut options);
        let mut news = Vec::new();
        let done = apply(&self.client, wanted, &options, &mut news).await;
        (done, news)
    }

    /// The text without what differs from run to run.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.name, "GROUP")
    }
}

/// A CRD from a file that is called like it.
fn wanted(definition: Value) -> Wanted {
    let definition: CustomResourceDefinition = serde_json::from_value(definition).unwrap();
    let origin = format!("crds/{}.yaml: document 1 (line 1)", definition.spec.names.plural);
    Wanted { definition, origin }
}

/// The usual options: what a comparison finds is not what these tests are about.
pub(crate) fn options() -> Options {
    let quiet = [
        "required",
        "enum",
        "minimum",
        "maximum",
        "type",
        "default",
        "pattern",
        "existingFieldRemoval",
        "storageVersion",
        "servedVersionRemoval",
        "storedVersionRemoval",
        "conversion",
        "validationRule",
        "nullable",
        "maxLength",
        "unhandled",
        "storageVersionNew",
        "names",
    ];
    let severities = Severities(quiet.map(|check| (check.to_owned(), Severity::Off)).into());
    Options { severities, take_over: false, dry_run: false, deadline: Duration::from_mins(1) }
}

/// The refusals of an apply that must have been refused.
pub(crate) fn refusals(done: Result<Applied, CrdError>) -> Vec<Refusal> {
    match done {
        Err(CrdError::Refused(refusals)) => refusals,
        other => panic!("it should be refused: {other:?}"),
    }
}

/// The messages at `stage`.
pub(crate) fn told(news: &[News], stage: Stage) -> Vec<&str> {
    news.iter().filter(|news| news.stage == stage).map(|news| news.message.as_str()).collect()
}

/// The resource versions of CRDs, which change with every write.
pub(crate) async fn resource_versions(group: &Group, wanted: &[Wanted]) -> Result<Vec<Option<String>>> {
    let mut versions = Vec::new();
    for wanted in wanted {
        versions.push(group.installed(wanted).await?.resource_version());
    }
    Ok(versions)
}

/// Applies a CRD with our own manager but by someone else's hands, as a killed process would have left it.
pub(crate) async fn leave_half_done(group: &Group, wanted: &Wanted) -> Result<()> {
    let mut definition = wanted.definition.clone();
    definition.metadata.managed_fields = None;
    let body = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": wanted.name()}, "spec": definition.spec,
    });
    group.crds().patch(wanted.name(), &PatchParams::apply("upgrade-guard"), &Patch::Apply(body)).await?;
    Ok(())
}
