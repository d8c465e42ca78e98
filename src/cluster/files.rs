//! Manifests in files, folders or on the standard input: the offline way to an inventory.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::documents::documents;
pub use super::documents::{FileError, FileErrors, Found, Origin, Source};
use super::inventory::{Inventory, RevisionKind};
use super::object::{WorkloadKind, WorkloadObject};
use super::record::{AutoscalerRecord, BudgetRecord, RevisionRecord, WorkloadRecord};
use crate::api::{self, Platform, PlatformRelease, UpgradePolicy};
use crate::domain::view::WorkloadId;

/// What is known of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Install {
    /// Its objects.
    pub inventory: Inventory,
    /// Workloads whose manifests leave out fields that the cluster keeps as they are.
    pub unstated: BTreeMap<WorkloadId, Unstated>,
}

/// What a workload's manifest does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unstated {
    /// It leaves the number of pods to the cluster, as manifests with an autoscaler do, or its kind has none.
    pub replicas: bool,
    /// It does not say whether rollouts are paused.
    pub paused: bool,
}

/// What a set of manifests holds.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// Upgrade policies, in the order in which they were read.
    pub policies: Vec<Found<UpgradePolicy>>,
    /// Releases, in the order in which they were read.
    pub releases: Vec<Found<PlatformRelease>>,
    /// CRDs, in the order in which they were read.
    pub crds: Vec<Found<CustomResourceDefinition>>,
    /// The namespaces with at least one object that matters.
    pub namespaces: BTreeMap<String, Install>,
    /// Documents of kinds that do not matter.
    pub ignored: usize,
}

impl Manifests {
    /// Reads `sources`, folders recursively and in the order of their names. Documents without a namespace are of
    /// `default_namespace`; without that they are errors.
    ///
    /// # Errors
    /// All problems of all documents.
    pub fn load(sources: &[Source], default_namespace: Option<&str>) -> Result<Self, FileErrors> {
        Self::of(documents(sources), default_namespace)
    }

    /// What [`Manifests::load`] makes of `documents`.
    ///
    /// # Errors
    /// All problems of all documents.
    pub fn of(
        documents: Vec<Result<Found<Value>, FileError>>,
        default_namespace: Option<&str>,
    ) -> Result<Self, FileErrors> {
        let mut reader =
            Reader { found: Self::default(), seen: BTreeMap::new(), default_namespace, errors: Vec::new() };
        for document in documents {
            match document {
                Ok(Found { origin, object }) => reader.document(&origin, object),
                Err(error) => reader.errors.push(error),
            }
        }
        if reader.errors.is_empty() { Ok(reader.found) } else { Err(FileErrors(reader.errors)) }
    }

    /// How many workloads there are.
    #[must_use]
    pub fn workloads(&self) -> usize {
        self.namespaces.values().map(|install| install.inventory.workloads().count()).sum()
    }
}

/// Kind, namespace and name.
type ObjectKey = (String, String, String);

struct Reader<'a> {
    found: Manifests,
    seen: BTreeMap<ObjectKey, Origin>,
    default_namespace: Option<&'a str>,
    errors: Vec<FileError>,
}

