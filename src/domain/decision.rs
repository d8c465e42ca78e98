//! The one place that decides.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use jiff::Timestamp;

use super::change::{Change, Move};
use super::line::{Span, Unplaced};
use super::policy::{ComponentId, Mode, Policy};
use super::rules::{ROWS, Rule};
use super::text::tame;
use super::version::Version;
use super::view::{ComponentView, Intent, View};

/// What a reason, and in the end a whole decision, says of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is legal now.
    Allow,
    /// This very change becomes legal by waiting.
    NotYet,
    /// It is not legal from here.
    Never,
}

impl Verdict {
    /// The name used in texts, metrics and machine output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::NotYet => "NotYet",
            Self::Never => "Never",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that a rule has to say of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The rule.
    pub rule: Rule,
    /// What the rule alone would answer; [`Verdict::Allow`] for a mere warning.
    pub verdict: Verdict,
    /// What happens to a change that the rule does not allow.
    pub mode: Mode,
    /// The component's name.
    pub component: String,
    /// What it asked for before.
    pub from: Option<Version>,
    /// What it asks for now; `None` for a change that moves no version.
    pub to: Option<Version>,
    /// What the rule says: `must wait for control-plane-api 2.3.0`.
    pub what: String,
    /// What it found: `running 2.3.0 (1/2 pods), 2.2.0 (1/2)`.
    pub facts: String,
    /// What to do now.
    pub remedy: String,
}

impl Reason {
    /// The subject: `[UG-ORDER] stoa-gateway 2.2.0 -> 2.3.0`.
    fn subject(&self) -> String {
        let Self { rule, component, from, to, .. } = self;
        match (from, to) {
            (Some(from), Some(to)) => format!("[{rule}] {component} {from} -> {to}"),
            (None, Some(to)) => format!("[{rule}] {component} {to}"),
            (_, None) => format!("[{rule}] {component}"),
        }
    }

    /// The subject and what is said of it: `stoa-gateway 2.2.0 -> 2.3.0 must wait for ...`.
    fn head(&self) -> String {
        format!("{} {}", self.subject(), self.what)
    }

    /// That its change is held for this, for admission warnings, at most [`Reason::SHORT`] characters; `stays` when it
    /// was held before.
    #[must_use]
    pub fn held(&self, stays: bool) -> String {
        let verb = if stays { "stays" } else { "is" };
        shortened(tame(&format!("{} {verb} held: {}", self.subject(), self.what)))
    }

    /// The short form for admission warnings, at most [`Reason::SHORT`] characters.
    #[must_use]
    pub fn short(&self) -> String {
        let full = tame(&format!("{}: {}", self.head(), self.facts));
        shortened(if full.chars().count() <= Self::SHORT { full } else { tame(&self.head()) })
    }

    /// The longest warning that clients show whole is 120 characters.
    pub const SHORT: usize = 119;
}

fn shortened(text: String) -> String {
    if text.chars().count() <= Reason::SHORT {
        text
    } else {
        text.chars().take(Reason::SHORT - 3).chain("...".chars()).collect()
    }
}

/// The code, the facts and the remedy on one line.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&tame(&format!("{}: {}. {}", self.head(), self.facts, self.remedy)))
    }
}

/// The answer to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The worst verdict of an enforced rule.
    pub verdict: Verdict,
    /// Why it is not allowed: worst verdict first, among equals in the order of the rules' table.
    pub reasons: Vec<Reason>,
    /// What to say although it is no reason to refuse.
    pub warnings: Vec<Reason>,
    /// What to record and not to say.
    pub audits: Vec<Reason>,
}

impl Decision {
    /// The text of a refusal, on one line: the worst reason whole, then what the others say.
    #[must_use]
    pub fn denial(&self) -> String {
        let Some((worst, others)) = self.reasons.split_first() else { return String::new() };
        let mut text = worst.to_string();
        for (index, other) in others.iter().enumerate() {
            let lead = if index == 0 { " Also: " } else { "; " };
            let subject = if other.component == worst.component { "" } else { &format!("{} ", other.component) };
            text += &tame(&format!("{lead}[{}] {subject}{}", other.rule, other.what));
        }
        if !others.is_empty() {
            text.push('.');
        }
        text
    }

    /// The decision over several parts of one request: the worst verdict, all reasons in order.
    #[must_use]
    pub fn of_all(decisions: impl IntoIterator<Item = Self>) -> Self {
        let parts = decisions.into_iter().flat_map(|one| [one.reasons, one.warnings, one.audits]).flatten();
        Self::sorted(parts.collect())
    }

    fn sorted(mut all: Vec<Reason>) -> Self {
        all.sort_by_key(|reason| (std::cmp::Reverse(reason.verdict), reason.rule));
        let mut decision = Self { verdict: Verdict::Allow, reasons: vec![], warnings: vec![], audits: vec![] };
        for reason in all {
            let list = match (reason.verdict, reason.mode) {
                (_, Mode::Audit) => &mut decision.audits,
                (Verdict::Allow, _) | (_, Mode::Warn) => &mut decision.warnings,
                (Verdict::NotYet | Verdict::Never, Mode::Enforce) => {
                    decision.verdict = decision.verdict.max(reason.verdict);
                    &mut decision.reasons
                }
            };
            if !list.contains(&reason) {
                list.push(reason);
            }
        }
        decision
    }
}

