//! Rules that a user sets aside for a change: which, why and until when; never all of them, never for ever.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use super::decision::{Decision, Reason};
use super::policy::Mode;
use super::rules::{ROWS, Rule};

/// The longest reason, in characters: it is shown in one line of the history.
const LONGEST_REASON: usize = 200;
/// What a right value looks like.
const EXAMPLE: &str = "UG-ORDER; incident 4711, the fix cannot wait; until=2030-01-31T18:00:00Z";
/// What begins the last part.
const UNTIL: &str = "until=";
/// What begins the text of a reason that was overridden.
const OVERRIDDEN: &str = "overridden: ";

/// A user's wish to set rules aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The rules; at least one.
    pub rules: BTreeSet<Rule>,
    /// Why; never empty.
    pub reason: String,
    /// The first moment at which it no longer counts.
    pub until: Timestamp,
}

/// What is wrong with the text of an override.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// It does not have all three parts.
    #[error("it must have three parts, divided by ';': rules, reason, until. For example: {EXAMPLE}")]
    Parts,
    /// A rule that is none.
    #[error("'{0}' is no rule; the rules are {rules}. For example: {EXAMPLE}", rules = all_codes())]
    Rule(String),
    /// No reason.
    #[error("it gives no reason: write between the ';' why. For example: {EXAMPLE}")]
    NoReason,
    /// A reason that nobody reads to its end.
    #[error("its reason has {0} characters: {LONGEST_REASON} are allowed")]
    LongReason(usize),
    /// No end, or one that is no time.
    #[error("its last part must be until= and a time with its zone (RFC 3339), not '{0}'. For example: {EXAMPLE}")]
    Until(String),
}

fn all_codes() -> String {
    codes(ROWS.iter().map(|row| row.rule))
}

/// The codes of `rules`, divided by commas.
fn codes(rules: impl IntoIterator<Item = Rule>) -> String {
    rules.into_iter().map(|rule| rule.row().code).collect::<Vec<_>>().join(", ")
}

impl Override {
    /// Reads `<code>[,<code>]; reason; until=<RFC 3339>`. The first and the last part are fixed; what is between them
    /// is the reason, which may have semicolons of its own.
    ///
    /// # Errors
    /// When it is anything else, with a right example. A time in the past is none: see [`Override::has_expired`].
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        let (rules, rest) = text.split_once(';').ok_or(OverrideError::Parts)?;
        let (reason, until) = rest.rsplit_once(';').ok_or(OverrideError::Parts)?;
        let rule = |code: &str| Rule::with_code(code).ok_or_else(|| OverrideError::Rule(code.to_owned()));
        let rules = rules.split(',').map(|code| rule(code.trim())).collect::<Result<_, _>>()?;
        let reason = reason.trim();
        match reason.chars().count() {
            0 => return Err(OverrideError::NoReason),
            length if length > LONGEST_REASON => return Err(OverrideError::LongReason(length)),
            _ => {}
        }
        let until = until.trim();
        let time = until.strip_prefix(UNTIL).and_then(|time| time.trim().parse().ok());
        let until = time.ok_or_else(|| OverrideError::Until(until.to_owned()))?;
        Ok(Self { rules, reason: reason.to_owned(), until })
    }

    /// Whether it no longer counts at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// The codes of its rules.
    pub fn codes(&self) -> impl Iterator<Item = &'static str> {
        self.rules.iter().map(|rule| rule.row().code)
    }
}

impl Decision {
    /// The decision when the rules of `by` are set aside: what they had against the change becomes warnings that say
    /// so, and what is left gives the verdict. `None` when they have nothing against it: then there is nothing to
    /// authorise or to record.
    #[must_use]
    pub fn overridden(&self, by: &Override) -> Option<Self> {
        let touched = |reason: &Reason| by.rules.contains(&reason.rule);
        if !self.reasons.iter().any(touched) {
            return None;
        }
        let set_aside = |reason: &Reason| {
            let mut reason = reason.clone();
            if touched(&reason) {
                reason.mode = Mode::Warn;
                reason.what.insert_str(0, OVERRIDDEN);
            }
            reason
        };
        let reasons = self.reasons.iter().map(set_aside).collect();
        // `of_all` puts each reason where its mode belongs.
        Some(Self::of_all([Self { reasons, ..self.clone() }]))
    }
}

