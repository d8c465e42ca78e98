//! What the demonstration plays.

use crate::domain::decision::Verdict;

/// One thing that happens.
pub(super) enum Step {
    /// A headline.
    Title(&'static str),
    /// An image change is asked for.
    Try { component: &'static str, to: &'static str, expected: Verdict },
    /// The rollout of an admitted change stands at half of its pods.
    Rolling { component: &'static str, version: &'static str },
    /// The rollout completes.
    Complete(&'static str),
}

const API: &str = "control-plane-api";
const GATEWAY: &str = "stoa-gateway";
const UI: &str = "control-plane-ui";
const PORTAL: &str = "portal";

const fn attempt(component: &'static str, to: &'static str, expected: Verdict) -> Step {
    Step::Try { component, to, expected }
}

/// The guide's upgrade: wrong order, right order, and the way back.
pub(super) const SCRIPT: &[Step] = &[
    Step::Title("In the wrong order"),
    attempt(GATEWAY, "2.3.0", Verdict::NotYet),
    attempt(UI, "2.3.0", Verdict::NotYet),
    attempt(API, "2.4.0", Verdict::Never),
    attempt(PORTAL, "latest", Verdict::Never),
    Step::Title("In the right order"),
    attempt(API, "2.3.0", Verdict::Allow),
    Step::Rolling { component: API, version: "2.3.0" },
    attempt(GATEWAY, "2.3.0", Verdict::NotYet),
    Step::Complete(API),
    attempt(GATEWAY, "2.3.0", Verdict::Allow),
    Step::Complete(GATEWAY),
    attempt(UI, "2.3.0", Verdict::Allow),
    Step::Complete(UI),
    attempt(PORTAL, "2.3.0", Verdict::Allow),
    Step::Complete(PORTAL),
    Step::Title("And back again"),
    attempt(API, "2.2.0", Verdict::NotYet),
    attempt(PORTAL, "2.2.0", Verdict::Allow),
];
