//! The numbers that `/metrics` shows.
//!
//! [`DESCRIPTORS`] is the one list of them: the families are registered from it, and documentation can be generated
//! from it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::RwLock;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

mod descriptors;
mod installs;

use descriptors::{
    API_CALL_DURATION, API_CALLS, AUTHORITY_NOT_AFTER, BUILD_INFO, CA_BUNDLE_TRUSTED, CA_BUNDLE_WRITES,
    CERTIFICATE_NOT_AFTER, CERTIFICATE_RELOAD_ERRORS, CERTIFICATE_ROTATIONS, CERTIFICATE_WRITE_ERRORS, LEADER,
    LOST_RACES, PLATFORM_WRITES, RECONCILE_DURATION, RECONCILE_ERRORS, RECORDER_DROPPED, REVIEW_DURATION, REVIEWS,
    WATCH_ERRORS, WATCH_LAST_EVENT, WATCH_SYNCED,
};
pub use descriptors::{DESCRIPTORS, Descriptor, Kind, REVIEW_BUCKETS};
pub use installs::{Install, Installs};

/// How many different component or kind names get a series of their own; the rest are counted as [`OTHER`].
///
/// The names come from policies and clusters, and each one costs memory here and in Prometheus. A platform of a
/// hundred components is far beyond the largest one known.
pub const MAX_NAMES: usize = 100;

/// The label value for names beyond [`MAX_NAMES`].
pub const OTHER: &str = "other";

/// What is counted about one review. Values other than the component come from code, so they are bounded.
#[derive(Clone, Copy, Debug)]
pub struct Review<'a> {
    /// The component's name in its policy, empty when the review concerned none; bounded by [`MAX_NAMES`].
    pub component: &'a str,
    /// The code of the rule that decided, `none` when no rule had anything to say.
    pub rule: &'static str,
    /// The verdict's name.
    pub verdict: &'static str,
    /// The name of the mode the rule ran in.
    pub mode: &'static str,
    /// Whether the request was a dry run.
    pub dry_run: bool,
}

/// The metrics of one process, around a registry of its own. Cloning gives another handle to the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    components: BoundedNames,
    kinds: BoundedNames,
    reviews: IntCounterVec,
    review_duration: HistogramVec,
    watch_synced: IntGaugeVec,
    watch_last_event: GaugeVec,
    watch_errors: IntCounterVec,
    certificate_not_after: IntGauge,
    certificate_reload_errors: IntCounter,
    authority_not_after: IntGauge,
    certificate_rotations: IntCounterVec,
    certificate_write_errors: IntCounter,
    ca_bundle_writes: IntCounterVec,
    ca_bundle_trusted: IntGauge,
    api_calls: IntCounterVec,
    api_call_duration: HistogramVec,
    lost_races: IntCounter,
    recorder_dropped: IntCounter,
    leader: IntGauge,
    reconcile_duration: Histogram,
    reconcile_errors: IntCounter,
    platform_writes: IntCounter,
    installs: Installs,
}