impl Reader<'_> {
    fn document(&mut self, origin: &Origin, value: Value) {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (api_version, kind) = (api_version.as_str(), kind.as_str());
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let object = Object { kind, origin, value };
        let read = match (group, kind) {
            (api::GROUP, _) if version != api::VERSION => {
                let message = format!("apiVersion {api_version} is not known: this program reads {}", api::VERSION);
                Err(vec![FileError::Document { origin: origin.clone(), message }])
            }
            (api::GROUP, "UpgradePolicy") => object.resource().map(|policy| self.found.policies.push(policy)),
            (api::GROUP, "PlatformRelease") => object.resource().map(|release| self.found.releases.push(release)),
            (api::GROUP, "Platform") => object.resource::<Platform>().and_then(|found| {
                self.namespaced(&object, |install, name| {
                    install.inventory.platforms_mut().insert(name, found.object);
                })
            }),
            ("apps", "ReplicaSet") => self.replica_set(&object),
            ("apps", "ControllerRevision") => self.controller_revision(&object),
            ("policy", "PodDisruptionBudget") => object.typed::<PodDisruptionBudget>().and_then(|budget| {
                self.namespaced(&object, |install, name| {
                    install.inventory.budgets_mut().insert(name, BudgetRecord::from(&budget));
                })
            }),
            ("autoscaling", "HorizontalPodAutoscaler") => {
                object.typed::<HorizontalPodAutoscaler>().and_then(|autoscaler| {
                    self.namespaced(&object, |install, name| {
                        install.inventory.autoscalers_mut().insert(name, AutoscalerRecord::from(&autoscaler));
                    })
                })
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") if version == "v1" => {
                object.typed().map(|definition| {
                    self.found.crds.push(Found { origin: origin.clone(), object: definition });
                })
            }
            _ => match WorkloadKind::of(group, kind) {
                Some(kind) => self.workload(kind, &object),
                None => self.ignore(),
            },
        };
        self.errors.extend(read.err().into_iter().flatten());
    }

    fn workload(&mut self, kind: WorkloadKind, object: &Object<'_>) -> Result<(), Vec<FileError>> {
        let mut value = object.value.clone();
        let is_live = value.pointer("/metadata/uid").is_some();
        // `kubectl create --dry-run -o yaml` prints an empty status: that is none.
        let empty = value.get("status").is_some_and(|status| {
            status.is_null() || (!is_live && status.as_object().is_some_and(serde_json::Map::is_empty))
        });
        if let (Some(fields), true) = (value.as_object_mut(), empty) {
            fields.remove("status");
        }
        let read: WorkloadObject = object.typed_from(&value)?;
        let containers = &read.spec.template.spec.containers;
        if containers.is_empty() && kind != WorkloadKind::Rollout {
            let message = "names no container. If this is a patch of an overlay, build the overlay first, for example \
                           with `kubectl kustomize`";
            return Err(vec![object.problem("spec.template.spec.containers", message)]);
        }
        if let Some(position) = containers.iter().position(|container| container.image.is_empty()) {
            let path = format!("spec.template.spec.containers[{position}].image");
            return Err(vec![object.problem(&path, "is missing")]);
        }
        let Some(record) = WorkloadRecord::read(kind, &read) else {
            return Err(vec![object.problem("metadata.name", "is missing")]);
        };
        let says = |field: &str| value.pointer(field).is_some_and(|value| !value.is_null());
        let unstated = Unstated {
            replicas: kind == WorkloadKind::DaemonSet || !says("/spec/replicas"),
            paused: !is_live && !says("/spec/paused"),
        };
        self.namespaced(object, |install, _| {
            install.unstated.insert(record.id(), unstated);
            install.inventory.put_workload(record);
        })
    }

    fn replica_set(&mut self, object: &Object<'_>) -> Result<(), Vec<FileError>> {
        match RevisionRecord::of_replica_set(&object.typed()?) {
            Some(record) => self.namespaced(object, |install, _| {
                install.inventory.put_revision(RevisionKind::ReplicaSet, record);
            }),
            None => self.ignore(),
        }
    }

    fn controller_revision(&mut self, object: &Object<'_>) -> Result<(), Vec<FileError>> {
        match RevisionRecord::of_controller_revision(&object.typed::<ControllerRevision>()?) {
            Some(record) => self.namespaced(object, |install, _| {
                install.inventory.put_revision(RevisionKind::ControllerRevision, record);
            }),
            None => self.ignore(),
        }
    }

    /// Counts an object that has nothing to say here, such as a `ReplicaSet` of its own.
    #[expect(clippy::unnecessary_wraps, reason = "it stands beside calls that can fail")]
    fn ignore(&mut self) -> Result<(), Vec<FileError>> {
        self.found.ignored += 1;
        Ok(())
    }

    /// Stores a namespaced object by `put`, which gets its name; once.
    fn namespaced(
        &mut self,
        object: &Object<'_>,
        put: impl FnOnce(&mut Install, String),
    ) -> Result<(), Vec<FileError>> {
        let name = object.meta("name");
        if name.is_empty() {
            return Err(vec![object.problem("metadata.name", "is missing")]);
        }
        let namespace = match (object.meta("namespace"), self.default_namespace) {
            ("", Some(default)) => default,
            ("", None) => {
                let message = "is missing, and nothing says which one is meant: name it with -n";
                return Err(vec![object.problem("metadata.namespace", message)]);
            }
            (stated, _) => stated,
        };
        let key = (object.kind.to_owned(), namespace.to_owned(), name.to_owned());
        if let Some(earlier) = self.seen.get(&key) {
            return Err(vec![FileError::Twice {
                origin: object.origin.clone(),
                object: format!("{} {namespace}/{name}", object.kind),
                earlier: Box::new(earlier.clone()),
            }]);
        }
        self.seen.insert(key, object.origin.clone());
        put(self.found.namespaces.entry(namespace.to_owned()).or_default(), name.to_owned());
        Ok(())
    }
}

/// One object before it is read as what it is.
struct Object<'a> {
    kind: &'a str,
    origin: &'a Origin,
    value: Value,
}

impl Object<'_> {
    fn meta(&self, field: &str) -> &str {
        self.value.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
    }

    fn problem(&self, path: &str, message: impl Into<String>) -> FileError {
        FileError::Field {
            origin: self.origin.clone(),
            object: format!("{} {}", self.kind, self.meta("name")).trim_end().to_owned(),
            path: path.to_owned(),
            message: message.into(),
        }
    }

    fn typed<T: DeserializeOwned>(&self) -> Result<T, Vec<FileError>> {
        self.typed_from(&self.value)
    }

    fn typed_from<T: DeserializeOwned>(&self, value: &Value) -> Result<T, Vec<FileError>> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            vec![self.problem(&path, error.into_inner().to_string())]
        })
    }

    /// One of the guard's own resources, of whose fields none may be misspelt: a dropped field is a dropped rule.
    fn resource<T: DeserializeOwned>(&self) -> Result<Found<T>, Vec<FileError>> {
        let misfits = api::misfits(self.kind, &self.value);
        if misfits.is_empty() {
            return Ok(Found { origin: self.origin.clone(), object: self.typed()? });
        }
        Err(misfits.into_iter().map(|misfit| self.problem(&misfit.path, misfit.message)).collect())
    }
}

/// The names of the namespaces in which a set of manifests has workloads.
#[must_use]
pub fn with_workloads(manifests: &Manifests) -> BTreeSet<&str> {
    let with = manifests.namespaces.iter().filter(|(_, install)| install.inventory.workloads().next().is_some());
    with.map(|(name, _)| name.as_str()).collect()
}