/// Decides over `change` in the install that `view` shows, by the rules of `policy`, at `now`.
///
/// Everything else that answers a question about an upgrade calls this.
#[must_use]
pub fn decide(policy: &Policy, view: &View, change: &Change, now: Timestamp) -> Decision {
    let mut found = Vec::new();
    let mut add = |rule: Rule, component: ComponentId, step: Option<&Move>, findings: Vec<Finding>| {
        found.extend(findings.into_iter().map(|finding| Reason {
            rule,
            verdict: finding.verdict,
            mode: policy.mode_of(rule),
            component: policy.component(component).name.clone(),
            from: step.and_then(|step| step.from.clone()),
            to: step.map(|step| step.to.clone()),
            what: finding.what,
            facts: finding.facts,
            remedy: finding.remedy,
        }));
    };
    for (index, step) in change.moves.iter().enumerate() {
        let seen = beside_the_others(view, &change.moves, index);
        let case = Case::new(policy, &seen, change, step, now);
        for row in &ROWS {
            if let Some(check) = row.check {
                add(row.rule, step.component, Some(step), check(&case));
            }
        }
    }
    for restart in &change.restarts {
        add(Rule::Version, restart.component, None, vec![super::rules::version::on_restart(&restart.version)]);
    }
    if let Some(capacity) = &change.capacity {
        let findings = super::rules::zero_downtime::check(policy, capacity);
        add(Rule::ZeroDowntime, capacity.component, None, findings);
    }
    Decision::sorted(found)
}

/// The view in which one of `moves` is judged: the others are as good as admitted, because two moves that are legal
/// alone can break a rule together.
fn beside_the_others<'a>(view: &'a View, moves: &[Move], index: usize) -> Cow<'a, View> {
    let own = moves[index].component;
    let mut seen = Cow::Borrowed(view);
    for other in moves.iter().filter(|other| other.component != own) {
        let intent = Intent { version: other.to.clone(), expires: Timestamp::MAX };
        seen.to_mut().components[other.component.0].intents.push(intent);
    }
    seen
}

/// What a rule found, before it is joined with the move it is about.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    pub(crate) what: String,
    pub(crate) facts: String,
    pub(crate) remedy: String,
}

impl Finding {
    pub(crate) fn new(
        verdict: Verdict,
        what: impl Into<String>,
        facts: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict, what: what.into(), facts: facts.into(), remedy: remedy.into() }
    }
}

/// One move with everything that the rules ask about it.
pub(crate) struct Case<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) view: &'a View,
    pub(crate) change: &'a Change,
    pub(crate) step: &'a Move,
    /// The lines of the version asked for.
    pub(crate) to: Result<Span, Unplaced>,
    /// The lines of the version asked for before; `None` when the workload did not exist.
    pub(crate) from: Option<Result<Span, Unplaced>>,
    pub(crate) now: Timestamp,
}

impl<'a> Case<'a> {
    fn new(policy: &'a Policy, view: &'a View, change: &'a Change, step: &'a Move, now: Timestamp) -> Self {
        let span = |version: &Version| policy.lines.span(step.component, version);
        Self { policy, view, change, step, to: span(&step.to), from: step.from.as_ref().map(span), now }
    }

    /// The component that moves.
    pub(crate) fn own(&self) -> &'a ComponentView {
        self.view.component(self.step.component)
    }

    /// The last completed version of the component that moves.
    pub(crate) fn completed(&self) -> Option<&'a Version> {
        self.own().completed(self.step.component, &self.policy.lines)
    }

    /// What the component is taken to have been before the move: what the workload asked for, or, when that cannot be
    /// placed, the last completed version, so that a break which was there then does not stand in the way back to it.
    pub(crate) fn before(&self) -> Option<&'a Version> {
        match self.from {
            Some(Err(_)) => self.completed(),
            _ => self.step.from.as_ref(),
        }
    }

    /// The lines of [`Case::before`], where it can be placed.
    pub(crate) fn before_span(&self) -> Option<Span> {
        self.policy.lines.span(self.step.component, self.before()?).ok()
    }

    /// Whether the component was never installed: no history, no pods, no workload before.
    pub(crate) fn is_first_install(&self) -> bool {
        self.step.from.is_none() && self.completed().is_none() && !self.own().has_pods()
    }

    /// How the version asked for stands to what the component was before the move: what the workload asked for, or,
    /// when that is nothing or cannot be read, the last completed version. `None` where that cannot be told.
    pub(crate) fn direction(&self) -> Option<Ordering> {
        let asked = self.step.from.as_ref().and_then(Version::known);
        let before = asked.or_else(|| self.completed().and_then(Version::known))?;
        Some(self.step.to.known()?.cmp_precedence(before))
    }

    /// Whether the version stays on the line that the workload already asks for.
    pub(crate) fn stays_on_line(&self) -> bool {
        matches!((&self.from, &self.to), (Some(Ok(from)), Ok(to)) if from == to)
    }

    /// The lines of everything live of `component`, each version once, oldest first.
    pub(crate) fn live(&self, component: ComponentId) -> Vec<(&'a Version, Result<Span, Unplaced>)> {
        self.view.live(self.policy, component, self.now)
    }

    /// A component's name.
    pub(crate) fn name(&self, id: ComponentId) -> &'a str {
        &self.policy.component(id).name
    }
}
