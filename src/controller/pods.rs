//! What the pods of a namespace really run: the image digests that the nodes tell, which show that a tag moved when
//! nothing else does.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1;
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::warn;

use super::status::{PodImage, PodImages};
use crate::cluster::feed::may_be_governed;
use crate::cluster::inventory::Inventory;
use crate::cluster::pod::{Pod, owner};
use crate::cluster::raw::RawObject;
use crate::domain::image::ImageRef;
use crate::domain::matching::governed;
use crate::domain::policy::Policy;
use crate::domain::view::WorkloadId;

/// Pods in one answer to a list.
const PAGE_SIZE: u32 = 250;

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PodRecord {
    owner: WorkloadId,
    containers: Vec<PodImage>,
}

/// The pods of one namespace that may be of governed workloads.
#[derive(Debug)]
pub struct NamespacePods {
    pods: Mutex<BTreeMap<String, PodRecord>>,
    /// How often they changed; 0 until they were listed.
    revision: watch::Sender<u64>,
}

impl Default for NamespacePods {
    fn default() -> Self {
        Self { pods: Mutex::default(), revision: watch::Sender::new(0) }
    }
}

impl NamespacePods {
    /// How often they changed, to follow them by; 0 until they were listed.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// What the pods of the workloads in `inventory` run in the containers that are components of `policy`. Containers
    /// that no node has told anything of yet are left out.
    #[must_use]
    pub fn images(&self, policy: &Policy, inventory: &Inventory) -> PodImages {
        let mut images = PodImages::new();
        for pod in self.pods.lock().values() {
            let Some(record) = inventory.workload(&pod.owner) else { continue };
            let containers = &record.template.containers;
            let names: BTreeSet<&str> = governed(policy, &record.name, &record.labels, containers)
                .into_iter()
                .filter_map(|(_, position)| containers.get(position).map(|container| container.name.as_str()))
                .collect();
            // A pod of an older template may name its containers in another way.
            let by_image = |image: &str| {
                let image = ImageRef::parse(image);
                policy.components.iter().any(|component| component.matcher.has_image(image))
            };
            let own = pod.containers.iter().filter(|container| !container.image_id.is_empty());
            let own =
                own.filter(|container| names.contains(container.container.as_str()) || by_image(&container.image));
            images.entry(pod.owner.clone()).or_default().extend(own.cloned());
        }
        images.retain(|_, containers| !containers.is_empty());
        for containers in images.values_mut() {
            containers.sort();
        }
        images
    }

    /// Follows the pods of `namespace` that may be of `policies`, for ever.
    pub async fn follow(self: Arc<Self>, client: Client, namespace: String, policies: Arc<[Arc<Policy>]>) {
        let config = watcher::Config::default().page_size(PAGE_SIZE);
        let api = Api::<RawObject>::namespaced_with(client, &namespace, &ApiResource::erase::<v1::Pod>(&()));
        let mut events = pin!(watcher(api, config).default_backoff());
        let read = |pod: RawObject| {
            let name = pod.name_any();
            let pod = pod.read().inspect_err(|error| warn!(namespace, name, %error, "the pod cannot be read"));
            let record = pod.ok().and_then(|pod| record(&pod)).filter(|record| is_wanted(record, &policies));
            (name, record)
        };
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(pod)) => {
                    let (name, record) = read(pod);
                    listed.extend(record.map(|record| (name, record)));
                }
                Ok(Event::InitDone) => {
                    let fresh = std::mem::take(&mut listed);
                    let before = std::mem::replace(&mut *self.pods.lock(), fresh.clone());
                    // Watches end now and then, and a list that says nothing new is no news but the first time.
                    self.revision.send_if_modified(|revision| {
                        let is_news = *revision == 0 || before != fresh;
                        *revision += u64::from(is_news);
                        is_news
                    });
                }
                Ok(Event::Apply(pod)) => {
                    let (name, record) = read(pod);
                    self.put(name, record);
                }
                Ok(Event::Delete(pod)) => self.put(pod.name_any(), None),
                Err(error) => warn!(namespace, %error, "the watch of pods failed, trying again"),
            }
        }
    }

    /// Keeps what is known of a pod now; only a change is told.
    fn put(&self, name: String, record: Option<PodRecord>) {
        let mut pods = self.pods.lock();
        let changed = match record {
            Some(record) if pods.get(&name) == Some(&record) => false,
            Some(record) => {
                pods.insert(name, record);
                true
            }
            None => pods.remove(&name).is_some(),
        };
        drop(pods);
        if changed {
            self.revision.send_modify(|revision| *revision += 1);
        }
    }
}

fn is_wanted(record: &PodRecord, policies: &[Arc<Policy>]) -> bool {
    let images: Vec<&str> = record.containers.iter().map(|container| container.image.as_str()).collect();
    may_be_governed(&record.owner, &images, policies)
}

/// What is kept of `pod`; `None` for one that is of no workload, or has ended.
fn record(pod: &Pod) -> Option<PodRecord> {
    let owner = owner(pod)?;
    let Pod { spec, status, .. } = pod;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let ids: BTreeMap<&str, &str> = statuses.map(|status| (status.name.as_str(), status.image_id.as_str())).collect();
    let containers = spec.containers.iter().chain(&spec.init_containers).map(|container| PodImage {
        container: container.name.clone(),
        image: container.image.clone(),
        image_id: ids.get(container.name.as_str()).copied().unwrap_or_default().to_owned(),
    });
    Some(PodRecord { owner, containers: containers.collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(owner: &Value, labels: &Value, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "pod", "labels": labels, "ownerReferences": [owner]},
            "spec": {
                "containers": [{"name": "api", "image": "x/api:main"}, {"name": "log", "image": "log:1"}],
                "initContainers": [{"name": "wait", "image": "x/api:main"}],
            },
            "status": {
                "phase": phase,
                "containerStatuses": [{
                    "name": "api", "image": "x/api:main", "imageID": "x/api@sha256:aa", "ready": true, "restartCount": 0,
                }],
            },
        }))
        .unwrap()
    }

    fn owner_json(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true})
    }

    #[test]
    fn only_what_runs_is_kept_and_only_a_change_is_told() {
        let running = pod(&owner_json("StatefulSet", "api"), &json!({}), "Running");
        let kept = record(&running).unwrap();
        let ids: Vec<&str> = kept.containers.iter().map(|container| container.image_id.as_str()).collect();
        assert_eq!(ids, ["x/api@sha256:aa", "", ""]);
        assert_eq!(record(&pod(&owner_json("StatefulSet", "api"), &json!({}), "Failed")), None);

        let pods = NamespacePods::default();
        let revision = || *pods.revision.borrow();
        pods.put("a".to_owned(), Some(kept.clone()));
        pods.put("a".to_owned(), Some(kept));
        assert_eq!(revision(), 1);
        pods.put("b".to_owned(), None);
        assert_eq!(revision(), 1);
        pods.put("a".to_owned(), None);
        assert_eq!(revision(), 2);
    }
}
