//! Workloads that are well before anything moves.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use super::fields::{count, is_true, items, name, text};
use super::proof::Proof;
use super::read::{Kind, Reader};
use crate::api::HealthSpec;
use crate::cluster::object::{WorkloadKind, WorkloadObject};
use crate::cluster::record::WorkloadRecord;
use crate::domain::matching::governed;
use crate::domain::policy::{ComponentId, Policy};

/// How many pods that are not well are named.
const MOST_NAMED: usize = 10;

/// Looks at the pods of the components; names of pods go to `say` only, because they differ from run to run.
pub(super) async fn look(
    reader: &Reader<'_>,
    policy: &Policy,
    spec: &HealthSpec,
    say: &impl Fn(String),
) -> Result<Proof, String> {
    let mut workloads = Vec::new();
    for kind in WorkloadKind::ALL {
        let objects: Vec<WorkloadObject> = reader.typed(kind.api_resource()).await?;
        workloads.extend(objects.iter().filter_map(|object| Workload::read(kind, object)));
    }
    let pods = Kind::new("v1", "Pod", "pods", None);
    let pods = reader.list(&pods, reader.namespace(None), &BTreeMap::new()).await?;
    judge(policy, spec, &workloads, &pods, say)
}

struct Workload {
    record: WorkloadRecord,
    /// `None` when it says of no pods that they are its own.
    pods: Option<Selector>,
}

impl Workload {
    fn read(kind: WorkloadKind, object: &WorkloadObject) -> Option<Self> {
        let record = WorkloadRecord::read(kind, object)?;
        // A selector that is empty would choose every pod of the namespace.
        let says = |selector: &&LabelSelector| selector.match_labels.is_some() || selector.match_expressions.is_some();
        let pods = object.spec.selector.as_ref().filter(says).and_then(|selector| selector.clone().try_into().ok());
        Some(Self { record, pods })
    }

    fn is_of(&self, policy: &Policy, id: ComponentId) -> bool {
        let WorkloadRecord { name, labels, template, .. } = &self.record;
        governed(policy, name, labels, &template.containers).iter().any(|(component, _)| *component == id)
    }
}

fn judge(
    policy: &Policy,
    spec: &HealthSpec,
    workloads: &[Workload],
    pods: &[Value],
    say: &impl Fn(String),
) -> Result<Proof, String> {
    let (mut well, mut unwell, mut named) = (Vec::new(), Vec::new(), 0);
    for id in policy.ids() {
        let component = &policy.component(id).name;
        let is_named = spec.components.contains(component);
        if !is_named && !spec.components.is_empty() {
            continue;
        }
        let mut sum = Pods::default();
        for workload in workloads.iter().filter(|workload| workload.is_of(policy, id)) {
            let about = sum.add(workload, pods, spec.max_restarts);
            about
                .into_iter()
                .filter(|_| {
                    named += 1;
                    named <= MOST_NAMED
                })
                .for_each(say);
        }
        match sum.told(spec.max_restarts) {
            // What is not installed is no part of the install, unless someone asks for it.
            Ok(_) if sum.workloads == 0 && !is_named => {}
            Ok(_) if sum.workloads == 0 => unwell.push(format!("{component} has no workload")),
            Ok(text) => well.push(format!("{component} {text}")),
            Err(text) => unwell.push(format!("{component}: {text}")),
        }
    }
    if !unwell.is_empty() {
        return Err(unwell.join("; "));
    }
    if well.is_empty() {
        return Err("no component has a workload: there is nothing that could be well".to_owned());
    }
    Ok(Proof {
        at: None,
        message: format!("{}; none in a crash loop, at most {} restarts each", well.join(", "), spec.max_restarts),
    })
}

/// What the pods of a component come to.
#[derive(Default)]
struct Pods {
    workloads: u32,
    wanted: u32,
    ready: u32,
    looping: u32,
    restarts: i64,
    untold: Vec<String>,
}

impl Pods {
    /// Adds the pods of a workload; gives back what is to be said of those that are not well.
    fn add(&mut self, workload: &Workload, pods: &[Value], most_restarts: i32) -> Vec<String> {
        self.workloads += 1;
        self.wanted = self.wanted.saturating_add(workload.record.replicas);
        let Some(selector) = &workload.pods else {
            self.untold.push(workload.record.id().to_string());
            return vec![];
        };
        let mut about = Vec::new();
        for pod in pods.iter().filter(|pod| is_chosen(selector, pod) && is_there(pod)) {
            let ready = is_true(pod, "Ready");
            let (looping, restarts) = containers(pod);
            self.ready += u32::from(ready);
            self.looping += u32::from(looping.is_some());
            self.restarts = self.restarts.max(restarts);
            if !ready || looping.is_some() || restarts > i64::from(most_restarts) {
                let state = looping.map_or_else(
                    || if ready { "is ready" } else { "is not ready" }.to_owned(),
                    |container| format!("has container {container} in a crash loop"),
                );
                about.push(format!("pod {} {state}, {restarts} restarts", name(pod)));
            }
        }
        about.sort();
        about
    }

    fn told(&self, most_restarts: i32) -> Result<String, String> {
        let mut wrong = Vec::new();
        if !self.untold.is_empty() {
            wrong.push(format!("{} has no selector, so its pods cannot be told", self.untold.join(", ")));
        } else if self.ready < self.wanted {
            wrong.push(format!("{} of {} pods are ready", self.ready, self.wanted));
        }
        if self.looping > 0 {
            wrong.push(format!("{} in a crash loop", self.looping));
        }
        if self.restarts > i64::from(most_restarts) {
            wrong.push(format!("a container restarted {} times, at most {most_restarts}", self.restarts));
        }
        if wrong.is_empty() { Ok(format!("{0}/{0} pods ready", self.wanted)) } else { Err(wrong.join(", ")) }
    }
}

fn is_chosen(selector: &Selector, pod: &Value) -> bool {
    let labels = pod.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    selector.matches(&labels.collect())
}

/// Whether a pod counts: one that ended is left behind by an eviction, one on its way out is replaced.
fn is_there(pod: &Value) -> bool {
    let has_ended = matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
    !has_ended && text(pod, "/metadata/deletionTimestamp").is_none()
}

/// A container in a crash loop, and the most restarts of any container.
fn containers(pod: &Value) -> (Option<&str>, i64) {
    let all = || items(pod, "/status/containerStatuses").chain(items(pod, "/status/initContainerStatuses"));
    let loops = |status: &&Value| text(status, "/state/waiting/reason") == Some("CrashLoopBackOff");
    let looping = all().find(loops).and_then(|status| text(status, "/name"));
    (looping, all().map(|status| count(status, "/restartCount")).max().unwrap_or(0))
}

#[cfg(test)]
mod tests;
