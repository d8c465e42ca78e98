//! The answer as `JUnit` XML: a suite for each of the two reports, a case for each finding.

use std::fmt::Write as _;

use crate::database::finding::Finding;

use super::report::{Part, Report, Verdict, place};
use super::text::notes;

pub(super) fn xml(report: &Report) -> String {
    let mut suites = String::new();
    let (mut tests, mut failures) = (0, 0);
    for part in Part::ALL {
        let findings = report.of(part);
        let failed = findings.iter().filter(|(_, verdict)| *verdict == Verdict::Refused).count();
        let skipped = findings.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Waived(_))).count();
        let mut cases: Vec<String> = findings.iter().map(|(finding, verdict)| case(finding, *verdict)).collect();
        if cases.is_empty() {
            cases.push("    <testcase classname=\"migrations\" name=\"nothing found\"/>\n".to_owned());
        }
        tests += cases.len();
        failures += failed;
        let _ = writeln!(
            suites,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\">\n{}  </testsuite>",
            part.name(),
            cases.len(),
            cases.concat()
        );
    }
    let told = notes(report)
        .iter()
        .fold(String::new(), |told, note| format!("{told}<!-- {} -->\n", escape(note).replace("--", "- -")));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{told}<testsuites name=\"upgrade-guard lint\" tests=\"{tests}\" \
         failures=\"{failures}\">\n{suites}</testsuites>\n"
    )
}

fn case(finding: &Finding, verdict: Verdict<'_>) -> String {
    let revision = finding.revision.as_deref().map_or_else(|| "migrations".to_owned(), |id| format!("revision {id}"));
    let at = place(finding).map(|place| format!("{place}\n")).unwrap_or_default();
    let statement = finding.statement.as_deref().unwrap_or_default();
    let text = escape(&format!("{at}{statement}\nhash {}", finding.hash()));
    let message = escape(&format!("{}: {}", finding.object, finding.message));
    let inner = match verdict {
        Verdict::Refused => {
            format!("<failure type=\"{}\" message=\"{message}\">{text}</failure>", finding.check.name())
        }
        Verdict::Told => format!("<system-out>{message}\n{text}</system-out>"),
        Verdict::Waived(waiver) => format!("<skipped message=\"waived: {}\"/>", escape(&waiver.reason)),
    };
    let name = escape(&format!("{} {} {}", finding.check.name(), finding.object, finding.hash()));
    format!("    <testcase classname=\"{}\" name=\"{name}\">{inner}</testcase>\n", escape(&revision))
}

/// Text as XML 1.0 takes it, in attributes too; what it cannot hold becomes a replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b> & \"c\"\n'd'\u{0}"), "a&lt;b&gt; &amp; &quot;c&quot;&#10;&apos;d&apos;\u{fffd}");
    }
}
