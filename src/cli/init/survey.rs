//! What runs in a namespace, as far as a policy cares.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::images::{Group, groups, path_of, prefix_of};
use super::known::{Known, known};
use crate::cluster::object::WorkloadKind;
use crate::domain::image::ImageRef;
use crate::domain::line::Lines;
use crate::domain::policy::{Component, ComponentId};
use crate::domain::resolver::{KnownBy, Resolved, resolve};
use crate::domain::version::{TagPattern, Version};

/// A workload, with what may tell about its order.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// Kind and name, as people write them: `Deployment web`.
    pub(super) shown: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) pod_labels: BTreeMap<String, String>,
    pub(super) pod_annotations: BTreeMap<String, String>,
    pub(super) containers: Vec<Container>,
}

/// A container of a workload's pods.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) is_init: bool,
    /// Command and arguments.
    pub(super) command: Vec<String>,
    /// Environment variables with a plain value.
    pub(super) env: Vec<(String, String)>,
}

impl Container {
    pub(super) fn repository(&self) -> &str {
        ImageRef::parse(&self.image).repository
    }
}

/// Something that is governed, or could be.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) group: Group,
    /// What its tags have in front of their versions.
    pub(super) prefixes: BTreeSet<String>,
    pub(super) runs: Vec<Run>,
}

/// A container that runs a part.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Its workload, and the container where it is not the only one.
    pub(super) place: String,
    pub(super) version: Resolved,
    /// Its image reference.
    pub(super) image: String,
}

/// Why something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Known(Known),
    /// It runs in init containers alone.
    OnlyInit,
    /// A policy has room for no more.
    TooMany,
}

/// What runs in a namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    pub(super) workloads: Vec<Workload>,
    /// By name.
    pub(super) components: Vec<Part>,
    pub(super) left_out: Vec<(Part, Why)>,
}

/// As many components as a policy may have.
const MOST_COMPONENTS: usize = 32;

impl Survey {
    /// Looks at `objects`, all of one namespace. With `all` infrastructure is taken in, too.
    pub(super) fn of(objects: &[Value], all: bool) -> Self {
        let mut workloads: Vec<Workload> = objects.iter().filter_map(workload).collect();
        workloads.sort_by(|a, b| a.shown.cmp(&b.shown));
        let reasons = reasons(&workloads, all);
        let with = |wanted: &dyn Fn(Option<&Why>) -> bool| -> BTreeSet<String> {
            let of = reasons.iter().filter(|(_, why)| wanted(why.as_ref()));
            of.map(|(repository, _)| repository.clone()).collect()
        };
        let (own, others) = (with(&|why| why.is_none()), with(&|why| why.is_some()));
        let mut components: Vec<Part> =
            groups(&own, &others).into_iter().map(|group| part(group, &workloads)).collect();
        components.sort_by(|a, b| a.group.name.cmp(&b.group.name));
        // What is left out is offered, and must not be mistaken for a component by its name.
        let mut taken: BTreeSet<String> = components.iter().map(|part| part.group.name.clone()).collect();
        let mut left_out: Vec<(Part, Why)> = groups(&others, &own)
            .into_iter()
            .filter_map(|mut group| {
                let why = reasons.get(group.repositories.first()?).copied().flatten()?;
                while !taken.insert(group.name.clone()) {
                    group.name.insert_str(0, "other-");
                }
                Some((part(group, &workloads), why))
            })
            .collect();
        if components.len() > MOST_COMPONENTS {
            left_out.extend(components.drain(MOST_COMPONENTS..).map(|part| (part, Why::TooMany)));
        }
        Self { workloads, components, left_out }
    }

    /// The component that a container runs, by its position.
    pub(super) fn component_of(&self, container: &Container) -> Option<usize> {
        let repository = container.repository();
        self.components.iter().position(|part| part.group.repositories.contains(repository))
    }

    /// The components that a workload runs beside its init containers.
    pub(super) fn components_of(&self, workload: &Workload) -> BTreeSet<usize> {
        let running = workload.containers.iter().filter(|container| !container.is_init);
        running.filter_map(|container| self.component_of(container)).collect()
    }
}

/// Every repository that runs, with the reason to leave it out.
fn reasons(workloads: &[Workload], all: bool) -> BTreeMap<String, Option<Why>> {
    let mut uses: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
    for container in workloads.iter().flat_map(|workload| &workload.containers) {
        // An image without a repository runs nowhere.
        if !container.repository().is_empty() {
            uses.entry(container.repository()).or_default().push(container);
        }
    }
    let reason = |repository: &str, containers: &[&Container]| {
        let known = known(path_of(repository), containers.iter().map(|container| container.name.as_str()));
        let only_init = containers.iter().all(|container| container.is_init);
        match known {
            Some(known) if known.is_sidecar || !all || only_init => Some(Why::Known(known)),
            _ => only_init.then_some(Why::OnlyInit),
        }
    };
    uses.iter().map(|(repository, containers)| ((*repository).to_owned(), reason(repository, containers))).collect()
}

