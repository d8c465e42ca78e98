//! The one list of the metrics.

/// Seconds; a review that changes no governed image ends in the first buckets, one from the cache by 10 ms, one with
/// fresh reads between 10 ms and 1 s. 10 s is the default timeout of a webhook: what lies above it failed.
pub const REVIEW_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What one metric is: enough to register it and to document it.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// The full name, with the prefix `upgrade_guard_`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// One sentence for `# HELP`, with the unit where there is one.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number that only rises.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Observations in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The name of the type as the text format writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

pub(super) const REVIEWS: Descriptor = Descriptor {
    name: "upgrade_guard_reviews_total",
    kind: Kind::Counter,
    labels: &["component", "rule", "verdict", "mode", "dry_run"],
    help: "Admission reviews, by component, the rule that decided, its verdict, its mode, and whether it was a dry run.",
};
pub(super) const REVIEW_DURATION: Descriptor = Descriptor {
    name: "upgrade_guard_review_duration_seconds",
    kind: Kind::Histogram(REVIEW_BUCKETS),
    labels: &["path"],
    help: "Time from a review read to its answer, by the way it was decided.",
};
pub(super) const LOST_RACES: Descriptor = Descriptor {
    name: "upgrade_guard_lost_races_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Writes of a Platform that came after another's and were made anew.",
};
pub(super) const API_CALLS: Descriptor = Descriptor {
    name: "upgrade_guard_api_calls_total",
    kind: Kind::Counter,
    labels: &["verb", "resource", "outcome"],
    help: "Calls of the API server on the way of a review, by what came of them.",
};
pub(super) const API_CALL_DURATION: Descriptor = Descriptor {
    name: "upgrade_guard_api_call_duration_seconds",
    kind: Kind::Histogram(REVIEW_BUCKETS),
    labels: &["verb", "resource"],
    help: "Time that calls of the API server on the way of a review took.",
};
pub(super) const RECORDER_DROPPED: Descriptor = Descriptor {
    name: "upgrade_guard_recorder_dropped_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Refusals and warnings that could not be recorded.",
};
pub(super) const LEADER: Descriptor = Descriptor {
    name: "upgrade_guard_leader",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 while this replica runs the controller, 0 while another does.",
};
pub(super) const RECONCILE_DURATION: Descriptor = Descriptor {
    name: "upgrade_guard_reconcile_duration_seconds",
    kind: Kind::Histogram(REVIEW_BUCKETS),
    labels: &[],
    help: "Time that the controller took to look at one install.",
};
pub(super) const RECONCILE_ERRORS: Descriptor = Descriptor {
    name: "upgrade_guard_reconcile_errors_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Looks at an install that the API server stood in the way of; they are made again.",
};
pub(super) const PLATFORM_WRITES: Descriptor = Descriptor {
    name: "upgrade_guard_platform_writes_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Writes of the status of a Platform, by the controller and for refusals.",
};
pub(super) const COMPONENT_PODS: Descriptor = Descriptor {
    name: "upgrade_guard_component_pods",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component", "version"],
    help: "Pods of a component by the version that they run; only from the leader.",
};
pub(super) const SKEW_LINES: Descriptor = Descriptor {
    name: "upgrade_guard_skew_lines",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component", "peer"],
    help: "Release lines that a component is behind a peer, negative when ahead; the largest distance of what is live.",
};
pub(super) const BLOCKED_SINCE: Descriptor = Descriptor {
    name: "upgrade_guard_blocked_since_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component", "rule"],
    help: "Unix time since when a rule stands in the way of a change that was asked for; only from the leader.",
};
pub(super) const HELD: Descriptor = Descriptor {
    name: "upgrade_guard_held",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component"],
    help: "1 while the guard holds a rollout of the component, 0 while not; only from the leader.",
};
pub(super) const OVERRIDES_IN_USE: Descriptor = Descriptor {
    name: "upgrade_guard_overrides_in_use",
    kind: Kind::Gauge,
    labels: &["namespace", "policy"],
    help: "Changes that an override let pass and that are not complete yet; only from the leader.",
};
pub(super) const INTENTS: Descriptor = Descriptor {
    name: "upgrade_guard_intents",
    kind: Kind::Gauge,
    labels: &["namespace", "policy"],
    help: "Changes that were admitted and that count until their workload has settled; only from the leader.",
};
pub(super) const SCHEMA_OBSERVED: Descriptor = Descriptor {
    name: "upgrade_guard_schema_observed_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["namespace", "policy"],
    help: "Unix time at which the revision of the database's schema was read last; only from the leader.",
};
pub(super) const WATCH_SYNCED: Descriptor = Descriptor {
    name: "upgrade_guard_watch_synced",
    kind: Kind::Gauge,
    labels: &["kind"],
    help: "1 when the objects of this kind are listed and watched, 0 when not.",
};
pub(super) const WATCH_LAST_EVENT: Descriptor = Descriptor {
    name: "upgrade_guard_watch_last_event_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["kind"],
    help: "Unix time of the last event of the watch of this kind.",
};
pub(super) const WATCH_ERRORS: Descriptor = Descriptor {
    name: "upgrade_guard_watch_errors_total",
    kind: Kind::Counter,
    labels: &["kind"],
    help: "Errors of the watch of this kind, unreadable objects included.",
};
pub(super) const CERTIFICATE_NOT_AFTER: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_not_after_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Unix time at which the serving certificate expires; 0 before one is loaded.",
};
pub(super) const CERTIFICATE_RELOAD_ERRORS: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_reload_errors_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Looks at the certificate folder that found something unusable; rises as long as it is there.",
};
pub(super) const AUTHORITY_NOT_AFTER: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_authority_not_after_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Unix time at which the CA expires by which the API server trusts the serving certificate; 0 before it does.",
};
pub(super) const CERTIFICATE_ROTATIONS: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_rotations_total",
    kind: Kind::Counter,
    labels: &["step", "reason"],
    help: "Writes of the guard's own certificates by this replica, by what was done and why.",
};
pub(super) const CERTIFICATE_WRITE_ERRORS: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_write_errors_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Writes of the guard's own certificates that failed; they are made again.",
};
pub(super) const CA_BUNDLE_WRITES: Descriptor = Descriptor {
    name: "upgrade_guard_ca_bundle_writes_total",
    kind: Kind::Counter,
    labels: &["kind"],
    help: "Writes of the CA bundle into a webhook configuration by this replica: an install, a rotation, or a repair.",
};
pub(super) const CA_BUNDLE_TRUSTED: Descriptor = Descriptor {
    name: "upgrade_guard_ca_bundle_trusted",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 while the webhook configurations trust the serving certificate, 0 while one does not or there is none.",
};
pub(super) const BUILD_INFO: Descriptor = Descriptor {
    name: "upgrade_guard_build_info",
    kind: Kind::Gauge,
    labels: &["version", "revision"],
    help: "Always 1; the labels tell which build this is.",
};

/// Every metric there is.
pub const DESCRIPTORS: &[Descriptor] = &[
    REVIEWS,
    REVIEW_DURATION,
    API_CALLS,
    API_CALL_DURATION,
    LOST_RACES,
    RECORDER_DROPPED,
    COMPONENT_PODS,
    SKEW_LINES,
    BLOCKED_SINCE,
    HELD,
    OVERRIDES_IN_USE,
    INTENTS,
    SCHEMA_OBSERVED,
    LEADER,
    RECONCILE_DURATION,
    RECONCILE_ERRORS,
    PLATFORM_WRITES,
    WATCH_SYNCED,
    WATCH_LAST_EVENT,
    WATCH_ERRORS,
    CERTIFICATE_NOT_AFTER,
    CERTIFICATE_RELOAD_ERRORS,
    AUTHORITY_NOT_AFTER,
    CERTIFICATE_ROTATIONS,
    CERTIFICATE_WRITE_ERRORS,
    CA_BUNDLE_WRITES,
    CA_BUNDLE_TRUSTED,
    BUILD_INFO,
];
