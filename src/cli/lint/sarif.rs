//! The answer as SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format), as code scanning reads it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::api::CrdSeverity;
use crate::database::check::Check;
use crate::database::finding::Finding;
use crate::database::lint::meaning;

use super::report::{Report, Verdict};
use super::text::notes;

/// Under which name the hash is a fingerprint: another way to compute it gets another name.
const FINGERPRINT: &str = "upgradeGuard/v1";

pub(super) fn sarif(report: &Report) -> Value {
    let results: Vec<Value> = report.all().map(|(finding, verdict)| result(finding, verdict)).collect();
    let told: Vec<Value> =
        notes(report).into_iter().map(|note| json!({"level": "note", "message": {"text": note}})).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "upgrade-guard",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": Check::ALL.iter().map(|check| rule(*check)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": told}],
            "results": results,
        }],
    })
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
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": finding.object}]});
    if let Some(place) = &finding.place {
        location["physicalLocation"] = json!({"artifactLocation": {"uri": uri(&place.file)}});
        if let Some(line) = place.line {
            location["physicalLocation"]["region"] = json!({"startLine": line});
        }
    }
    result["locations"] = json!([location]);
    if let Verdict::Waived(waiver) = verdict {
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": waiver.reason}]);
    }
    result
}

/// A path as a relative reference of RFC 3986, or a `file` URI.
fn uri(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "" });
    for byte in text.strip_prefix("./").unwrap_or(&text).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        for (path, expected) in
            [("./db/a b.sql", "db/a%20b.sql"), ("/x/é#.sql", "file:///x/%C3%A9%23.sql"), ("c:1.sql", "c%3A1.sql")]
        {
            assert_eq!(uri(Path::new(path)), expected);
        }
    }
}
