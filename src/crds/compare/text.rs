//! How differences are worded.

use serde_json::Value;

/// Characters of a value that are shown: a message is one line and never a dump.
const MOST_SHOWN: usize = 60;

/// How many things of a list are shown.
const MOST_LISTED: usize = 5;

/// What two schemas are to each other.
pub(super) enum Between<'a> {
    /// The installed one and the wanted one.
    Now,
    /// Those of two versions, both of which are served.
    Versions(&'a str, &'a str),
}

impl Between<'_> {
    /// What a value is before and after.
    pub(super) fn changed(&self, old: &str, new: &str) -> String {
        match self {
            Self::Now => format!("was {old}, would be {new}"),
            Self::Versions(a, b) => format!("is {old} in {a}, but {new} in {b}"),
        }
    }

    /// What `subject`, one of several things in the same place, is before and after.
    pub(super) fn changed_in(&self, subject: &str, old: &str, new: &str) -> String {
        format!("{subject} {}", self.changed(old, new))
    }

    /// What is only there before.
    pub(super) fn gone(&self, what: &str) -> String {
        match self {
            Self::Now => format!("{what} would be gone"),
            Self::Versions(a, _) => format!("{what} is in {a} only"),
        }
    }

    /// What something is only after.
    pub(super) fn becomes(&self, what: &str) -> String {
        match self {
            Self::Now => format!("would be {what}"),
            Self::Versions(_, b) => format!("is {what} in {b} only"),
        }
    }

    /// A rule that has to be fulfilled only after.
    pub(super) fn demanded(&self, rule: &str) -> String {
        match self {
            Self::Now => format!("would have to fulfil: {rule}"),
            Self::Versions(_, b) => format!("has to fulfil in {b} only: {rule}"),
        }
    }

    /// What differs in a way that takes too many words.
    pub(super) fn differs(&self, what: &str) -> String {
        match self {
            Self::Now => format!("{what} would change"),
            Self::Versions(a, b) => format!("{what} differs between {a} and {b}"),
        }
    }
}

/// A value as a person reads it, in one short line; `none` where there is none.
pub(super) fn value(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(Value::String(text)) => short(&format!("'{text}'")),
        Some(other) => short(&other.to_string()),
    }
}

/// The beginning of `text`, in one line.
pub(super) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST_SHOWN {
        return line;
    }
    let beginning: String = line.chars().take(MOST_SHOWN).collect();
    format!("{beginning}...")
}

/// The first of `items`, and how many more there are.
pub(super) fn list(items: &[String]) -> String {
    let shown = items.iter().take(MOST_LISTED).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
