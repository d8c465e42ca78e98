//! A stand-in: the list of components and nothing else.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{PlatformComponentStatus, PlatformStatus, RunningVersion};
use crate::cluster::inventory::Inventory;
use crate::domain::matching::governed;
use crate::domain::policy::Policy;
use crate::domain::view::WorkloadId;

/// The images that the pods of each governed workload run.
pub type PodImages = BTreeMap<WorkloadId, Vec<PodImage>>;

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodImage {
    /// The container's name.
    pub container: String,
    /// The image that was asked for.
    pub image: String,
    /// What runs, as the node says.
    pub image_id: String,
}

/// What a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// What is known of the namespace.
    pub inventory: &'a Inventory,
    /// What the pods run.
    pub images: &'a PodImages,
    /// The generation of the `Platform`.
    pub generation: i64,
    /// The time.
    pub now: Timestamp,
}

/// What something that is told is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The install.
    Platform,
    /// One workload.
    Workload(WorkloadId),
}

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it is about.
    pub about: About,
    /// Whether something is wrong.
    pub warning: bool,
    /// One word for machines.
    pub reason: &'static str,
    /// One sentence for people.
    pub note: String,
}

/// A status, one step on.
#[derive(Clone, Debug)]
pub struct Advanced {
    /// The status.
    pub status: PlatformStatus,
    /// What to tell people of that step.
    pub told: Vec<Told>,
}

/// The status after `old` in the face of what is there now.
#[must_use]
pub fn advance(sight: &Sight<'_>, old: &PlatformStatus) -> Advanced {
    let view = sight.inventory.view(sight.policy, sight.now);
    let mut status = PlatformStatus {
        observed_generation: Some(sight.generation),
        summary: None,
        components: vec![],
        ..old.clone()
    };
    for id in sight.policy.ids() {
        let seen = view.component(id);
        let running = seen.running().into_iter().map(|(version, pods)| RunningVersion {
            version: version.to_string(),
            pods: i32::try_from(pods).unwrap_or(i32::MAX),
            images: digests(sight, id),
        });
        status.components.push(PlatformComponentStatus {
            name: sight.policy.component(id).name.clone(),
            completed: seen.completed(id, &sight.policy.lines).map(ToString::to_string),
            running: running.collect(),
            settled: seen.unsettled().is_none(),
            ..PlatformComponentStatus::default()
        });
    }
    Advanced { status, told: vec![] }
}

fn digests(sight: &Sight<'_>, id: crate::domain::policy::ComponentId) -> Vec<String> {
    let mut found = Vec::new();
    for record in sight.inventory.workloads() {
        let containers = &record.template.containers;
        for (_, position) in
            governed(sight.policy, &record.name, &record.labels, containers).into_iter().filter(|(own, _)| *own == id)
        {
            let images = sight.images.get(&record.id()).into_iter().flatten();
            found.extend(
                images.filter(|image| image.container == containers[position].name).map(|image| image.image_id.clone()),
            );
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The status of an install whose policy is gone.
#[must_use]
pub fn orphaned(old: &PlatformStatus, _now: Timestamp) -> PlatformStatus {
    PlatformStatus { summary: Some("Not governed: its UpgradePolicy is gone".to_owned()), ..old.clone() }
}
