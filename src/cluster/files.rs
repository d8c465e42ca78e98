//! Manifests in files, folders or on the standard input: the offline way to an inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::inventory::{Inventory, RevisionKind};
use super::object::{WorkloadKind, WorkloadObject};
use super::record::{AutoscalerRecord, BudgetRecord, RevisionRecord, WorkloadRecord};
use crate::api::{self, Platform, PlatformRelease, UpgradePolicy};
use crate::domain::view::WorkloadId;

/// Where manifests are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder with everything below it.
    Path(PathBuf),
    /// The standard input, written `-`.
    Stdin,
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdin } else { Self::Path(text.into()) })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// Where a document was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// Its number in the file, from 1; empty documents are not counted.
    pub document: usize,
    /// The line on which it starts, where that is known.
    pub line: Option<u64>,
    /// Its number in a list, from 1.
    pub item: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}", self.file, self.document)?;
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        match self.item {
            Some(item) => write!(f, ", item {item}"),
            None => Ok(()),
        }
    }
}

/// Why manifests could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system could not read it.
    #[error("cannot read {file}: {source}")]
    Read {
        /// What could not be read.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without manifests.
    #[error("{0} holds no .yaml, .yml or .json file: name a file, or a folder with manifests in it")]
    EmptyFolder(String),
    /// Folders inside folders without end.
    #[error("{0} is more than {MOST_LEVELS} folders deep: is there a link to a folder above it?")]
    TooDeep(String),
    /// A document that is no YAML or JSON.
    #[error("{origin} is not valid {format}: {message}{hint}")]
    Syntax {
        /// Which document.
        origin: Origin,
        /// `YAML` or `JSON`.
        format: &'static str,
        /// What the parser says.
        message: String,
        /// What to do, where that can be guessed.
        hint: &'static str,
    },
    /// A document that is no Kubernetes object.
    #[error("{origin} {message}")]
    Document {
        /// Which document.
        origin: Origin,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// A field that is wrong.
    #[error("{origin}, {object}: {path}: {message}")]
    Field {
        /// Which document.
        origin: Origin,
        /// The object's kind and name.
        object: String,
        /// The field.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// Two documents for one object.
    #[error("{origin} is {object} once more, after {earlier}: remove one of them")]
    Twice {
        /// Which document.
        origin: Origin,
        /// The object's kind, namespace and name.
        object: String,
        /// Where it was before.
        earlier: Box<Origin>,
    },
}

/// Everything that is wrong in a set of manifests; never empty.
#[derive(Debug, thiserror::Error)]
pub struct FileErrors(pub Vec<FileError>);

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

/// An object and where it was found.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The document.
    pub origin: Origin,
    /// What it holds.
    pub object: T,
}

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
    /// The namespaces with at least one object that matters.
    pub namespaces: BTreeMap<String, Install>,
    /// Documents of kinds that do not matter.
    pub ignored: usize,
}

/// Folders inside folders that are followed. Real trees have a handful; a link to a folder above has no end.
const MOST_LEVELS: usize = 32;
/// Nodes and documents that one YAML file may have: as many as the workloads of a large cluster need.
const MOST_NODES: usize = 5_000_000;
/// Nodes that anchors may repeat: manifests hardly use any, and a few lines of them could fill the memory.
const MOST_ANCHORED: usize = 50_000;

