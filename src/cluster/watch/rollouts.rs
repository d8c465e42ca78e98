//! Argo Rollouts are watched where their CRD exists, from when it appears until it goes.

use tokio::sync::watch;
use tracing::info;

use super::{Context, Driver, Namespaced};
use crate::cluster::feed::{Feed, Workloads};
use crate::cluster::object::WorkloadKind;

/// The CRD's name.
pub(super) const ROLLOUT_CRD: &str = "rollouts.argoproj.io";

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
