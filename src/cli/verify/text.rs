//! The answer of `verify`, for people and for programs.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::cli::Output;
use crate::cli::output::{COLUMNS, wrap};
use crate::hook::Exit;
use crate::hook::verify::{Check, Standing, Table, Verified};

/// What `verify` has to say.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Whether all is well.
    pub verified: bool,
    /// The exit code.
    #[serde(rename = "exitCode", serialize_with = "code")]
    pub exit: Exit,
    /// In one line.
    pub message: String,
    /// Where it looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The policy's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What should run; nothing where it should be what the workloads ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Each check.
    pub checks: Table,
    /// What else there is to say.
    pub notes: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn code<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*exit as u8)
}

impl Told {
    /// What was found in `namespace`.
    #[must_use]
    pub fn of(namespace: &str, found: &Verified) -> Self {
        Self {
            verified: found.table.holds(),
            exit: found.table.exit(),
            message: found.table.summary(),
            namespace: Some(namespace.to_owned()),
            policy: Some(found.sight.policy.name.clone()),
            target: found.sight.wanted.target.clone(),
            checks: found.table.clone(),
            notes: vec![],
        }
    }

    /// Says that all is well and nobody will know: who asked for a mark did not get one.
    pub(super) fn is_not_noted(&mut self, why: &str) {
        self.exit = Exit::CouldNot;
        self.notes.push(format!("that could not be noted on the Platform: {why}; --no-record leaves it as it is"));
    }

    /// That nothing could be found, for this.
    #[must_use]
    pub fn failed(error: &str) -> Self {
        Self {
            verified: false,
            exit: Exit::CouldNot,
            message: format!("not verified: {error}"),
            namespace: None,
            policy: None,
            target: None,
            checks: Table::default(),
            notes: vec![],
        }
    }
}

/// Prints it as JSON.
///
/// # Errors
/// When it cannot be written.
pub fn print_json(told: &Told, out: &mut Output<'_>) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, told)?;
    writeln!(out)
}

/// Prints it as a table.
///
/// # Errors
/// When it cannot be written.
pub fn print(told: &Told, out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    if let (Some(namespace), Some(policy)) = (&told.namespace, &told.policy) {
        let target = told.target.as_deref().unwrap_or("what its workloads ask for");
        writeln!(out, "{}", paint.strong(&format!("{namespace}, policy {policy}: {target}")))?;
    }
    let width = told.checks.0.iter().map(|row| row.of.chars().count()).max().unwrap_or_default();
    // "  ok    NAME  restarts  "
    let before = 8 + width + 2 + 8 + 2;
    for row in &told.checks.0 {
        let mark = match row.standing {
            Standing::Holds => paint.good("ok   "),
            Standing::Fails => paint.bad("NO   "),
            Standing::Unknown => paint.caution("?    "),
        };
        let mut lines = wrap(&row.found, COLUMNS.saturating_sub(before).max(30)).into_iter();
        let check: Check = row.check;
        writeln!(out, "  {mark} {:width$}  {check:<8}  {}", row.of, lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(out, "{:before$}{line}", "")?;
        }
    }
    for note in &told.notes {
        writeln!(out, "note: {note}")?;
    }
    let shown = if told.verified { paint.good(&told.message) } else { paint.bad(&told.message) };
    writeln!(out, "{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Paint;
    use crate::hook::verify::Row;

    fn told(rows: Vec<Row>) -> Told {
        let table = Table(rows);
        Told {
            verified: table.holds(),
            exit: table.exit(),
            message: table.summary(),
            namespace: Some("stoa-system".to_owned()),
            policy: Some("stoa".to_owned()),
            target: Some("2026.07".to_owned()),
            checks: table,
            notes: vec![],
        }
    }

    fn row(of: &str, check: Check, standing: Standing, found: &str) -> Row {
        Row { of: of.to_owned(), check, standing, found: found.to_owned() }
    }

    fn rows() -> Vec<Row> {
        vec![
            row("control-plane-api", Check::Version, Standing::Holds, "running 2.3.0 (2/2 pods)"),
            row("stoa-gateway", Check::Version, Standing::Fails, "wanted 2.3.0: running 2.2.0 (2/2 pods)"),
            row("stoa-gateway", Check::Rollout, Standing::Fails, "its rollout to 2.3.0 is held"),
            row(
                "health",
                Check::Http,
                Standing::Fails,
                "http://stoa-gateway.stoa-system.svc:8080/health: answered 503, wanted 200",
            ),
            row("database", Check::Schema, Standing::Unknown, "wanted 4f1c, not looked at: DATABASE_URL is empty"),
        ]
    }

    fn printed(told: &Told, print: impl Fn(&Told, &mut Output<'_>) -> io::Result<()>) -> String {
        let mut text = Vec::new();
        print(told, &mut Output::new(&mut text, Paint::default())).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn people_see_a_table() {
        let good: Vec<Row> = rows().into_iter().take(1).collect();
        let mut noted = told(good);
        noted.notes.push("the guard has not written down every move as complete yet: is it running?".to_owned());
        let failed = Told::failed("cannot list UpgradePolicies: connection refused");
        let all = [told(rows()), noted, failed].map(|told| printed(&told, print));
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn programs_get_json() {
        insta::assert_snapshot!(printed(&told(rows()), print_json));
    }
}