impl Metrics {
    /// Registers all of [`DESCRIPTORS`] and sets the build information.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let build_info = IntGaugeVec::new(opts(&BUILD_INFO), BUILD_INFO.labels);
        let revision = option_env!("UPGRADE_GUARD_REVISION").unwrap_or("unknown");
        register(&registry, build_info).with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);
        Self {
            reviews: register(&registry, IntCounterVec::new(opts(&REVIEWS), REVIEWS.labels)),
            review_duration: register(
                &registry,
                HistogramVec::new(histogram(&REVIEW_DURATION), REVIEW_DURATION.labels),
            ),
            api_calls: register(&registry, IntCounterVec::new(opts(&API_CALLS), API_CALLS.labels)),
            api_call_duration: register(
                &registry,
                HistogramVec::new(histogram(&API_CALL_DURATION), API_CALL_DURATION.labels),
            ),
            lost_races: register(&registry, IntCounter::with_opts(opts(&LOST_RACES))),
            recorder_dropped: register(&registry, IntCounter::with_opts(opts(&RECORDER_DROPPED))),
            leader: register(&registry, IntGauge::with_opts(opts(&LEADER))),
            reconcile_duration: register(&registry, Histogram::with_opts(histogram(&RECONCILE_DURATION))),
            reconcile_errors: register(&registry, IntCounter::with_opts(opts(&RECONCILE_ERRORS))),
            platform_writes: register(&registry, IntCounter::with_opts(opts(&PLATFORM_WRITES))),
            installs: Installs::new(&registry),
            watch_synced: register(&registry, IntGaugeVec::new(opts(&WATCH_SYNCED), WATCH_SYNCED.labels)),
            watch_last_event: register(&registry, GaugeVec::new(opts(&WATCH_LAST_EVENT), WATCH_LAST_EVENT.labels)),
            watch_errors: register(&registry, IntCounterVec::new(opts(&WATCH_ERRORS), WATCH_ERRORS.labels)),
            certificate_not_after: register(&registry, IntGauge::with_opts(opts(&CERTIFICATE_NOT_AFTER))),
            certificate_reload_errors: register(&registry, IntCounter::with_opts(opts(&CERTIFICATE_RELOAD_ERRORS))),
            authority_not_after: register(&registry, IntGauge::with_opts(opts(&AUTHORITY_NOT_AFTER))),
            certificate_rotations: register(
                &registry,
                IntCounterVec::new(opts(&CERTIFICATE_ROTATIONS), CERTIFICATE_ROTATIONS.labels),
            ),
            certificate_write_errors: register(&registry, IntCounter::with_opts(opts(&CERTIFICATE_WRITE_ERRORS))),
            ca_bundle_writes: register(&registry, IntCounterVec::new(opts(&CA_BUNDLE_WRITES), CA_BUNDLE_WRITES.labels)),
            ca_bundle_trusted: register(&registry, IntGauge::with_opts(opts(&CA_BUNDLE_TRUSTED))),
            components: BoundedNames::new(MAX_NAMES),
            kinds: BoundedNames::new(MAX_NAMES),
            registry,
        }
    }

    /// Counts one answered review.
    pub fn review(&self, review: &Review<'_>) {
        let component = self.components.bound(review.component);
        let dry_run = if review.dry_run { "true" } else { "false" };
        self.reviews.with_label_values(&[component, review.rule, review.verdict, review.mode, dry_run]).inc();
    }

    /// Records how long a review took that was decided in the way called `path`, for example `unchanged`, `cache` or
    /// `fresh`.
    pub fn review_duration(&self, path: &'static str, took: Duration) {
        self.review_duration.with_label_values(&[path]).observe(took.as_secs_f64());
    }

    /// Says whether all objects of `kind`, for example `deployments.apps`, are listed and watched.
    pub fn watch_synced(&self, kind: &str, synced: bool) {
        self.watch_synced.with_label_values(&[self.kinds.bound(kind)]).set(i64::from(synced));
    }

    /// Records that the watch of `kind` gave an event just now.
    pub fn watch_event(&self, kind: &str) {
        // A clock before 1970 gives 0, which reads as "never".
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.watch_last_event.with_label_values(&[self.kinds.bound(kind)]).set(now.as_secs_f64());
    }

    /// Counts an error of the watch of `kind`.
    pub fn watch_error(&self, kind: &str) {
        self.watch_errors.with_label_values(&[self.kinds.bound(kind)]).inc();
    }

    /// Sets when the serving certificate expires, in Unix seconds.
    pub fn certificate_not_after(&self, unix_seconds: i64) {
        self.certificate_not_after.set(unix_seconds);
    }

    /// Counts a look at the certificate folder that found something unusable.
    pub fn certificate_reload_error(&self) {
        self.certificate_reload_errors.inc();
    }

    /// Sets when the authority expires by which the serving certificate is trusted, in Unix seconds.
    pub fn authority_not_after(&self, unix_seconds: i64) {
        self.authority_not_after.set(unix_seconds);
    }

    /// Counts a write of the guard's own certificates: what was done, and why.
    pub fn certificate_rotation(&self, step: &'static str, reason: &'static str) {
        self.certificate_rotations.with_label_values(&[step, reason]).inc();
    }

    /// Counts a write of the guard's own certificates that failed.
    pub fn certificate_write_error(&self) {
        self.certificate_write_errors.inc();
    }

    /// Counts a write of the CA bundle into the webhook configuration of this kind.
    pub fn ca_bundle_write(&self, kind: &'static str) {
        self.ca_bundle_writes.with_label_values(&[kind]).inc();
    }

    /// Says whether the live webhook configurations trust the serving certificate.
    pub fn bundle_trusted(&self, trusted: bool) {
        self.ca_bundle_trusted.set(i64::from(trusted));
    }

    /// Counts a call of the API server on the way of a review: `verb` as RBAC names it, for example `get` of `platforms`,
    /// with `ok`, `conflict`, `error` or `timeout` as its outcome.
    pub fn api_call(&self, verb: &'static str, resource: &'static str, outcome: &'static str, took: Duration) {
        self.api_calls.with_label_values(&[verb, resource, outcome]).inc();
        self.api_call_duration.with_label_values(&[verb, resource]).observe(took.as_secs_f64());
    }

    /// Counts writes of a `Platform` that came too late.
    pub fn lost_races(&self, times: u64) {
        self.lost_races.inc_by(times);
    }

    /// Counts something that should have been recorded and was not.
    pub fn recorder_dropped(&self) {
        self.recorder_dropped.inc();
    }

    /// Says whether this process runs the controller; one that does not knows nothing of installs.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        self.installs.lead(leads);
    }

    /// Records a look of the controller at one install.
    pub fn reconciled(&self, took: Duration, failed: bool) {
        self.reconcile_duration.observe(took.as_secs_f64());
        self.reconcile_errors.inc_by(u64::from(failed));
    }

    /// Counts a write of the status of a `Platform`.
    pub fn platform_write(&self) {
        self.platform_writes.inc();
    }

    /// The numbers of each install.
    #[must_use]
    pub fn installs(&self) -> &Installs {
        &self.installs
    }

    /// Gives all metrics in the Prometheus text format.
    ///
    /// # Errors
    /// A family cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn opts(descriptor: &Descriptor) -> Opts {
    Opts::new(descriptor.name, descriptor.help)
}

