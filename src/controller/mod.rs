//! What goes on by itself: the one replica that leads keeps the `Platform` of each install, and every replica records
//! what it refused.
//!
//! [`lease`] tells who leads; [`run`] follows the index and writes what [`status`] says; [`pods`] adds the image digests
//! that really run; [`recorder`] takes refusals from the reviews; [`holds`] lets go what is held; [`revision`] reads the schema's revision; [`events`] tells people.

use std::time::Duration;

use crate::api::PlatformStatus;

pub mod events;
pub mod holds;
pub mod lease;
pub mod pods;
pub mod recorder;
pub mod revision;
pub mod run;
pub mod skew;
pub mod status;

use skew::SkewLines;

/// What is told of the controller to whoever counts. Nothing here may wait.
pub trait Observer: Send + Sync + 'static {
    /// Whether this replica leads now; when it does not, what was told of installs no longer holds.
    fn leads(&self, leads: bool);
    /// An install was looked at, which took `elapsed`; `failed` when the API server was in the way.
    fn reconciled(&self, elapsed: Duration, failed: bool);
    /// The status of a `Platform` was written.
    fn wrote(&self);
    /// A write of a `Platform` came too late and was made anew, `times` times.
    fn lost_races(&self, times: usize);
    /// Where an install stands now.
    fn install(&self, install: &Install, status: &PlatformStatus, skew: &[SkewLines]);
    /// There is no such install any more.
    fn gone(&self, install: &Install);
    /// Something that should have been recorded was not.
    fn dropped(&self);
}

/// A policy in one of its namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Install {
    /// The namespace.
    pub namespace: String,
    /// The name of the policy, which is the name of the `Platform` too.
    pub policy: String,
}
