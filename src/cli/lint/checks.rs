//! `upgrade-guard lint --checks`: what migrations are looked at by, from the one table of checks.

use std::fmt::Write as _;

use crate::api::CrdSeverity as Severity;
use crate::cli::output::{COLUMNS, wrap};
use crate::database::check::{Check, Kind};
use crate::database::lint::meaning;

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "Error",
        Severity::Warn => "Warn",
        Severity::Off => "Off",
    }
}

pub(super) fn table() -> String {
    let width = Check::ALL.iter().map(|check| check.name().len()).max().unwrap_or_default();
    let indent = width + 11;
    let mut text = format!("{:width$}  {:7}  FINDS\n", "NAME", "DEFAULT");
    for check in Check::ALL {
        let mut lines = wrap(check.what(), COLUMNS - indent).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(text, "{:width$}  {:7}  {first}", check.name(), severity(check.severity()));
        for line in lines {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
    text.push_str(
        "\nDEFAULT is what holds where a policy says nothing (spec.database.migrations.checks). \
         Write \"Off\" in\nquotes there: YAML takes it for false otherwise.\n",
    );
    text
}

/// The page `docs/migration-checks.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "<!-- Written by `upgrade-guard lint --checks --markdown`; a test compares. -->\n# The checks of migrations\n\nBefore \
         migrations run, what they do is looked at in two ways: they are tried on a copy of the schema, and\ntheir SQL is \
         read where it can be had. A policy may set each check by name in\n`spec.database.migrations.checks`: `Error` keeps \
         the migrations from running, `Warn` only tells, `\"Off\"` does\nnot look; write it in quotes, or YAML takes it for \
         `false`. What is made inside the range that is to be run\ndoes not count. Comments in SQL waive nothing; waivers are \
         in the policy (`waivers`: revision, check, hash,\nreason, expiry).\n",
    );
    for (title, kind, what) in [
        ("What breaks versions that do not know the revision", Kind::Breaking, ""),
        ("What changes a meaning", Kind::Semantic, ""),
        (
            "What locks",
            Kind::Lock,
            "Where the default is `Warn`, a table that `largeTable` calls large makes it `Error`, unless the policy sets the check.\n\n",
        ),
    ] {
        let _ = write!(text, "\n## {title}\n\n{what}| check | default | finds | what it means |\n|---|---|---|---|\n");
        for check in Check::ALL.iter().filter(|check| check.kind() == kind) {
            let default = severity(check.severity());
            let _ = writeln!(text, "| `{}` | {default} | {} | {} |", check.name(), check.what(), meaning(*check));
        }
    }
    text
}
