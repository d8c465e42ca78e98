//! What to write next: a function of what stands in the Secret, what is remembered, and the time.

use super::read::Reading;
use super::{Contents, Lifetimes};

/// What certificates are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// What the leaf must be valid for; never empty.
    pub(super) names: &'a [String],
    /// How long certificates live.
    pub(super) lifetimes: Lifetimes,
}

/// What to write next, and why. Only `Nothing` writes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All is well, or to be waited for.
    Nothing,
    /// A new leaf under the authority that signs.
    NewLeaf(Reason),
    /// The next authority, into the bundle; it signs nothing yet.
    NextAuthority(Reason),
    /// A new leaf by the next authority, which signs from now on. The old one stays in the bundle.
    SignWithNext(Reason),
    /// The bundle without what does not belong into it any more.
    Tidy(Reason),
    /// What was remembered.
    Restore(Reason),
    /// A new authority and a leaf by it, at once. What can be trusted still stays in the bundle.
    Anew(Reason),
}

/// Why something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Two thirds of its life are over.
    Due,
    /// The next authority is known to the API server long enough.
    Announced,
    /// It is not there, or empty.
    Missing,
    /// It cannot be read, or is not as it was written.
    Unreadable,
    /// Certificate and key do not belong together.
    Mismatched,
    /// It is not from one of the guard's authorities that are still trusted.
    Foreign,
    /// It is not for all of the names.
    Names,
    /// Its life is over.
    Expired,
    /// It was made by a clock that was ahead.
    NotYetValid,
    /// The authority that signs cannot sign any more: it has expired, or its key is gone.
    CannotSign,
}

impl Step {
    /// What is done, as metrics and the log name it, and why.
    pub(super) const fn names(self) -> Option<(&'static str, Reason)> {
        match self {
            Self::Nothing => None,
            Self::NewLeaf(reason) => Some(("new-leaf", reason)),
            Self::NextAuthority(reason) => Some(("next-authority", reason)),
            Self::SignWithNext(reason) => Some(("sign-with-next", reason)),
            Self::Tidy(reason) => Some(("tidy", reason)),
            Self::Restore(reason) => Some(("restore", reason)),
            Self::Anew(reason) => Some(("anew", reason)),
        }
    }
}

impl Reason {
    /// As metrics and the log name it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Announced => "announced",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Mismatched => "mismatched",
            Self::Foreign => "foreign",
            Self::Names => "names",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::CannotSign => "cannot-sign",
        }
    }

    /// Whether it comes about without anybody's fault.
    pub(super) const fn is_expected(self) -> bool {
        matches!(self, Self::Due | Self::Announced | Self::Expired)
    }
}

/// Decides the next step for `contents` (`None`: there is no Secret) at `now`, in Unix seconds. `remembered` are the
/// last contents that could be served; `announced` says that the API server has known the next authority for long
/// enough.
pub(super) fn decide(
    contents: Option<&Contents>,
    remembered: Option<&Contents>,
    announced: bool,
    wanted: &Wanted<'_>,
    now: i64,
) -> Step {
    let empty = Contents::default();
    let reading = Reading::of(contents.unwrap_or(&empty), wanted, now);
    match reading.leaf {
        Ok(until) => served(&reading, until, announced, wanted.lifetimes, now),
        Err(reason) => {
            let remembered = remembered.map(|contents| Reading::of(contents, wanted, now));
            let remembers = remembered.is_some_and(|reading| reading.leaf.is_ok());
            broken(&reading, reason, remembers)
        }
    }
}

/// The leaf can be served, until then.
fn served(reading: &Reading, until: i64, announced: bool, lifetimes: Lifetimes, now: i64) -> Step {
    let last_third = |end: i64, life: i64| end.saturating_sub(now) <= life / 3;
    match (reading.signing(), reading.next()) {
        // What was begun is finished, whatever it was begun for.
        (_, Some(_)) if announced => return Step::SignWithNext(Reason::Announced),
        (Some(authority), None) if last_third(authority.not_after, lifetimes.authority) => {
            return Step::NextAuthority(Reason::Due);
        }
        (None, None) => return Step::NextAuthority(Reason::CannotSign),
        // Near the end of its authority a leaf is cut short; another one must last longer to be worth it.
        (Some(authority), _)
            if last_third(until, lifetimes.leaf)
                && now.saturating_add(lifetimes.leaf).min(authority.not_after) > until =>
        {
            return Step::NewLeaf(Reason::Due);
        }
        _ => {}
    }
    reading.untidy.map_or(Step::Nothing, Step::Tidy)
}

/// The leaf cannot be served, for this reason.
fn broken(reading: &Reading, reason: Reason, remembers: bool) -> Step {
    if reading.signing.is_some() {
        Step::NewLeaf(reason)
    } else if remembers {
        Step::Restore(reason)
    } else if reading.next.is_some() {
        // Nobody may know this authority yet; what is served is of no use in any case.
        Step::SignWithNext(reason)
    } else {
        Step::Anew(reason)
    }
}
