//! How differences are worded.

use serde_json::Value;

/// Characters of a value that are shown: a message is one line and never a dump.
const MOST_SHOWN: usize = 60;

/// Characters of a path that are shown.
pub(super) const LONGEST_PATH: usize = 253;

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
    line(text, MOST_SHOWN)
}

/// The first `most` characters of `text`, in one line; what could change a terminal is left out.
pub(super) fn line(text: &str, most: usize) -> String {
    let mut line = String::new();
    let unprintable = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for word in text.split(|c: char| c.is_whitespace() || unprintable(c)).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}...", &line[..end]),
    }
}

/// The first of `items`, and how many more there are.
pub(super) fn list(items: &[String]) -> String {
    let shown = items.iter().take(MOST_LISTED).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
