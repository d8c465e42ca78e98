//! What a request asks for.

use super::policy::ComponentId;
use super::version::Version;
use super::view::WorkloadId;

/// A change of one workload, as far as the rules care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The workload that changes.
    pub workload: WorkloadId,
    /// The version moves in it, one for each governed container that changes.
    pub moves: Vec<Move>,
    /// Containers that restart on an image whose version cannot be told.
    pub restarts: Vec<Restart>,
    /// How many pods keep serving, where the request touches that.
    pub capacity: Option<Capacity>,
}

/// One component's move from a version to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The component.
    pub component: ComponentId,
    /// What the workload asked for before; `None` when it did not exist.
    pub from: Option<Version>,
    /// What it asks for now.
    pub to: Version,
    /// The revision that its pod template says it needs of the database.
    pub schema: Option<String>,
    /// The digest of its new image, where the pod template names it.
    pub image: Option<String>,
}

impl Move {
    /// A move of which nothing but the versions is known.
    #[must_use]
    pub fn new(component: ComponentId, from: Option<Version>, to: Version) -> Self {
        Self { component, from, to, schema: None, image: None }
    }
}

/// A restart on an image whose content may have changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The component.
    pub component: ComponentId,
    /// The tag that tells no version.
    pub version: String,
}

/// What `UG-ZERODOWNTIME` looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The governed component whose pods these are.
    pub component: ComponentId,
    /// Replicas asked for.
    pub replicas: u32,
    /// The least number that an autoscaler may choose, with the autoscaler's name.
    pub autoscaler: Option<(String, u32)>,
    /// The disruption budget that selects the pods.
    pub budget: Budget,
    /// Whether the component's container has a readiness probe.
    pub readiness_probe: bool,
    /// Pods that the update strategy keeps while it replaces others.
    pub kept_by_strategy: KeptPods,
    /// Whether only the replica count is asked for (the scale subresource, or an update of nothing else).
    pub only_replicas: bool,
}

/// The disruption budget of a workload's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Budget {
    /// None selects them.
    None,
    /// One selects them and never allows a disruption, so that a node drain hangs.
    Blocks(String),
    /// One selects them and allows a disruption.
    Allows,
}

/// What an update strategy keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptPods {
    /// All old pods go before the first new one comes.
    Recreate,
    /// At least this many of the replicas stay.
    AtLeast(u32),
    /// The strategy replaces pods one by one or on demand; it keeps what the replica count allows.
    OneByOne,
}
