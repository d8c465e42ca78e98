//! The answer as SARIF.

use serde_json::{Value, json};

use crate::api::CrdSeverity;
use crate::cli::ci::sarif::{document, location};
use crate::database::check::Check;
use crate::database::finding::Finding;
use crate::database::lint::meaning;

use super::report::{Report, Verdict};
use super::text::notes;

/// Under which name the hash is a fingerprint: another way to compute it gets another name.
const FINGERPRINT: &str = "upgradeGuard/v1";

pub(super) fn sarif(report: &Report) -> Value {
    let rules: Vec<Value> = Check::ALL.iter().map(|check| rule(*check)).collect();
    let results: Vec<Value> = report.all().map(|(finding, verdict)| result(finding, verdict)).collect();
    document(&rules, &results, &notes(report))
}

fn rule(check: Check) -> Value {
    json!({
        "id": check.name(),
        "shortDescription": {"text": check.what()},
        "help": {"text": format!("{} What it means: {}.", check.what(), meaning(check))},
        "defaultConfiguration": match check.severity() {
            CrdSeverity::Error => json!({"level": "error"}),
            CrdSeverity::Warn => json!({"level": "warning"}),
            CrdSeverity::Off => json!({"enabled": false}),
        },
    })
}

fn result(finding: &Finding, verdict: Verdict<'_>) -> Value {
    let of = finding.revision.as_ref().map(|revision| format!("revision {revision}: ")).unwrap_or_default();
    let mut result = json!({
        "ruleId": finding.check.name(),
        "ruleIndex": Check::ALL.iter().position(|check| *check == finding.check),
        "level": if verdict == Verdict::Told { "warning" } else { "error" },
        "message": {"text": format!("{of}{}: {}", finding.object, finding.message)},
        "fingerprints": {FINGERPRINT: finding.hash()},
    });
    let place = finding.place.as_ref().map(|place| (place.file.as_path(), place.line.map(|line| line as u64)));
    result["locations"] = json!([location(&finding.object, place)]);
    if let Verdict::Waived(waiver) = verdict {
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": waiver.reason}]);
    }
    result
}
