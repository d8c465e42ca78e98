//! The answer as `JUnit` XML: a suite for each of the two reports, a case for each finding.

use super::report::{Part, Report, Verdict, place};
use super::text::notes;
use crate::cli::ci::junit::{Case, Ended, Suite, document};
use crate::database::finding::Finding;

pub(super) fn xml(report: &Report) -> String {
    let suites = Part::ALL.map(|part| suite(part, &report.of(part)));
    document("upgrade-guard lint", &suites, &notes(report))
}

fn suite(part: Part, findings: &[(&Finding, Verdict<'_>)]) -> Suite {
    let mut cases: Vec<Case> = findings.iter().map(|(finding, verdict)| case(finding, *verdict)).collect();
    if cases.is_empty() {
        let (class, name) = ("migrations".to_owned(), "nothing found".to_owned());
        cases.push(Case { class, name, ended: Ended::Passed });
    }
    Suite { name: part.name().to_owned(), cases }
}

fn case(finding: &Finding, verdict: Verdict<'_>) -> Case {
    let at = place(finding).map(|place| format!("{place}\n")).unwrap_or_default();
    let statement = finding.statement.as_deref().unwrap_or_default();
    let text = format!("{at}{statement}\nhash {}", finding.hash());
    let message = format!("{}: {}", finding.object, finding.message);
    Case {
        class: finding.revision.as_deref().map_or_else(|| "migrations".to_owned(), |id| format!("revision {id}")),
        name: format!("{} {} {}", finding.check.name(), finding.object, finding.hash()),
        ended: match verdict {
            Verdict::Refused => Ended::Failed { kind: finding.check.name().to_owned(), message, text },
            Verdict::Told => Ended::Told(format!("{message}\n{text}")),
            Verdict::Waived(waiver) => Ended::Skipped(format!("waived: {}", waiver.reason)),
        },
    }
}
