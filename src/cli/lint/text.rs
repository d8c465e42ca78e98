//! The answer for people.

use std::io::{self, Write as _};

use crate::cli::Output;
use crate::cli::output::{COLUMNS, wrap};

use super::report::{Part, Report, Verdict, place};

pub(super) fn print(report: &Report, out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    for part in Part::ALL {
        let findings = report.of(part);
        let count = |wanted: fn(&Verdict<'_>) -> bool| findings.iter().filter(|(_, verdict)| wanted(verdict)).count();
        let counts = [
            (count(|verdict| *verdict == Verdict::Refused), "refused"),
            (count(|verdict| *verdict == Verdict::Told), "told"),
            (count(|verdict| matches!(verdict, Verdict::Waived(_))), "waived"),
        ];
        let told: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let told = if told.is_empty() { "nothing found".to_owned() } else { told.join(", ") };
        writeln!(out, "{}: {told}", paint.strong(part.name()))?;
        for (finding, verdict) in findings {
            let word = match verdict {
                Verdict::Refused => paint.bad("refused"),
                Verdict::Told => paint.caution("told   "),
                Verdict::Waived(_) => paint.good("waived "),
            };
            let of = finding.revision.as_ref().map(|revision| format!("revision {revision}"));
            let told: Vec<String> = of.into_iter().chain(place(finding)).collect();
            let large = if finding.large { " (a large table)" } else { "" };
            let at = if told.is_empty() { String::new() } else { format!(" [{}]", told.join(", ")) };
            writeln!(out, "  {word}  {}  {}{large}{at}", finding.check.name(), finding.object)?;
            for line in wrap(&finding.message, COLUMNS - 11) {
                writeln!(out, "           {line}")?;
            }
            if let Verdict::Waived(waiver) = verdict {
                writeln!(out, "           waived: {}", waiver.reason)?;
            }
        }
    }
    for note in notes(report) {
        writeln!(out, "note: {note}")?;
    }
    let waivers = report.judged.waivers_to_paste();
    if !waivers.is_empty() {
        writeln!(out, "\nWhoever accepts what is refused writes why into spec.database.migrations of the policy:\n")?;
        for line in waivers.lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

/// All that a reader should know beside the findings.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let expired = report.judged.expired.iter().map(|waiver| {
        let until = waiver.expires.as_ref().map(|until| format!(" ran out at {}", until.0)).unwrap_or_default();
        format!("the waiver {} of {} in revision {}{until}", waiver.hash, waiver.check, waiver.revision)
    });
    let unused = report.judged.unused.iter().map(|waiver| {
        format!(
            "the waiver {} of {} in revision {} is of nothing that is found here",
            waiver.hash, waiver.check, waiver.revision
        )
    });
    report.notes.iter().cloned().chain(expired).chain(unused).collect()
}
