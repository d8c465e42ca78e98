//! The rules: one file each, one row each in [`ROWS`], which also feeds `upgrade-guard rules` and the docs.

use std::fmt;

use super::decision::{Case, Finding};
use super::policy::Mode;

mod crd;
mod hop;
mod order;
mod pages;
mod precondition;
#[cfg(test)]
mod prepared_tests;
mod schema;
#[cfg(test)]
mod schema_tests;
pub(crate) mod skew;
pub(crate) mod supported;
pub(crate) mod version;
pub(crate) mod zero_downtime;

pub use pages::{Page, UNAVAILABLE, Unruled};

/// A rule of the law. The order is that of design section 3, and that of reasons with the same verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// `UG-ORDER`
    Order,
    /// `UG-SKEW`
    Skew,
    /// `UG-HOP`
    Hop,
    /// `UG-SCHEMA`
    Schema,
    /// `UG-CRD`
    Crd,
    /// `UG-SUPPORTED`
    Supported,
    /// `UG-ZERODOWNTIME`
    ZeroDowntime,
    /// `UG-PRECONDITION`
    Precondition,
    /// `UG-VERSION`
    Version,
}

impl Rule {
    /// The rule's row in [`ROWS`].
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The rule with this code, for example `UG-ORDER`.
    #[must_use]
    pub fn with_code(code: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.code == code).map(|row| row.rule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().code)
    }
}

/// What a rule looks at and says; `None` in a [`Row`] whose facts are not gathered yet or come with the request.
pub(crate) type Check = fn(&Case<'_>) -> Vec<Finding>;

/// A rule's row in the table.
pub struct Row {
    /// The rule.
    pub rule: Rule,
    /// Its code, stable for ever.
    pub code: &'static str,
    /// What it demands, in one sentence.
    pub demands: &'static str,
    /// What to do when it refuses a change.
    pub remedy: &'static str,
    /// Its mode where a policy says nothing.
    pub default_mode: Mode,
    /// Whether its facts are gathered today; `false` for a rule whose code is only reserved.
    pub in_force: bool,
    /// What a person reads who was refused.
    pub page: &'static Page,
    pub(crate) check: Option<Check>,
}

/// All rules, in the order of [`Rule`].
pub static ROWS: [Row; 9] = [
    Row {
        rule: Rule::Order,
        code: "UG-ORDER",
        demands: "Up: everything upstream runs at least the line that the new version needs, and its rollout is \
                  complete. Down: everything downstream has gone back before.",
        remedy: "Upgrade upstream first and let its rollout complete; on the way back, start with what is furthest \
                 downstream.",
        default_mode: Mode::Enforce,
        in_force: true,
        page: &pages::ORDER,
        check: Some(order::check),
    },
    Row {
        rule: Rule::Skew,
        code: "UG-SKEW",
        demands: "The new version is within the allowed window of every version of its peers that is running, asked \
                  for or just admitted; old and new pods of a rollout both count.",
        remedy: "Bring the peer within the window first, and let its old pods go.",
        default_mode: Mode::Enforce,
        in_force: true,
        page: &pages::SKEW,
        check: Some(skew::check),
    },
    Row {
        rule: Rule::Hop,
        code: "UG-HOP",
        demands: "A move crosses at most maxHop lines from the last completed version, skips no required stop, and \
                  does not start a third line in the middle of a rollout. A patch inside the line is always allowed.",
        remedy: "Go one hop at a time; the denial names the next one.",
        default_mode: Mode::Enforce,
        in_force: true,
        page: &pages::HOP,
        check: Some(hop::check),
    },
    Row {
        rule: Rule::Schema,
        code: "UG-SCHEMA",
        demands: "The database is at a revision that the new version accepts: equal, or ahead by revisions that are \
                  recorded as additive. What it needs is said by a PlatformRelease, by an annotation of the pod \
                  template, or recorded by the hook.",
        remedy: "Run the migrations first (upgrade-guard presync, the hook Job). On the way back, stay on a version \
                 that accepts the schema; the denial names one.",
        default_mode: Mode::Enforce,
        in_force: true,
        page: &pages::SCHEMA,
        check: Some(schema::check),
    },
    Row {
        rule: Rule::Crd,
        code: "UG-CRD",
        demands: "The custom resource definitions that the new version needs are established and carry the wanted \
                  content: that of its release or a later one, or what the hook applied for it. On the way back they \
                  only have to be established, because newer ones serve older versions.",
        remedy: "Run upgrade-guard presync (the hook Job), which applies them; Helm does not upgrade CRDs.",
        default_mode: Mode::Enforce,
        in_force: true,
        page: &pages::CRD,
        check: Some(crd::check),
    },
    Row {
        rule: Rule::Supported,
        code: "UG-SUPPORTED",
        demands: "The version is in a range that the policy supports; a range may carry a warning.",
        remedy: "Choose a supported version, or extend the range in the policy.",
        default_mode: Mode::Enforce,
        in_force: true,
        page: &pages::SUPPORTED,
        check: Some(supported::check),
    },
    Row {
        rule: Rule::ZeroDowntime,
        code: "UG-ZERODOWNTIME",
        demands: "At least two replicas (also through the scale subresource and an autoscaler's minimum), a \
                  PodDisruptionBudget that selects the pods and allows a disruption, a readiness probe, and a \
                  strategy that keeps a pod serving.",
        remedy: "Mend the manifest as the denial says.",
        default_mode: Mode::Warn,
        in_force: true,
        page: &pages::ZERO_DOWNTIME,
        check: None,
    },
    Row {
        rule: Rule::Precondition,
        code: "UG-PRECONDITION",
        demands: "To a higher line: no freeze window is open, each breaking change on the way is acknowledged by \
                  name, and the hook recorded for this very version, not too long ago, that every declared \
                  precondition held.",
        remedy: "Run upgrade-guard presync (the hook Job), which reports every precondition.",
        default_mode: Mode::Enforce,
        in_force: true,
        page: &pages::PRECONDITION,
        check: Some(precondition::check),
    },
    Row {
        rule: Rule::Version,
        code: "UG-VERSION",
        demands: "The version can be told and placed on a line. An unreadable current version only warns, because \
                  the cure may be this very change; so does a first install.",
        remedy: "Use a version tag, set the annotation guard.gostoa.dev/version on the pod template, or list the tag \
                 or digest in a PlatformRelease.",
        default_mode: Mode::Enforce,
        in_force: true,
        page: &pages::VERSION,
        check: Some(version::check),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_rules() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.rule as usize, index, "{}", row.code);
            assert_eq!(row.rule.row().code, row.code);
            assert_eq!(Rule::with_code(row.code), Some(row.rule));
        }
    }

    #[test]
    fn codes_are_unique_and_every_row_says_what_to_do() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(row.code.starts_with("UG-") && row.code.is_ascii(), "{}", row.code);
            assert!(ROWS[..index].iter().all(|earlier| earlier.code != row.code), "{} twice", row.code);
            assert!(row.demands.ends_with('.') && row.remedy.ends_with('.'), "{}", row.code);
            let page = row.page;
            assert!(page.example.starts_with(&format!("[{}] ", row.code)), "{}", row.code);
            assert!(!page.causes.is_empty() && page.causes.iter().all(|cause| cause.ends_with('.')), "{}", row.code);
            assert!(!page.look.is_empty(), "{}", row.code);
            let engines = page.engines.map(|(engine, _)| engine);
            assert_eq!(engines, ["Argo CD", "Flux", "Helm", "kubectl"], "{}", row.code);
            assert!(page.engines.iter().all(|(_, advice)| advice.ends_with('.')), "{}", row.code);
        }
    }
}
