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
    /// A query in `PromQL` that makes use of it.
    pub example: &'static str,
}

/// What the values of a label stand for. A label means the same wherever it stands.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub meaning: &'static str,
    /// All values that it may have, where they are few; empty where they come from policies, clusters or rules.
    pub values: &'static [&'static str],
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
    example: r#"sum by (component, rule, verdict) (increase(upgrade_guard_reviews_total{dry_run="false"}[1h]))"#,
};
pub(super) const REVIEW_DURATION: Descriptor = Descriptor {
    name: "upgrade_guard_review_duration_seconds",
    kind: Kind::Histogram(REVIEW_BUCKETS),
    labels: &["path"],
    help: "Time from a review read to its answer, by the way it was decided.",
    example: "histogram_quantile(0.99, sum by (le, path) (rate(upgrade_guard_review_duration_seconds_bucket[5m])))",
};
pub(super) const LOST_RACES: Descriptor = Descriptor {
    name: "upgrade_guard_lost_races_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Writes of a Platform that came after another's and were made anew.",
    example: "sum(rate(upgrade_guard_lost_races_total[5m]))",
};
pub(super) const API_CALLS: Descriptor = Descriptor {
    name: "upgrade_guard_api_calls_total",
    kind: Kind::Counter,
    labels: &["verb", "resource", "outcome"],
    help: "Calls of the API server on the way of a review, by what came of them.",
    example: "sum by (verb, resource, outcome) (rate(upgrade_guard_api_calls_total[5m]))",
};
pub(super) const API_CALL_DURATION: Descriptor = Descriptor {
    name: "upgrade_guard_api_call_duration_seconds",
    kind: Kind::Histogram(REVIEW_BUCKETS),
    labels: &["verb", "resource"],
    help: "Time that calls of the API server on the way of a review took.",
    example: "histogram_quantile(0.99, sum by (le, verb, resource) (rate(upgrade_guard_api_call_duration_seconds_bucket[5m])))",
};
pub(super) const RECORDER_DROPPED: Descriptor = Descriptor {
    name: "upgrade_guard_recorder_dropped_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Refusals and warnings that could not be recorded.",
    example: "sum(increase(upgrade_guard_recorder_dropped_total[1h]))",
};
pub(super) const LEADER: Descriptor = Descriptor {
    name: "upgrade_guard_leader",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 while this replica runs the controller, 0 while another does.",
    example: "sum(upgrade_guard_leader)",
};
pub(super) const RECONCILE_DURATION: Descriptor = Descriptor {
    name: "upgrade_guard_reconcile_duration_seconds",
    kind: Kind::Histogram(REVIEW_BUCKETS),
    labels: &[],
    help: "Time that the controller took to look at one install.",
    example: "histogram_quantile(0.99, sum by (le) (rate(upgrade_guard_reconcile_duration_seconds_bucket[5m])))",
};
pub(super) const RECONCILE_ERRORS: Descriptor = Descriptor {
    name: "upgrade_guard_reconcile_errors_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Looks at an install that the API server stood in the way of; they are made again.",
    example: "sum(increase(upgrade_guard_reconcile_errors_total[15m]))",
};
pub(super) const PLATFORM_WRITES: Descriptor = Descriptor {
    name: "upgrade_guard_platform_writes_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Writes of the status of a Platform, by the controller and for refusals.",
    example: "sum(rate(upgrade_guard_platform_writes_total[5m]))",
};
pub(super) const COMPONENT_PODS: Descriptor = Descriptor {
    name: "upgrade_guard_component_pods",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component", "version"],
    help: "Pods of a component by the version that they run; only from the leader.",
    example: "max by (namespace, policy, component, version) (upgrade_guard_component_pods)",
};
pub(super) const SKEW_LINES: Descriptor = Descriptor {
    name: "upgrade_guard_skew_lines",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component", "peer"],
    help: "Release lines that a component is behind a peer, negative when ahead; the largest distance of what is live; only from the leader.",
    example: "max by (namespace, policy, component, peer) (upgrade_guard_skew_lines)",
};
pub(super) const SKEW_LINES_LEFT: Descriptor = Descriptor {
    name: "upgrade_guard_skew_lines_left",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component", "peer"],
    help: "Release lines that a peer may still move ahead of a component: 0 at the limit of the policy, negative when they \
           are too far apart in either direction; only from the leader.",
    example: "min by (namespace, policy, component, peer) (upgrade_guard_skew_lines_left) <= 0",
};
pub(super) const BLOCKED_SINCE: Descriptor = Descriptor {
    name: "upgrade_guard_blocked_since_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component", "rule"],
    help: "Unix time since when a rule stands in the way of a change that was asked for; only from the leader.",
    example: "time() - min by (namespace, policy, component, rule) (upgrade_guard_blocked_since_timestamp_seconds)",
};
pub(super) const HELD: Descriptor = Descriptor {
    name: "upgrade_guard_held",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "component"],
    help: "1 while the guard holds a rollout of the component, 0 while not; only from the leader.",
    example: "max by (namespace, policy, component) (upgrade_guard_held) == 1",
};
pub(super) const OVERRIDES_IN_USE: Descriptor = Descriptor {
    name: "upgrade_guard_overrides_in_use",
    kind: Kind::Gauge,
    labels: &["namespace", "policy"],
    help: "Changes that an override let pass and that are not complete yet; only from the leader.",
    example: "max by (namespace, policy) (upgrade_guard_overrides_in_use) > 0",
};
pub(super) const INTENTS: Descriptor = Descriptor {
    name: "upgrade_guard_intents",
    kind: Kind::Gauge,
    labels: &["namespace", "policy"],
    help: "Changes that were admitted and that count until their workload has settled; only from the leader.",
    example: "max by (namespace, policy) (upgrade_guard_intents)",
};
pub(super) const PLATFORM_CONDITION: Descriptor = Descriptor {
    name: "upgrade_guard_platform_condition",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "condition"],
    help: "1 while the condition of the Platform is True, 0 while not; only from the leader.",
    example: r#"max by (namespace, policy) (upgrade_guard_platform_condition{condition="Ready"}) == 0"#,
};
pub(super) const SCHEMA_OBSERVED: Descriptor = Descriptor {
    name: "upgrade_guard_schema_observed_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["namespace", "policy"],
    help: "Unix time at which the revision of the database's schema was read last; only from the leader.",
    example: "time() - max by (namespace, policy) (upgrade_guard_schema_observed_timestamp_seconds)",
};
pub(super) const MIGRATION_STATE: Descriptor = Descriptor {
    name: "upgrade_guard_migration_state",
    kind: Kind::Gauge,
    labels: &["namespace", "policy", "state"],
    help: "1 for what the last run of database migrations came to, 0 for what it did not; only from the leader.",
    example: "max by (namespace, policy, state) (upgrade_guard_migration_state) == 1",
};
pub(super) const MIGRATION_STARTED: Descriptor = Descriptor {
    name: "upgrade_guard_migration_started_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["namespace", "policy"],
    help: "Unix time at which the last run of database migrations began; only from the leader.",
    example: "time() - max by (namespace, policy) (upgrade_guard_migration_started_timestamp_seconds)",
};
pub(super) const WATCH_SYNCED: Descriptor = Descriptor {
    name: "upgrade_guard_watch_synced",
    kind: Kind::Gauge,
    labels: &["kind"],
    help: "1 when the objects of this kind are listed and watched, 0 when not.",
    example: "min by (kind) (upgrade_guard_watch_synced)",
};
pub(super) const WATCH_LAST_EVENT: Descriptor = Descriptor {
    name: "upgrade_guard_watch_last_event_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["kind"],
    help: "Unix time of the last event of the watch of this kind.",
    example: "time() - max by (kind) (upgrade_guard_watch_last_event_timestamp_seconds)",
};
pub(super) const WATCH_ERRORS: Descriptor = Descriptor {
    name: "upgrade_guard_watch_errors_total",
    kind: Kind::Counter,
    labels: &["kind"],
    help: "Errors of the watch of this kind, unreadable objects included.",
    example: "sum by (kind) (increase(upgrade_guard_watch_errors_total[15m]))",
};
pub(super) const WATCH_FAILING_SINCE: Descriptor = Descriptor {
    name: "upgrade_guard_watch_failing_since_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["kind"],
    help: "Unix time since when the watch of this kind fails, so that what is known of it may be old; 0 while it does not.",
    example: "time() - (upgrade_guard_watch_failing_since_timestamp_seconds > 0)",
};
pub(super) const CERTIFICATE_NOT_AFTER: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_not_after_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Unix time at which the serving certificate expires; 0 before one is loaded.",
    example: "min(upgrade_guard_certificate_not_after_timestamp_seconds) - time()",
};
pub(super) const CERTIFICATE_RELOAD_ERRORS: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_reload_errors_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Looks at the certificate folder that found something unusable; rises as long as it is there.",
    example: "sum(increase(upgrade_guard_certificate_reload_errors_total[15m]))",
};
pub(super) const AUTHORITY_NOT_AFTER: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_authority_not_after_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Unix time at which the CA expires by which the API server trusts the serving certificate; 0 before it does.",
    example: "min(upgrade_guard_certificate_authority_not_after_timestamp_seconds > 0) - time()",
};
pub(super) const CERTIFICATE_ROTATIONS: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_rotations_total",
    kind: Kind::Counter,
    labels: &["step", "reason"],
    help: "Writes of the guard's own certificates by this replica, by what was done and why.",
    example: "sum by (step, reason) (increase(upgrade_guard_certificate_rotations_total[1d]))",
};
pub(super) const CERTIFICATE_WRITE_ERRORS: Descriptor = Descriptor {
    name: "upgrade_guard_certificate_write_errors_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Writes of the guard's own certificates that failed; they are made again.",
    example: "sum(increase(upgrade_guard_certificate_write_errors_total[15m]))",
};
pub(super) const CA_BUNDLE_WRITES: Descriptor = Descriptor {
    name: "upgrade_guard_ca_bundle_writes_total",
    kind: Kind::Counter,
    labels: &["kind"],
    help: "Writes of the CA bundle into a webhook configuration by this replica: an install, a rotation, or a repair.",
    example: "sum by (kind) (increase(upgrade_guard_ca_bundle_writes_total[1h]))",
};
pub(super) const CA_BUNDLE_TRUSTED: Descriptor = Descriptor {
    name: "upgrade_guard_ca_bundle_trusted",
    kind: Kind::Gauge,
    labels: &[],
    help: "0 while a webhook configuration does not trust the serving certificate or there is none, else 1, also where it cannot be told.",
    example: "min(upgrade_guard_ca_bundle_trusted)",
};
pub(super) const BUILD_INFO: Descriptor = Descriptor {
    name: "upgrade_guard_build_info",
    kind: Kind::Gauge,
    labels: &["version", "revision"],
    help: "Always 1; the labels tell which build this is.",
    example: "count by (version, revision) (upgrade_guard_build_info)",
};