fn histogram(descriptor: &Descriptor) -> HistogramOpts {
    let buckets = match descriptor.kind {
        Kind::Histogram(buckets) => buckets.to_vec(),
        Kind::Counter | Kind::Gauge => vec![],
    };
    HistogramOpts::from(opts(descriptor)).buckets(buckets)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names and labels in `DESCRIPTORS` are valid: a test registers them all");
    registry
        .register(Box::new(collector.clone()))
        .expect("names in `DESCRIPTORS` are distinct: a test registers them all");
    collector
}

/// Lets the first names through and calls the rest [`OTHER`], so that a label cannot take any number of values.
#[derive(Clone, Debug)]
pub struct BoundedNames {
    seen: Arc<RwLock<BTreeSet<String>>>,
    most: usize,
}

impl BoundedNames {
    /// Gives a set that lets `most` different names through.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { seen: Arc::default(), most }
    }

    /// Gives the label value for `name`: itself, `none` when it is empty, or [`OTHER`] when too many are known.
    #[must_use]
    pub fn bound<'a>(&self, name: &'a str) -> &'a str {
        if name.is_empty() {
            return "none";
        }
        if self.seen.read().contains(name) {
            return name;
        }
        let mut seen = self.seen.write();
        if seen.len() >= self.most && !seen.contains(name) {
            return OTHER;
        }
        seen.insert(name.to_owned());
        name
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prometheus::proto::MetricType;

    use super::*;

    /// Metrics of which every family has at least one series: families without any are not gathered.
    fn touched() -> Metrics {
        let metrics = Metrics::new();
        metrics.review(&Review {
            component: "control-plane-api",
            rule: "UG-ORDER",
            verdict: "NotYet",
            mode: "Enforce",
            dry_run: false,
        });
        metrics.review_duration("cache", Duration::from_millis(3));
        metrics.watch_synced("deployments.apps", true);
        metrics.watch_event("deployments.apps");
        metrics.watch_error("deployments.apps");
        metrics.certificate_not_after(1_900_000_000);
        metrics.certificate_reload_error();
        metrics.certificate_rotation("new-leaf", "due");
        metrics.ca_bundle_write("ValidatingWebhookConfiguration");
        metrics.api_call("get", "platforms", "ok", Duration::from_millis(3));
        metrics.leader(true);
        metrics.installs().set(&installs::tests::install("stoa", "2.3.0"));
        metrics
    }

    #[test]
    fn the_table_and_the_registry_agree() {
        let gathered: BTreeMap<_, _> =
            touched().registry.gather().into_iter().map(|family| (family.name().to_owned(), family)).collect();
        let names: BTreeSet<_> = DESCRIPTORS.iter().map(|entry| entry.name.to_owned()).collect();
        assert_eq!(names.len(), DESCRIPTORS.len(), "a name stands twice in the table");
        assert_eq!(gathered.keys().cloned().collect::<BTreeSet<_>>(), names);
        for entry in DESCRIPTORS {
            let family = &gathered[entry.name];
            let kind = match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::GAUGE => "gauge",
                MetricType::HISTOGRAM => "histogram",
                other => panic!("{}: {other:?}", entry.name),
            };
            assert_eq!(kind, entry.kind.name(), "{}", entry.name);
            assert_eq!(family.help(), entry.help, "{}", entry.name);
            let labels: BTreeSet<_> =
                family.get_metric()[0].get_label().iter().map(prometheus::proto::LabelPair::name).collect();
            assert_eq!(labels, entry.labels.iter().copied().collect(), "{}", entry.name);
        }
    }

    #[test]
    fn names_follow_the_prometheus_rules() {
        for entry in DESCRIPTORS {
            let Descriptor { name, kind, labels, help } = entry;
            assert!(name.starts_with("upgrade_guard_"), "{name}");
            let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(plain(name) && labels.iter().all(|label| plain(label)), "{name}");
            assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}: counters end in _total");
            assert!(help.ends_with('.') && help.is_ascii(), "{name}: the help is one sentence");
            let reserved = ["le", "quantile", "job", "instance"];
            assert!(labels.iter().all(|label| !reserved.contains(label)), "{name}");
            if let Kind::Histogram(buckets) = kind {
                assert!(name.ends_with("_seconds"), "{name}: the unit is in the name");
                assert!(buckets.is_sorted_by(|a, b| a < b), "{name}: buckets rise");
            }
        }
    }

    #[test]
    fn names_over_the_cap_become_other() {
        let metrics = Metrics::new();
        for index in 0..MAX_NAMES + 50 {
            let component = format!("component-{index}");
            metrics.review(&Review {
                component: &component,
                rule: "none",
                verdict: "Allow",
                mode: "Enforce",
                dry_run: true,
            });
        }
        let text = metrics.render().expect("text");
        let series = text.lines().filter(|line| line.starts_with(REVIEWS.name)).count();
        assert_eq!(series, MAX_NAMES + 1);
        let other = text.lines().find(|line| line.contains(r#"component="other""#));
        assert!(other.is_some_and(|line| line.ends_with(" 50")), "{other:?}");
    }

    #[test]
    fn a_known_name_stays_itself_and_an_empty_one_is_none() {
        let names = BoundedNames::new(1);
        assert_eq!(names.bound(""), "none");
        assert_eq!(names.bound("api"), "api");
        assert_eq!(names.bound("gateway"), OTHER);
        assert_eq!(names.bound("api"), "api");
    }
}