fn part(group: Group, workloads: &[Workload]) -> Part {
    let of_group = |container: &&Container| group.repositories.contains(container.repository());
    let containers = || workloads.iter().flat_map(|workload| workload.containers.iter().filter(of_group));
    let own = format!("{}-", group.name);
    let prefixes: BTreeSet<String> = containers()
        .filter_map(|container| prefix_of(ImageRef::parse(&container.image).tag?))
        .filter(|prefix| *prefix != own)
        .map(str::to_owned)
        .collect();
    // As api::parse reads it: the component's name is a prefix, too.
    let tag = TagPattern::new(prefixes.iter().cloned().chain([own]).collect(), None).unwrap_or_default();
    let component = Component { tag, ..Component::named(&group.name) };
    let mut runs = Vec::new();
    for workload in workloads {
        for container in workload.containers.iter().filter(of_group) {
            runs.push(Run {
                place: place(workload, container),
                version: version(&component, workload, container),
                image: container.image.clone(),
            });
        }
    }
    Part { group, prefixes, runs }
}

fn version(component: &Component, workload: &Workload, container: &Container) -> Resolved {
    let nothing = BTreeMap::new();
    // The label speaks for the first container alone, as the guard reads it.
    let is_first = workload.containers.first().is_some_and(|first| first.name == container.name);
    let labels = if is_first { &workload.pod_labels } else { &nothing };
    let lines = Lines::default();
    resolve((ComponentId(0), component), &lines, &container.image, &workload.pod_annotations, labels)
}

fn place(workload: &Workload, container: &Container) -> String {
    let alone = workload.containers.iter().filter(|other| !other.is_init).count() == 1;
    match (container.is_init, alone) {
        (true, _) => format!("{}, init container {}", workload.shown, container.name),
        (false, true) => workload.shown.clone(),
        (false, false) => format!("{}, container {}", workload.shown, container.name),
    }
}

impl Run {
    /// How a person reads where the version comes from; nothing for the tag, where everyone looks for it.
    pub(super) fn source(&self) -> Option<&'static str> {
        match self.version.source {
            Some(KnownBy::Annotation) => Some("by annotation"),
            Some(KnownBy::Label) => Some("by label"),
            _ => None,
        }
    }
}

impl Part {
    /// Each version that runs, with the places where it does.
    pub(super) fn versions(&self) -> BTreeMap<&Version, Vec<&Run>> {
        let mut versions: BTreeMap<&Version, Vec<&Run>> = BTreeMap::new();
        for run in &self.runs {
            versions.entry(&run.version.version).or_default().push(run);
        }
        versions
    }
}

/// Reads one object, if it is a workload with a pod template.
fn workload(object: &Value) -> Option<Workload> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = WorkloadKind::of(group, text("kind"))?;
    let name = object.pointer("/metadata/name")?.as_str()?;
    let map = |path: &str| texts(object.pointer(path));
    let template = object.pointer("/spec/template/spec");
    let list = |field: &str, is_init: bool| {
        let items = template.and_then(|spec| spec.get(field)).and_then(Value::as_array);
        items.into_iter().flatten().map(move |item| container(item, is_init)).collect::<Vec<_>>()
    };
    // The order of the guard: containers first, so that the first of them is the one that a label speaks for.
    let containers = [list("containers", false), list("initContainers", true)].concat();
    Some(Workload {
        shown: format!("{} {name}", kind.as_str()),
        labels: map("/metadata/labels"),
        annotations: map("/metadata/annotations"),
        pod_labels: map("/spec/template/metadata/labels"),
        pod_annotations: map("/spec/template/metadata/annotations"),
        containers,
    })
}

fn container(item: &Value, is_init: bool) -> Container {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |field: &str| item.get(field).and_then(Value::as_array).into_iter().flatten();
    let env = list("env").map(|variable| (text(variable.get("name")), text(variable.get("value"))));
    Container {
        name: text(item.get("name")),
        image: text(item.get("image")),
        is_init,
        command: list("command").chain(list("args")).map(|word| text(Some(word))).collect(),
        env: env.filter(|(_, value)| !value.is_empty()).collect(),
    }
}

/// A map of texts; what is none is left out.
pub(super) fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
