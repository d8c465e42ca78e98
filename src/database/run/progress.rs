//! What the migrator says while it works, and why it failed.

use super::STEP;
use super::secrets::Secrets;
use crate::database::migrator::Said;
use crate::report::{Report, Stage};

/// How many of the last lines of a program that failed are told.
const TAIL: usize = 25;

/// The revisions that Alembic tells of on its standard error, where the project's logging lets it.
pub(super) struct Progress<'a> {
    steps: &'a [String],
    /// Those that it told of so far, in their order.
    pub(super) revisions: Vec<String>,
}

impl<'a> Progress<'a> {
    /// `steps` are those that are to come, as far as they are known.
    pub(super) fn new(steps: &'a [String]) -> Self {
        Self { steps, revisions: vec![] }
    }

    /// Hears a line.
    pub(super) fn line(&mut self, line: &str, secrets: &Secrets, report: &mut dyn Report) {
        let Some(step) = step(line) else { return };
        let count = match self.steps.iter().position(|known| known == step.revision) {
            Some(index) => format!(" ({} of {})", index + 1, self.steps.len()),
            None => String::new(),
        };
        let title = if step.title.is_empty() { String::new() } else { format!(": {}", step.title) };
        let text = format!("{} {}{count}{title}", step.verb, step.revision);
        report.say(STEP, Stage::Progress, secrets.masked(&text));
        self.revisions.push(step.revision.to_owned());
    }
}

/// Tells the last words of a program that failed.
pub(super) fn tail(said: &Said, secrets: &Secrets, report: &mut dyn Report) {
    let text = if said.err.trim().is_empty() { &said.out } else { &said.err };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
        report.say(STEP, Stage::Progress, secrets.masked(&format!("| {line}")));
    }
}

/// A revision that is begun.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    verb: &'static str,
    revision: &'a str,
    title: &'a str,
}

/// Reads `INFO  [alembic.runtime.migration] Running upgrade a, b -> c, title`, in whatever form it is logged.
fn step(line: &str) -> Option<Step<'_>> {
    let verbs = [("Running upgrade ", "upgrade to"), ("Running downgrade ", "downgrade of")];
    let (rest, verb) = verbs.iter().find_map(|(says, verb)| Some((line.split_once(says)?.1, *verb)))?;
    let (from, to) = rest.split_once("-> ").or_else(|| Some((rest.strip_suffix("->")?, "")))?;
    let (to, title) = to.split_once(", ").unwrap_or((to, ""));
    let revision = if verb == "upgrade to" { to } else { from.trim().split(", ").next().unwrap_or_default() };
    (!revision.is_empty()).then(|| Step { verb, revision: revision.trim(), title: title.trim() })
}

/// Why it failed, in one line: Python's exception, else its last words. `SQLAlchemy` ends with the statement and a link.
pub(super) fn why(said: &Said) -> String {
    let exception = said.err.lines().rfind(|line| {
        let Some((name, text)) = line.split_once(": ") else { return false };
        let named = name.contains('.') || name.ends_with("Error") || name.ends_with("Exception") || name == "FAILED";
        named && !text.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._".contains(letter))
    });
    exception.map_or_else(|| said.last_words(), |line| line.trim().to_owned())
}

/// Where in which revision's file it failed, as the traceback says it.
pub(super) fn place(text: &str) -> Option<String> {
    let frame = text.lines().map(str::trim).rfind(|line| {
        line.starts_with("File \"") && (line.ends_with(", in upgrade") || line.ends_with(", in downgrade"))
    })?;
    let (file, rest) = frame.strip_prefix("File \"")?.split_once("\", line ")?;
    let name = file.rsplit('/').next()?;
    Some(format!("{name}, line {}", rest.split(',').next()?))
}

/// Whether it waited too long for a lock: SQLSTATE 55P03, as drivers name it.
pub(super) fn lock_timeout(said: &Said) -> bool {
    let names = ["LockNotAvailable", "55P03", "due to lock timeout"];
    names.iter().any(|name| said.err.contains(name) || said.out.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_in_whatever_form_it_is_logged() {
        let step = |verb, revision, title| Some(Step { verb, revision, title });
        for (line, expected) in [
            (
                "INFO  [alembic.runtime.migration] Running upgrade  -> a1, first, of all",
                step("upgrade to", "a1", "first, of all"),
            ),
            ("{\"message\": \"Running upgrade a1, b1 -> m2, merge\"}", step("upgrade to", "m2", "merge\"}")),
            ("Running upgrade a1 -> b2", step("upgrade to", "b2", "")),
            ("Running downgrade b2 -> a1, second", step("downgrade of", "b2", "second")),
            ("Running downgrade a1 -> , first", step("downgrade of", "a1", "first")),
            ("Running stamp_revision  -> a1", None),
            ("Context impl PostgresqlImpl.", None),
        ] {
            assert_eq!(super::step(line), expected, "{line}");
        }
    }

    #[test]
    fn a_failure_is_told_by_its_exception_and_its_place() {
        let err = "Traceback (most recent call last):\n  File \"/x/env.py\", line 9, in online\n    run()\n\
                   \x20 File \"/app/versions/b2.py\", line 12, in upgrade\n    op.execute(\"x: y\")\n\
                   sqlalchemy.exc.OperationalError: (psycopg.errors.LockNotAvailable) canceling statement due to lock timeout\n\
                   [SQL: ALTER TABLE a: b]\n(Background on this error at: https://sqlalche.me/e/20/e3q8)\n";
        let said = Said { code: Some(1), out: String::new(), err: err.to_owned() };
        assert_eq!(
            why(&said),
            "sqlalchemy.exc.OperationalError: (psycopg.errors.LockNotAvailable) canceling statement due to lock timeout"
        );
        assert_eq!(place(&said.err).as_deref(), Some("b2.py, line 12"));
        assert!(lock_timeout(&said));
        let said = Said { code: Some(3), out: "nothing of it".to_owned(), err: "psql: oh no\n".to_owned() };
        assert_eq!((why(&said).as_str(), place(&said.err)), ("psql: oh no (exit code 3)", None));
        assert!(!lock_timeout(&said));
    }
}
