//! `upgrade-guard rules`: what the guard demands, from the one table of rules.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::bail;

use super::output::{COLUMNS, wrap};
use super::{Outcome, Output};
use crate::domain::rules::{ROWS, Row, Rule};

/// List the rules, or explain one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rule to explain, for example UG-ORDER.
    code: Option<String>,

    /// Print all rules as a Markdown page.
    #[arg(long, conflicts_with = "code")]
    markdown: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let text = match &args.code {
        _ if args.markdown => markdown(),
        None => table(),
        Some(code) => match Rule::with_code(&code.to_uppercase()) {
            Some(rule) => page(rule.row()),
            None => bail!("there is no rule '{code}'; there are {}", codes().join(", ")),
        },
    };
    out.write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

fn codes() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.code).collect()
}

/// The mode as a person reads it; a rule that nothing checks has none yet.
fn mode(row: &Row) -> &'static str {
    if row.in_force { row.default_mode.as_str() } else { "reserved" }
}

fn table() -> String {
    let code_width = codes().iter().map(|code| code.len()).max().unwrap_or_default();
    let mode_width = ROWS.iter().map(|row| mode(row).len()).max().unwrap_or_default();
    let indent = code_width + mode_width + 4;
    let mut text = format!("{:code_width$}  {:mode_width$}  DEMANDS\n", "CODE", "MODE");
    for row in &ROWS {
        let mut lines = wrap(row.demands, COLUMNS - indent).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(text, "{:code_width$}  {:mode_width$}  {first}", row.code, mode(row));
        for line in lines {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
    text.push_str(
        "\nMODE is what holds where a policy says nothing (spec.modes); nothing checks a reserved rule yet.\n",
    );
    text
}

fn page(row: &Row) -> String {
    let in_force = if row.in_force { "yes" } else { "no, its code is reserved" };
    let mut text = String::new();
    for (name, value) in [
        ("Rule", row.code),
        ("Demands", row.demands),
        ("Remedy", row.remedy),
        ("Default mode", row.default_mode.as_str()),
        ("In force", in_force),
    ] {
        for (number, line) in wrap(value, COLUMNS - 14).into_iter().enumerate() {
            let _ = writeln!(text, "{:12}  {line}", if number == 0 { name } else { "" });
        }
    }
    text
}

/// The page `docs/rules.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "<!-- Written by `upgrade-guard rules --markdown`; a test compares. -->\n# The rules\n\nA refusal begins with the \
         code of its rule. A policy may set the mode of each in `spec.modes`: `Enforce` refuses,\n`Warn` admits with a \
         warning, `Audit` only records.\n\n| code | default mode | in force |\n|---|---|---|\n",
    );
    for row in &ROWS {
        let in_force = if row.in_force { "yes" } else { "reserved" };
        let _ = writeln!(
            text,
            "| [`{0}`](#{1}) | {2} | {in_force} |",
            row.code,
            row.code.to_lowercase(),
            row.default_mode.as_str()
        );
    }
    for row in &ROWS {
        let _ = write!(text, "\n## {}\n\n{}\n\n**What to do:** {}\n", row.code, row.demands, row.remedy);
    }
    text
}