/// Every label there is.
pub const LABELS: &[Label] = &[
    Label { name: "component", meaning: "A component of the policy; `none` where there is none.", values: &[] },
    Label { name: "condition", meaning: "A condition of the Platform.", values: &["Ready", "Reconciling", "Stalled"] },
    Label { name: "dry_run", meaning: "Whether the request was a dry run.", values: &["true", "false"] },
    Label {
        name: "kind",
        meaning: "A watched kind, by its plural such as `deployments`, or the kind of a webhook configuration.",
        values: &[],
    },
    Label { name: "mode", meaning: "The mode of the rule.", values: &["Enforce", "Warn", "Audit", "none"] },
    Label { name: "namespace", meaning: "The namespace of the install.", values: &[] },
    Label { name: "outcome", meaning: "What came of the call.", values: &["ok", "error"] },
    Label {
        name: "path",
        meaning: "The way of a review: `fast` moves no governed version, `governed` is answered from memory, `fresh` after \
                  reads of the API server, `unavailable` refused because it could not be asked, `mutate` asks whether to \
                  hold, `policy` is one of the guard's own objects, `other` is none of its business, `bad` cannot be read.",
        values: &["fast", "governed", "fresh", "unavailable", "mutate", "policy", "other", "bad"],
    },
    Label { name: "peer", meaning: "The component that the distance is measured to.", values: &[] },
    Label { name: "policy", meaning: "The UpgradePolicy of the install.", values: &[] },
    Label { name: "reason", meaning: "Why it was done: `due`, or what was found wrong, as the log says.", values: &[] },
    Label { name: "resource", meaning: "What was asked for, by its plural such as `platforms`.", values: &[] },
    Label { name: "revision", meaning: "The commit of the build, `unknown` where it was not told.", values: &[] },
    Label {
        name: "rule",
        meaning: "The code of the rule, as `upgrade-guard rules` lists them; `none` where no rule had anything to say.",
        values: &[],
    },
    Label {
        name: "state",
        meaning: "`Running` is under way or was killed, `Migrated` is where it should be, `Stopped` waits before a revision, \
                  `Undone` failed and left nothing behind, `HalfWay` failed half-way.",
        values: MIGRATION_STATES,
    },
    Label {
        name: "step",
        meaning: "What was done to the guard's own certificates.",
        values: &["new-leaf", "next-authority", "sign-with-next", "tidy", "restore", "anew"],
    },
    Label { name: "verb", meaning: "The verb of the call, as RBAC names it.", values: &["get", "create", "patch"] },
    Label { name: "verdict", meaning: "What the rule answers.", values: &["Allow", "NotYet", "Never"] },
    Label { name: "version", meaning: "A version of a component, or of the guard.", values: &[] },
];

/// What a run of database migrations may come to.
pub const MIGRATION_STATES: &[&str] = &["Running", "Migrated", "Stopped", "Undone", "HalfWay"];

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
    SKEW_LINES_LEFT,
    BLOCKED_SINCE,
    HELD,
    OVERRIDES_IN_USE,
    INTENTS,
    PLATFORM_CONDITION,
    SCHEMA_OBSERVED,
    MIGRATION_STATE,
    MIGRATION_STARTED,
    LEADER,
    RECONCILE_DURATION,
    RECONCILE_ERRORS,
    PLATFORM_WRITES,
    WATCH_SYNCED,
    WATCH_LAST_EVENT,
    WATCH_ERRORS,
    WATCH_FAILING_SINCE,
    CERTIFICATE_NOT_AFTER,
    CERTIFICATE_RELOAD_ERRORS,
    AUTHORITY_NOT_AFTER,
    CERTIFICATE_ROTATIONS,
    CERTIFICATE_WRITE_ERRORS,
    CA_BUNDLE_WRITES,
    CA_BUNDLE_TRUSTED,
    BUILD_INFO,
];
