//! Reading objects of any kind from the API server, with errors that say which right or which CRD is missing.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use kube::api::{DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, DynamicResourceScope, GroupVersionKind};
use kube::discovery::Scope;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::error::said;

/// How long one request may take: kube itself waits for ever.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Objects in one answer to a list.
const PAGE: u32 = 250;

/// A kind of objects.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    resource: ApiResource,
    namespaced: bool,
    /// What brings it to a cluster, where that is not Kubernetes itself.
    of: Option<&'static str>,
}

impl Kind {
    /// A kind with a namespace; `of` is what brings it to a cluster.
    pub(super) fn new(api_version: &str, kind: &str, plural: &str, of: Option<&'static str>) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Self { resource, namespaced: true, of }
    }

    /// The same without a namespace.
    pub(super) fn cluster_wide(self) -> Self {
        Self { namespaced: false, ..self }
    }

    /// ` in namespace shop`, or nothing for a kind without.
    pub(super) fn place(&self, namespace: &str) -> String {
        if self.namespaced { format!(" in namespace {namespace}") } else { String::new() }
    }

    fn missing(&self) -> Unread {
        let hint = self.of.map(|of| format!("; is {of} installed?")).unwrap_or_default();
        Unread::NoKind(format!("the cluster has no kind {} of {}{hint}", self.resource.kind, self.resource.api_version))
    }
}

/// Why something could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is no such object.
    NoObject(String),
    /// There is no such kind.
    NoKind(String),
    /// The user may not.
    Forbidden(String),
    /// There is one already.
    Exists,
    /// Anything else.
    Other(String),
}

impl From<Unread> for String {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::NoObject(text) | Unread::NoKind(text) | Unread::Forbidden(text) | Unread::Other(text) => text,
            Unread::Exists => "exists already".to_owned(),
        }
    }
}

/// Reads objects for one install.
pub(super) struct Reader<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(client: &'a Client, namespace: &'a str) -> Self {
        Self { client, namespace }
    }

    /// The namespace that is meant: that of the install where none is named.
    pub(super) fn namespace<'b>(&'b self, named: Option<&'b str>) -> &'b str {
        named.unwrap_or(self.namespace)
    }

    /// The kind with this name, as the API server knows it.
    pub(super) async fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, Unread> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let wanted = GroupVersionKind::gvk(group, version, kind);
        let unknown = Kind::new(api_version, kind, "", None);
        match bounded(kube::discovery::pinned_kind(self.client, &wanted)).await {
            Ok((resource, about)) => Ok(Kind { resource, namespaced: about.scope == Scope::Namespaced, of: None }),
            Err(Failed::Api(kube::Error::Discovery(_))) => Err(unknown.missing()),
            Err(Failed::Api(kube::Error::Api(status))) if status.code == 404 => Err(unknown.missing()),
            Err(failed) => Err(Unread::Other(format!("cannot ask what kind {kind} of {api_version} is: {failed}"))),
        }
    }

    /// One object, with its kind in it.
    pub(super) async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Value, Unread> {
        let got = bounded(self.api(kind, namespace).get(name)).await;
        let object = got.map_err(|failed| unread(failed, "get", kind, namespace, Some(name)))?;
        Ok(value(kind, object))
    }

    /// All objects with these labels, with their kind in them.
    pub(super) async fn list(
        &self,
        kind: &Kind,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<Value>, Unread> {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let objects = all(&self.api(kind, namespace), &labels.join(",")).await;
        let objects = objects.map_err(|failed| unread(failed, "list", kind, namespace, None))?;
        Ok(objects.into_iter().map(|object| value(kind, object)).collect())
    }

    /// All objects of a kind that this program has a type for; none where the cluster does not know the kind.
    pub(super) async fn typed<K>(&self, resource: ApiResource) -> Result<Vec<K>, Unread>
    where
        K: kube::Resource<DynamicType = ApiResource, Scope = DynamicResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced_with(self.client.clone(), self.namespace, &resource);
        let kind = Kind { resource, namespaced: true, of: None };
        match all(&api, "").await {
            Ok(objects) => Ok(objects),
            Err(failed) => match unread(failed, "list", &kind, self.namespace, None) {
                Unread::NoKind(_) => Ok(vec![]),
                unread => Err(unread),
            },
        }
    }

    /// Makes an object.
    pub(super) async fn create(&self, kind: &Kind, namespace: &str, object: &DynamicObject) -> Result<Value, Unread> {
        let made = bounded(self.api(kind, namespace).create(&PostParams::default(), object)).await;
        let made = made.map_err(|failed| unread(failed, "create", kind, namespace, None))?;
        Ok(value(kind, made))
    }

    fn api(&self, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
        if kind.namespaced {
            Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
        } else {
            Api::all_with(self.client.clone(), &kind.resource)
        }
    }
}

/// What came of a request, in words.
fn unread(failed: Failed, verb: &str, kind: &Kind, namespace: &str, name: Option<&str>) -> Unread {
    let ApiResource { group, plural, kind: title, .. } = &kind.resource;
    let resource = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
    let place = kind.place(namespace);
    let error = match failed {
        Failed::Api(kube::Error::Api(error)) => error,
        failed => return Unread::Other(format!("cannot {verb} {resource}{place}: {failed}")),
    };
    // A missing object is named in the answer, a missing kind is not.
    let names_object = error.details.as_ref().is_some_and(|details| !details.name.is_empty());
    match (error.code, name) {
        (404, Some(name)) if names_object => Unread::NoObject(format!("there is no {title} {name}{place}")),
        (404, _) if error.reason != "NotFound" || !names_object => kind.missing(),
        (409, _) if error.reason == "AlreadyExists" => Unread::Exists,
        (403, _) => Unread::Forbidden(format!(
            "the hook may not {verb} {resource}{place}: give its ServiceAccount that right ({})",
            said(&kube::Error::Api(error))
        )),
        _ => Unread::Other(format!("cannot {verb} {resource}{place}: {}", said(&kube::Error::Api(error)))),
    }
}

/// Why a request gave nothing.
enum Failed {
    Api(kube::Error),
    TimedOut,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Api(error) => f.write_str(&said(error)),
            Self::TimedOut => write!(f, "no answer in {} s", TIMEOUT.as_secs()),
        }
    }
}

async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(answer) => answer.map_err(Failed::Api),
        Err(_) => Err(Failed::TimedOut),
    }
}

/// All objects with these labels, page by page.
async fn all<K: Clone + Debug + DeserializeOwned>(api: &Api<K>, labels: &str) -> Result<Vec<K>, Failed> {
    let mut params = ListParams::default().labels(labels).limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = bounded(api.list(&params)).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// The object as expressions see it; items of a list do not say of what kind they are.
fn value(kind: &Kind, mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    let ApiResource { api_version, kind, .. } = &kind.resource;
    object.types = Some(kube::core::TypeMeta { api_version: api_version.clone(), kind: kind.clone() });
    serde_json::to_value(object).unwrap_or_default()
}