/// Why an override did not let a change pass. Its text follows the refusal's, on the same line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOverridden<'a> {
    /// Its text cannot be read.
    Malformed(&'a OverrideError),
    /// Its time is over.
    Expired(&'a Override),
    /// The user has no right to it.
    Forbidden {
        /// The user's name.
        user: &'a str,
        /// The policy's name.
        policy: &'a str,
    },
    /// Other rules refuse the change too.
    NotCovered {
        /// What was asked for.
        by: &'a Override,
        /// What is left; see [`Decision::overridden`].
        left: &'a Decision,
    },
    /// Nobody could tell in time whether the user has the right to it.
    Unknown,
}

/// The command that makes a role whose holders may override `policy`.
fn grant(policy: &str) -> String {
    format!(
        "kubectl create clusterrole override-{policy} --verb=override \
         --resource=upgradepolicies.guard.gostoa.dev --resource-name={policy}"
    )
}

impl fmt::Display for NotOverridden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The override does not count: ")?;
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Expired(by) => write!(f, "it ended at {}. Set a later until= if it is still needed.", by.until),
            Self::Forbidden { user, policy } => write!(
                f,
                "user '{user}' has no right to the verb override of UpgradePolicy {policy}. Bind the user to what this \
                 makes: {}",
                grant(policy)
            ),
            Self::NotCovered { by, left } => {
                let rules: BTreeSet<Rule> = left.reasons.iter().map(|reason| reason.rule).collect();
                write!(
                    f,
                    "it names {}, and what refuses the change is {}.",
                    codes(by.rules.iter().copied()),
                    codes(rules)
                )
            }
            Self::Unknown => {
                f.write_str("the API server did not tell in time whether you have the right to it. Retry in a moment.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::decision::Verdict;

    fn read(text: &str) -> Override {
        Override::parse(text).unwrap_or_else(|error| unreachable!("{text}: {error}"))
    }

    #[test]
    fn an_override_has_rules_a_reason_and_an_end() {
        let until = |text: &str| text.parse::<Timestamp>().ok();
        for (text, rules, reason, end) in [
            (EXAMPLE, vec![Rule::Order], "incident 4711, the fix cannot wait", "2030-01-31T18:00:00Z"),
            (
                " UG-SKEW , UG-ORDER ;a; b ;c ; until= 2030-01-31T18:00:00+01:00 ",
                vec![Rule::Order, Rule::Skew],
                "a; b ;c",
                "2030-01-31T17:00:00Z",
            ),
            ("UG-HOP;until=x;until=2030-01-31T18:00:00Z", vec![Rule::Hop], "until=x", "2030-01-31T18:00:00Z"),
        ] {
            let found = read(text);
            assert_eq!(found.rules, rules.into_iter().collect(), "{text}");
            assert_eq!(found.reason, reason);
            assert_eq!(Some(found.until), until(end), "{text}");
        }
    }

    #[test]
    fn a_bare_force_is_none() {
        let long = format!("UG-ORDER; {}; until=2030-01-31T18:00:00Z", "ä".repeat(LONGEST_REASON + 1));
        for (text, error) in [
            ("", OverrideError::Parts),
            ("true", OverrideError::Parts),
            ("UG-ORDER", OverrideError::Parts),
            ("UG-ORDER; because", OverrideError::Parts),
            ("; because; until=2030-01-31T18:00:00Z", OverrideError::Rule(String::new())),
            ("*; because; until=2030-01-31T18:00:00Z", OverrideError::Rule("*".to_owned())),
            ("UG-ORDER,; because; until=2030-01-31T18:00:00Z", OverrideError::Rule(String::new())),
            ("ug-order; because; until=2030-01-31T18:00:00Z", OverrideError::Rule("ug-order".to_owned())),
            ("UG-ORDER; ; until=2030-01-31T18:00:00Z", OverrideError::NoReason),
            ("UG-ORDER; until=2030-01-31T18:00:00Z;", OverrideError::Until(String::new())),
            ("UG-ORDER; because; tomorrow", OverrideError::Until("tomorrow".to_owned())),
            ("UG-ORDER; because; until=tomorrow", OverrideError::Until("until=tomorrow".to_owned())),
            // Without a zone it could be any of a day's hours.
            (
                "UG-ORDER; because; until=2030-01-31T18:00:00",
                OverrideError::Until("until=2030-01-31T18:00:00".to_owned()),
            ),
            (&long, OverrideError::LongReason(LONGEST_REASON + 1)),
        ] {
            assert_eq!(Override::parse(text), Err(error), "{text}");
        }
        assert!(Override::parse(&long.replacen('ä', "", 1)).is_ok());
    }

    #[test]
    fn it_ends_at_its_time() {
        let by = read(EXAMPLE);
        let second = jiff::SignedDuration::from_secs(1);
        assert!(!by.has_expired(by.until - second));
        assert!(by.has_expired(by.until));
    }

    fn reason(rule: Rule, verdict: Verdict, mode: Mode) -> Reason {
        Reason {
            rule,
            verdict,
            mode,
            component: "api".to_owned(),
            from: None,
            to: None,
            what: "must wait".to_owned(),
            facts: "facts".to_owned(),
            remedy: "Wait.".to_owned(),
        }
    }

    fn decision(reasons: Vec<Reason>) -> Decision {
        let all = Decision { verdict: Verdict::Allow, reasons, warnings: vec![], audits: vec![] };
        Decision::of_all([all])
    }

    #[test]
    fn only_the_rules_that_are_named_are_set_aside() {
        let both = decision(vec![
            reason(Rule::Order, Verdict::NotYet, Mode::Enforce),
            reason(Rule::Hop, Verdict::Never, Mode::Enforce),
            reason(Rule::Order, Verdict::NotYet, Mode::Audit),
        ]);
        let without = |codes: &str| both.overridden(&read(&EXAMPLE.replace("UG-ORDER", codes)));

        let order = without("UG-ORDER").unwrap_or_else(|| unreachable!("it refuses"));
        assert_eq!(order.verdict, Verdict::Never);
        assert_eq!(order.reasons, [reason(Rule::Hop, Verdict::Never, Mode::Enforce)]);
        assert_eq!(order.warnings[0].what, "overridden: must wait");
        assert_eq!(order.audits, both.audits);

        let hop = without("UG-HOP").unwrap_or_else(|| unreachable!("it refuses"));
        assert_eq!(hop.verdict, Verdict::NotYet, "what is left only has to wait");

        let all = without("UG-HOP,UG-ORDER").unwrap_or_else(|| unreachable!("it refuses"));
        assert_eq!((all.verdict, all.reasons.len(), all.warnings.len()), (Verdict::Allow, 0, 2));
        assert_eq!(all.overridden(&read(&EXAMPLE.replace("UG-ORDER", "UG-HOP,UG-ORDER"))), None, "once is enough");
    }

    #[test]
    fn what_refuses_nothing_is_not_overridden() {
        let by = read(EXAMPLE);
        for mode in [Mode::Warn, Mode::Audit] {
            assert_eq!(decision(vec![reason(Rule::Order, Verdict::NotYet, mode)]).overridden(&by), None, "{mode:?}");
        }
        assert_eq!(decision(vec![reason(Rule::Order, Verdict::Allow, Mode::Enforce)]).overridden(&by), None);
        assert_eq!(decision(vec![reason(Rule::Skew, Verdict::Never, Mode::Enforce)]).overridden(&by), None);
    }

    #[test]
    fn why_it_does_not_count() {
        let by = read(EXAMPLE);
        let left = decision(vec![
            reason(Rule::Hop, Verdict::Never, Mode::Enforce),
            reason(Rule::Skew, Verdict::NotYet, Mode::Enforce),
        ]);
        let errors = [
            OverrideError::Parts,
            OverrideError::Rule("UG-X".to_owned()),
            OverrideError::NoReason,
            OverrideError::LongReason(201),
            OverrideError::Until("tomorrow".to_owned()),
        ];
        let mut told: Vec<String> = errors.iter().map(|error| NotOverridden::Malformed(error).to_string()).collect();
        told.push(NotOverridden::Expired(&by).to_string());
        told.push(NotOverridden::Forbidden { user: "jane", policy: "stoa" }.to_string());
        told.push(NotOverridden::NotCovered { by: &by, left: &left }.to_string());
        told.push(NotOverridden::Unknown.to_string());
        insta::assert_snapshot!(told.join("\n"));
    }
}
