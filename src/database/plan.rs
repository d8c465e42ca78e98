//! What is to be run: from where the database is to where the new version needs it, or to where it has to stop.

/// The migrations that are to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the database notes now.
    pub from: Vec<String>,
    /// What it will note then. Several are no sound schema.
    pub to: Vec<String>,
    /// The revisions in between, in an order in which they can be run.
    pub steps: Vec<String>,
    /// The revisions before which it stops, and why: none of them is among the steps, nor what comes after them.
    pub stops: Vec<Stop>,
    /// The digest of the steps and of what their files hold: `sha256:` and 64 hex digits.
    pub digest: String,
}

/// A revision before which migrations stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The revision.
    pub revision: String,
    /// Why, in one line.
    pub why: String,
}
