//! What `verify` found, check by check.

use std::fmt;

use serde::Serialize;

use crate::hook::Exit;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// The versions that run.
    Version,
    /// Whether rollouts are complete.
    Rollout,
    /// Whether pods are well.
    Pods,
    /// Whether containers keep being restarted.
    Restarts,
    /// What an HTTP request is answered with.
    Http,
    /// The revision of the database's schema.
    Schema,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Version => "version",
            Self::Rollout => "rollout",
            Self::Pods => "pods",
            Self::Restarts => "restarts",
            Self::Http => "http",
            Self::Schema => "schema",
        })
    }
}

/// How it stands with a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It is as it should be.
    Holds,
    /// It is not.
    Fails,
    /// Nobody could tell. That is no way of being fine.
    Unknown,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What it is of: a component, an HTTP check, the database.
    pub of: String,
    /// What is looked at.
    pub check: Check,
    /// How it stands.
    pub standing: Standing,
    /// What was found, in one line.
    pub found: String,
}

impl Row {
    /// What was found, and of what.
    fn told(&self) -> String {
        format!("{} ({}): {}", self.of, self.check, self.found)
    }
}

/// All checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Table(pub Vec<Row>);

/// How many checks a line of progress names.
const MOST_TOLD: usize = 3;

impl Table {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.iter().all(|row| row.standing == Standing::Holds)
    }

    /// Whether everything but the restarts is as it should be.
    pub(super) fn holds_but_restarts(&self) -> bool {
        self.0.iter().all(|row| row.standing == Standing::Holds || row.check == Check::Restarts)
    }

    /// The checks that do not hold.
    pub fn open(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(|row| row.standing != Standing::Holds)
    }

    /// What it comes to: other versions than wanted say more than anything else, and what is known to be wrong says more
    /// than what could not be told.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let fails = |row: &&Row| row.standing == Standing::Fails;
        if self.0.iter().filter(fails).any(|row| matches!(row.check, Check::Version | Check::Schema)) {
            Exit::Versions
        } else if self.0.iter().any(|row| row.standing == Standing::Fails) {
            Exit::Policy
        } else if self.holds() {
            Exit::Done
        } else {
            Exit::CouldNot
        }
    }

    /// What is waited for, in one line.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let watched = |row: &&Row| row.check == Check::Restarts && row.standing == Standing::Unknown;
        let open: Vec<String> = self.open().filter(|row| !watched(row)).map(Row::told).collect();
        if open.is_empty() {
            let watched: Vec<&str> = self.open().map(|row| row.of.as_str()).collect();
            return format!("the restarts of {} are watched", watched.join(", "));
        }
        let shown = open.iter().take(MOST_TOLD).cloned().collect::<Vec<_>>().join("; ");
        if open.len() > MOST_TOLD { format!("{shown}; and {} more", open.len() - MOST_TOLD) } else { shown }
    }

    /// What it came to, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        match (self.open().count(), self.0.len()) {
            (0, 1) => "verified: the one check holds".to_owned(),
            (0, all) => format!("verified: all {all} checks hold"),
            (1, all) => format!("not verified: 1 of {all} checks does not hold"),
            (open, all) => format!("not verified: {open} of {all} checks do not hold"),
        }
    }
}
