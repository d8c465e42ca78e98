//! The graph of migrations: which revision comes after which. It comes from the new image, and from nowhere else.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// One migration: a revision file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// Its revision id.
    pub id: String,
    /// The revisions before it: several for a merge, none for the first.
    pub down: Vec<String>,
    /// Further revisions that have to be there first.
    pub depends_on: Vec<String>,
    /// The labels of the branch that begins here.
    pub labels: Vec<String>,
    /// What it says of itself, in one line.
    pub title: String,
    /// Its file, where that is known.
    pub file: Option<PathBuf>,
    /// The digest of its file, where it can be read: `sha256:` and 64 hex digits.
    pub digest: Option<String>,
    /// Whether it leaves its transaction (`autocommit_block`), so that it can be left half-applied.
    pub autocommit: bool,
}

/// All migrations of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    migrations: BTreeMap<String, Migration>,
}
