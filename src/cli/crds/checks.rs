//! `upgrade-guard crds checks`: what a comparison of CRDs looks at, from the one table of checks.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::cli::output::{COLUMNS, wrap};
use crate::cli::{Outcome, Output};
use crate::crds::check::{ROWS, Severity};

/// List the checks that a change of a CRD is looked at by.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print them as a Markdown page.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let text = if args.markdown { markdown() } else { table() };
    out.write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

/// The name of a severity, as policies write it.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "Error",
        Severity::Warn => "Warn",
        Severity::Off => "Off",
    }
}

fn table() -> String {
    let width = ROWS.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let indent = width + 11;
    let mut text = format!("{:width$}  {:7}  FINDS\n", "NAME", "DEFAULT");
    for row in ROWS {
        let mut lines = wrap(row.finds, COLUMNS - indent).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(text, "{:width$}  {:7}  {first}", row.name, severity(row.severity));
        for line in lines {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
    text.push_str(
        "\nDEFAULT is what holds where a policy says nothing (spec.crdChecks). \
         Write \"Off\" in quotes there:\nYAML takes it for false otherwise.\n",
    );
    text
}

/// The page `docs/crd-checks.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "<!-- Written by `upgrade-guard crds checks --markdown`; a test compares. -->\n# The checks of CRDs\n\nBefore CRDs \
         are applied, each is compared with the one that is installed: as a whole, version by version, and\nserved version \
         against served version. A policy may set each check by name in `spec.crdChecks`: `Error` keeps\nthe CRDs from \
         being applied, `Warn` only tells, `\"Off\"` does not look; write it in quotes, or YAML takes it for\n`false`. \
         What only allows more, such as a new optional field, is no difference.\n\n| check | default | finds |\n|---|---|---|\n",
    );
    for row in ROWS {
        let _ = writeln!(text, "| `{}` | {} | {} |", row.name, severity(row.severity), row.finds);
    }
    text
}
