//! One install under race: what it asks for and runs, as the API server tells it, and the requests for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodSpec;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, watcher};
use kube::{Client, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use upgrade_guard::api::Platform;

use crate::ask::{Answer, Ask};
use crate::oracle::{Live, breaches};
use crate::platform::{API, GATEWAY, PORTAL, UI, create, image, set};
use crate::support::cluster::Cluster;
use crate::support::wait::{eventually, wait_for};

/// Everything that was seen of one install: what each object said at each resource version.
#[derive(Default)]
struct Seen {
    /// By resource version: the component, the object's name, and the versions that it makes live.
    events: BTreeMap<u64, (&'static str, String, BTreeSet<String>)>,
}

pub(crate) struct Install {
    pub(crate) namespace: String,
    client: Client,
    seen: Arc<Mutex<Seen>>,
    watches: Vec<JoinHandle<()>>,
    /// Whether the API server has controllers, or the test says what they would.
    pub(crate) controlled: bool,
}

impl Drop for Install {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

impl Install {
    /// A namespace with a policy of its own, in which `components` run.
    pub(crate) async fn of(cluster: &Cluster, controlled: bool, components: &[(&'static str, &str)]) -> Result<Self> {
        let client = cluster.client().await?;
        let namespace = cluster.namespace("race").await?.name;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let watches = vec![
            follow(Api::<Deployment>::namespaced(client.clone(), &namespace), Arc::clone(&seen), asked_for),
            follow(Api::<ReplicaSet>::namespaced(client.clone(), &namespace), Arc::clone(&seen), with_pods),
        ];
        let install = Self { namespace, client, seen, watches, controlled };
        for (component, version) in components {
            // Before the policy: the guards judge nothing here yet, but their answers may be lost.
            let new = create(component, &image(component, version));
            eventually("the install", async || {
                let answer = install.send(&new).await?;
                Ok(if answer.is_allowed() || answer.code == 409 { Ok(()) } else { Err(answer) })
            })
            .await?;
            install.rolled_out(component).await?;
        }
        install.govern(cluster).await?;
        Ok(install)
    }

    async fn govern(&self, cluster: &Cluster) -> Result<()> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/policies/stoa.yaml");
        let mut policy: Value = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
        policy["metadata"]["name"] = json!(self.namespace);
        policy["spec"]["namespaces"] = json!([self.namespace]);
        // No hook runs here.
        let off = "Audit";
        policy["spec"]["modes"] =
            json!({"UG-ZERODOWNTIME": off, "UG-CRD": off, "UG-PRECONDITION": off, "UG-SCHEMA": off});
        let applied = cluster.kubectl_with(&["apply", "-f", "-"], &policy.to_string()).await?;
        ensure!(applied.success, "{}", applied.stderr);
        // Both guards: each judges other names.
        for (name, of) in [(API, API), (GATEWAY, GATEWAY)] {
            let far = set(name, "2.52.0").dry_run();
            eventually("the guard to know the install", async || {
                let answer = far.send(&self.client, &self.namespace).await?;
                Ok(if answer.text().contains("[UG-HOP]") { Ok(()) } else { Err((of, answer)) })
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn send(&self, ask: &Ask) -> Result<Answer> {
        ask.send(&self.client, &self.namespace).await
    }

    /// Sends until it passes: a guard that is late or gone is asked again.
    pub(crate) async fn passes(&self, component: &'static str, version: &str) -> Result<()> {
        eventually("the move to pass", async || {
            let answer = self.send(&set(component, version)).await?;
            if answer.code >= 500 {
                self.touch(component).await?;
            }
            Ok(if answer.is_allowed() { Ok(()) } else { Err(answer) })
        })
        .await
        .with_context(|| format!("{component} to {version}"))?;
        self.rolled_out(component).await
    }

    /// Changes something of a workload that is none of the guard's business.
    pub(crate) async fn touch(&self, component: &str) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        // A label: another annotation of a Deployment is a new generation, which somebody would have to observe.
        let mark = json!({"metadata": {"labels": {"touched": jiff::Timestamp::now().as_nanosecond().to_string()}}});
        deployments.patch(component, &PatchParams::default(), &Patch::Merge(mark)).await?;
        Ok(())
    }

    /// Waits until both guards would admit each of the moves, by what their watches show.
    pub(crate) async fn ready_for(&self, moves: &[(&'static str, &str)]) -> Result<()> {
        for (component, version) in moves {
            let ask = set(component, version).dry_run();
            let found = eventually("the move to be legal", async || {
                let answer = self.send(&ask).await?;
                Ok(if answer.is_allowed() && answer.warnings.is_empty() { Ok(()) } else { Err(answer) })
            })
            .await
            .with_context(|| format!("{component} to {version}"));
            if let Err(error) = found {
                return Err(error.context(self.state().await?));
            }
        }
        Ok(())
    }

    /// What the Platform says of intents, and the workloads' resource versions.
    async fn state(&self) -> Result<String> {
        let platforms: Api<Platform> = Api::namespaced(self.client.clone(), &self.namespace);
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let intents = platforms.get(&self.namespace).await?.status.map(|status| status.intents);
        let versions = deployments.list(&ListParams::default()).await?;
        let versions: Vec<_> = versions.iter().map(|found| (found.name_any(), found.resource_version())).collect();
        Ok(format!("{versions:?} {intents:#?}"))
    }

    /// Waits until a rollout is complete, or says that it is where no controller does.
    pub(crate) async fn rolled_out(&self, component: &str) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        if !self.controlled {
            let deployment = deployments.get(component).await?;
            let status = json!({"status": {"observedGeneration": deployment.metadata.generation, "replicas": 2,
                "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}});
            deployments.patch_status(component, &PatchParams::default(), &Patch::Merge(status)).await?;
            return Ok(());
        }
        wait_for(&deployments, component, "its rollout", |found| {
            found.status.as_ref().is_some_and(|status| {
                let all = [status.replicas, status.updated_replicas, status.available_replicas];
                status.observed_generation == found.metadata.generation && all == [Some(2); 3]
            })
        })
        .await
        .map(drop)
    }

    /// What was illegal at any resource version, and how many there were.
    pub(crate) fn breaches(&self) -> (usize, Vec<String>) {
        let seen = self.seen.lock();
        let mut now: BTreeMap<&str, (&'static str, &BTreeSet<String>)> = BTreeMap::new();
        let mut found = Vec::new();
        for (version, (component, object, versions)) in &seen.events {
            now.insert(object, (component, versions));
            let mut live = Live::new();
            for (component, versions) in now.values() {
                live.entry(component).or_default().extend(versions.iter().cloned());
            }
            found.extend(breaches(&live).into_iter().map(|breach| format!("at {version}: {breach}")));
        }
        (seen.events.len(), found)
    }
}

/// Notes what each state of the objects makes live.
fn follow<K>(api: Api<K>, seen: Arc<Mutex<Seen>>, live: fn(&K) -> Option<BTreeSet<String>>) -> JoinHandle<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    tokio::spawn(async move {
        let mut objects = std::pin::pin!(watcher(api, Config::default()).default_backoff().applied_objects());
        while let Some(next) = objects.next().await {
            // A watch that broke starts over by itself.
            let Ok(object) = next else { continue };
            let name = object.name_any();
            let component = [API, GATEWAY, UI, PORTAL].into_iter().find(|component| name.starts_with(component));
            let version = object.resource_version().and_then(|version| version.parse().ok());
            let (Some(component), Some(version), Some(live)) = (component, version, live(&object)) else { continue };
            let key = format!("{} {name}", K::kind(&()));
            seen.lock().events.insert(version, (component, key, live));
        }
    })
}

fn asked_for(deployment: &Deployment) -> Option<BTreeSet<String>> {
    Some(versions(deployment.spec.as_ref()?.template.spec.as_ref()?))
}

fn with_pods(set: &ReplicaSet) -> Option<BTreeSet<String>> {
    let pods = set.status.as_ref().map_or(0, |status| status.replicas);
    if pods == 0 {
        return Some(BTreeSet::new());
    }
    Some(versions(set.spec.as_ref()?.template.as_ref()?.spec.as_ref()?))
}

fn versions(pod: &PodSpec) -> BTreeSet<String> {
    let images = pod.containers.iter().filter_map(|container| container.image.as_deref());
    images.filter_map(|image| image.rsplit_once(':')).map(|(_, tag)| tag.to_owned()).collect()
}
