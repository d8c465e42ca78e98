//! Watches all pods of a namespace and judges every state by an oracle of its own, which knows nothing of the guard's code:
//! what it saw is what ran.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, ResourceExt as _};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::toys::COMPONENTS;
use crate::wait::eventually;
use crate::world::World;

/// What a pod is, as far as the order is concerned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    component: String,
    minor: u32,
    ready: bool,
}

/// All that was seen.
#[derive(Debug, Default)]
struct Log {
    /// Each distinct state, in order, and what is wrong with it.
    states: Vec<(String, Vec<String>)>,
    /// Each component and minor version of which a pod was there.
    versions: BTreeSet<(String, u32)>,
}

/// Watches until it is dropped.
pub(crate) struct Observer {
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Begins to watch; returns when it has seen the first state.
    pub(crate) async fn start(world: &World, namespace: &str) -> Result<Self> {
        let log = Arc::new(Mutex::new(Log::default()));
        let task = tokio::spawn(watch(world.api(namespace), Arc::clone(&log)));
        let observer = Self { log, task };
        eventually("the observer to see", async || {
            Ok(if observer.log.lock().states.is_empty() { Err("nothing") } else { Ok(()) })
        })
        .await?;
        Ok(observer)
    }

    /// Waits until a pod of this component and minor version was there.
    pub(crate) async fn saw(&self, component: &str, minor: u32) -> Result<()> {
        let wanted = (component.to_owned(), minor);
        eventually(&format!("a pod of {component} 2.{minor}"), async || {
            let log = self.log.lock();
            Ok(if log.versions.contains(&wanted) { Ok(()) } else { Err(log.states.last().cloned()) })
        })
        .await
    }

    /// Ends, with the states in which something was wrong as an error, and the number of states.
    pub(crate) fn verdict(self) -> Result<usize> {
        ensure!(!self.task.is_finished(), "the observer ended by itself");
        self.task.abort();
        let log = self.log.lock();
        let wrong = log.states.iter().filter(|(_, problems)| !problems.is_empty());
        let told: Vec<String> = wrong.map(|(state, problems)| format!("{state}: {}", problems.join("; "))).collect();
        ensure!(told.is_empty(), "what ran was against the rules:\n{}", told.join("\n"));
        Ok(log.states.len())
    }
}

async fn watch(pods: Api<Pod>, log: Arc<Mutex<Log>>) {
    // With backoff an API server that restarts is only a delay: its history tells what was missed.
    let mut events = pin!(watcher(pods, Config::default()).default_backoff());
    let (mut now, mut listing) = (BTreeMap::new(), BTreeMap::new());
    while let Some(event) = events.next().await {
        let put = |into: &mut BTreeMap<String, Seen>, pod: &Pod| match read(pod) {
            Ok(Some(seen)) => drop(into.insert(pod.name_any(), seen)),
            Ok(None) => drop(into.remove(&pod.name_any())),
            // An oracle that cannot read a pod must not be silent.
            Err(error) => log.lock().states.push((pod.name_any(), vec![format!("{error:#}")])),
        };
        match event {
            Ok(Event::Init) => listing.clear(),
            Ok(Event::InitApply(pod)) => {
                put(&mut listing, &pod);
                continue;
            }
            Ok(Event::InitDone) => now = std::mem::take(&mut listing),
            Ok(Event::Apply(pod)) => put(&mut now, &pod),
            Ok(Event::Delete(pod)) => drop(now.remove(&pod.name_any())),
            Err(_) => continue,
        }
        note(&log, &now.values().cloned().collect::<Vec<_>>());
    }
}

/// A pod of a component that is not about to go; hooks and what has ended are none.
fn read(pod: &Pod) -> Result<Option<Seen>> {
    let component = pod.labels().get("app").filter(|name| COMPONENTS.contains(&name.as_str()));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let Some(component) = component else { return Ok(None) };
    if pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed")) {
        return Ok(None);
    }
    let container = pod.spec.iter().flat_map(|spec| &spec.containers).find(|container| container.name == *component);
    let image = container.and_then(|container| container.image.clone()).context("no image")?;
    let minor = image.rsplit_once(":2.").and_then(|(_, rest)| rest.split_once('.')).context("no version 2.x.y")?.0;
    Ok(Some(Seen { component: component.clone(), minor: minor.parse()?, ready: crate::world::is_ready(pod) }))
}

fn note(log: &Mutex<Log>, pods: &[Seen]) {
    let mut sorted = pods.to_vec();
    sorted.sort();
    let state: Vec<String> = sorted
        .iter()
        .map(|pod| format!("{} 2.{}{}", pod.component, pod.minor, if pod.ready { "" } else { "?" }))
        .collect();
    let mut log = log.lock();
    log.versions.extend(pods.iter().map(|pod| (pod.component.clone(), pod.minor)));
    log.states.push((state.join(", "), judge(&sorted)));
}

/// The rules of the toy platform, by hand: who comes after whom, and who works with whom.
fn judge(pods: &[Seen]) -> Vec<String> {
    let minors = |component: &str| -> Vec<u32> {
        pods.iter().filter(|pod| pod.component == component).map(|pod| pod.minor).collect()
    };
    let oldest = |component: &str| minors(component).into_iter().min();
    let newest = |component: &str| minors(component).into_iter().max();
    let mut wrong = Vec::new();
    for (component, upstream) in
        [("stoa-gateway", "control-plane-api"), ("control-plane-ui", "stoa-gateway"), ("portal", "stoa-gateway")]
    {
        // ORDER: a new one is there only when no older one of what it comes after is.
        if let (Some(newest), Some(oldest)) = (newest(component), oldest(upstream))
            && newest > oldest
        {
            wrong.push(format!("ORDER: {component} 2.{newest} runs beside {upstream} 2.{oldest}"));
        }
        // SKEW: at most one minor version behind the API.
        if let (Some(oldest), Some(newest)) = (oldest(component), newest("control-plane-api"))
            && newest > oldest + 1
        {
            wrong.push(format!("SKEW: {component} 2.{oldest} runs beside control-plane-api 2.{newest}"));
        }
    }
    wrong
}
