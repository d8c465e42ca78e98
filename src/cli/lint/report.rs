//! What is told of findings and their verdict, whoever found them, in each of the formats.

use std::io::Write as _;

use crate::api::WaiverSpec;
use crate::cli::Output;
use crate::database::check::Kind;
use crate::database::finding::Finding;
use crate::database::judge::Judged;

use super::{json, junit, sarif, text};

/// How to print it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// `JUnit` XML, for test reports of CI.
    Junit,
}

/// The answer: findings of SQL, of a run on a copy, or of both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What was found, and what comes of it.
    pub judged: Judged,
    /// What else a reader should know, a line each.
    pub notes: Vec<String>,
}

/// What comes of one finding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict<'a> {
    Refused,
    Told,
    Waived(&'a WaiverSpec),
}

impl Report {
    /// All findings, the refused ones first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Finding, Verdict<'_>)> {
        let refused = self.judged.refused.iter().map(|finding| (finding, Verdict::Refused));
        let told = self.judged.warned.iter().map(|finding| (finding, Verdict::Told));
        let waived = self.judged.waived.iter().map(|(finding, waiver)| (finding, Verdict::Waived(waiver)));
        refused.chain(told).chain(waived)
    }

    /// The findings of one of the two reports: compatibility, or lock risk.
    pub(super) fn of(&self, part: Part) -> Vec<(&Finding, Verdict<'_>)> {
        self.all().filter(|(finding, _)| (finding.check.kind() == Kind::Lock) == (part == Part::Locks)).collect()
    }

    /// Prints it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print(&self, format: Format, out: &mut Output<'_>) -> std::io::Result<()> {
        match format {
            Format::Text => text::print(self, out),
            Format::Json => writeln!(out, "{:#}", json::json(self)),
            Format::Sarif => writeln!(out, "{:#}", sarif::sarif(self)),
            Format::Junit => out.write_all(junit::xml(self).as_bytes()),
        }
    }
}

/// A report of its own, with a policy of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Compatibility,
    Locks,
}

impl Part {
    pub(super) const ALL: [Self; 2] = [Self::Compatibility, Self::Locks];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Compatibility => "Compatibility",
            Self::Locks => "Lock risk",
        }
    }
}

/// The file, and the line where it is known.
pub(super) fn place(finding: &Finding) -> Option<String> {
    let place = finding.place.as_ref()?;
    let line = place.line.map(|line| format!(":{line}")).unwrap_or_default();
    Some(format!("{}{line}", place.file.display()))
}
