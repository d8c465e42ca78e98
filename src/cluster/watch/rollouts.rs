//! Argo Rollouts are watched where their CRD exists, from when it appears until it goes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use tokio::sync::watch;
use tracing::info;

use super::{Context, Driver, Kind, Namespaced, Sink};
use crate::cluster::feed::{Feed, Workloads};
use crate::cluster::index::{Listed, ObjectKey, ObjectProblem, SharedIndex};
use crate::cluster::object::WorkloadKind;

/// The CRD's name.
const ROLLOUT_CRD: &str = "rollouts.argoproj.io";

/// What the CRD itself is listed under.
pub(super) const CRD_KIND: Kind = Kind { plural: "customresourcedefinitions", group: "apiextensions.k8s.io" };

/// Whether the cluster has the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Not asked yet.
    Unknown,
    /// It has not.
    Absent,
    /// It has.
    Present,
}

/// The CRD of Argo Rollouts, of which only its being there counts.
pub(super) struct RolloutCrd(pub watch::Sender<Presence>);

impl RolloutCrd {
    fn set(&self, presence: Presence) {
        self.0.send_if_modified(|current| {
            let changed = *current != presence;
            *current = presence;
            changed
        });
    }
}

impl Sink for RolloutCrd {
    type Object = PartialObjectMeta<CustomResourceDefinition>;
    type Record = ();

    fn kind(&self) -> Kind {
        CRD_KIND
    }
    fn resource(&self) {}
    fn config(&self) -> watcher::Config {
        watcher::Config::default().fields(&format!("metadata.name={ROLLOUT_CRD}"))
    }
    fn is_selected(&self) -> bool {
        false
    }
    fn select(&self, _: &SharedIndex, _: &ObjectKey, _: Self::Object) -> Option<()> {
        Some(())
    }
    fn apply(&self, _: &SharedIndex, _: &ObjectKey, _: Self::Object) -> Vec<ObjectProblem> {
        self.set(Presence::Present);
        vec![]
    }
    fn unreadable(&self, _: &SharedIndex, _: ObjectKey, _: String) -> Vec<ObjectProblem> {
        self.set(Presence::Present);
        vec![]
    }
    fn delete(&self, _: &SharedIndex, _: &ObjectKey) -> Vec<ObjectProblem> {
        self.set(Presence::Absent);
        vec![]
    }
    fn reset(&self, _: &SharedIndex, _: u64, listed: Listed<()>) -> Option<Vec<ObjectProblem>> {
        let is_there = !(listed.records.is_empty() && listed.unreadable.is_empty());
        self.set(if is_there { Presence::Present } else { Presence::Absent });
        Some(vec![])
    }
}

/// Watches Rollouts while they are present, until shutdown.
pub(super) async fn follow_rollouts(context: Context, mut presence: watch::Receiver<Presence>) {
    let feed = Workloads(WorkloadKind::Rollout);
    let kind = feed.source().as_str();
    context.observer.synced(kind, false);
    loop {
        let current = *presence.borrow_and_update();
        match current {
            Presence::Unknown => {}
            Presence::Absent => {
                context.index.write(|index| index.absent(feed));
                context.observer.synced(kind, true);
            }
            Presence::Present => {
                info!(crd = ROLLOUT_CRD, "the cluster has Argo Rollouts: watching them");
                context.index.write(|index| index.expect(feed.source()));
            }
        }
        let watch = Driver { context: context.clone(), sink: Namespaced(feed) };
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => return,
            changed = presence.changed() => if changed.is_err() { return },
            () = watch.run(), if current == Presence::Present => return,
        }
    }
}