impl Manifests {
    /// Reads `sources`, folders recursively and in the order of their names. Documents without a namespace are of
    /// `default_namespace`; without that they are errors.
    ///
    /// # Errors
    /// All problems of all documents.
    pub fn load(sources: &[Source], default_namespace: Option<&str>) -> Result<Self, FileErrors> {
        let mut reader =
            Reader { found: Self::default(), seen: BTreeMap::new(), default_namespace, errors: Vec::new() };
        for source in sources {
            reader.source(source);
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
    fn source(&mut self, source: &Source) {
        let read = match source {
            Source::Stdin => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map(|_| self.text(&source.to_string(), &text))
            }
            Source::Path(path) if path.is_dir() => {
                let before = self.errors.len();
                match self.folder(path, 0) {
                    Ok(0) if self.errors.len() == before => {
                        self.errors.push(FileError::EmptyFolder(source.to_string()));
                        Ok(())
                    }
                    other => other.map(|_| ()),
                }
            }
            Source::Path(path) => self.file(path),
        };
        if let Err(error) = read {
            self.errors.push(FileError::Read { file: source.to_string(), source: error });
        }
    }

    /// Reads everything below `folder` and returns how many files that were. What begins with a dot is left out, as
    /// version control and mounted volumes keep things there.
    fn folder(&mut self, folder: &Path, level: usize) -> std::io::Result<usize> {
        if level > MOST_LEVELS {
            self.errors.push(FileError::TooDeep(folder.display().to_string()));
            return Ok(0);
        }
        let mut paths = std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut files = 0;
        for path in paths.iter().filter(|path| !name(path).starts_with('.')) {
            if path.is_dir() {
                files += self.folder(path, level + 1)?;
            } else if is_manifest(path) {
                if let Err(error) = self.file(path) {
                    self.errors.push(FileError::Read { file: path.display().to_string(), source: error });
                }
                files += 1;
            }
        }
        Ok(files)
    }

    fn file(&mut self, path: &Path) -> std::io::Result<()> {
        let text = std::fs::read_to_string(path)?;
        self.text(&path.display().to_string(), &text);
        Ok(())
    }

    fn text(&mut self, file: &str, text: &str) {
        let documents = if text.trim_start().starts_with('{') && !text.contains("\n---") { json } else { yaml };
        for (number, document) in (1..).zip(documents(text)) {
            let origin = |line| Origin { file: file.to_owned(), document: number, line, item: None };
            match document {
                Ok((line, value)) => self.document(&origin(line), value),
                Err((format, message)) => {
                    let hint = if text.contains("{{") {
                        ". It looks like a template: render it first, for example with `helm template`"
                    } else {
                        ""
                    };
                    self.errors.push(FileError::Syntax { origin: origin(None), format, message, hint });
                }
            }
        }
    }

    fn document(&mut self, origin: &Origin, value: Value) {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let bare_kustomization = kind.is_empty() && is_kustomization(Path::new(&origin.file));
        if kind.is_empty() && !bare_kustomization {
            let message = "is no Kubernetes object: it has no 'kind'. Leave other files out of the folder".to_owned();
            self.errors.push(FileError::Document { origin: origin.clone(), message });
            return;
        }
        match (kind.strip_suffix("List"), value) {
            (Some(item_kind), Value::Object(mut list)) if list.get("items").is_some_and(Value::is_array) => {
                let Some(Value::Array(items)) = list.remove("items") else { return };
                for (number, mut item) in (1..).zip(items) {
                    // A typed list says once what its items are.
                    if let (Value::Object(fields), false) = (&mut item, item_kind.is_empty()) {
                        fields.entry("kind").or_insert_with(|| item_kind.into());
                        fields.entry("apiVersion").or_insert_with(|| api_version.clone().into());
                    }
                    self.document(&Origin { item: Some(number), ..origin.clone() }, item);
                }
            }
            (_, value) => self.object(&api_version, &kind, origin, value),
        }
    }

    fn object(&mut self, api_version: &str, kind: &str, origin: &Origin, value: Value) {
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

/// A document with the line it starts on, or the format that it should have and what is wrong.
type Document = Result<(Option<u64>, Value), (&'static str, String)>;

fn yaml(text: &str) -> Vec<Document> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_NODES,
            max_events: MOST_NODES,
            max_documents: MOST_NODES,
            max_recorded_anchor_events: MOST_ANCHORED,
        },
        with_snippet: false,
    };
    let mut bytes = text.as_bytes();
    let read =
        serde_saphyr::read_with_options::<_, Spanned<Value>>(&mut bytes, options).map(|document| match document {
            Ok(document) => Ok((Some(document.referenced.line()), document.value)),
            Err(error) => Err(("YAML", error.to_string())),
        });
    let mut documents = Vec::new();
    for document in read {
        let failed = document.is_err();
        documents.push(document);
        // What follows a broken document would be told wrongly.
        if failed {
            break;
        }
    }
    documents
}

fn json(text: &str) -> Vec<Document> {
    let read = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let documents = read.map(|document| document.map(|value| (None, value)).map_err(|e| ("JSON", e.to_string())));
    documents.collect()
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn is_kustomization(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("kustomization"))
}

/// The names of the namespaces in which a set of manifests has workloads.
#[must_use]
pub fn with_workloads(manifests: &Manifests) -> BTreeSet<&str> {
    let with = manifests.namespaces.iter().filter(|(_, install)| install.inventory.workloads().next().is_some());
    with.map(|(name, _)| name.as_str()).collect()
}
