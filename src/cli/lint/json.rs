//! The answer for programs.

use serde_json::{Value, json};

use crate::database::check::Kind;
use crate::database::finding::{Engine, Finding};

use super::report::{Report, Verdict};

pub(super) fn json(report: &Report) -> Value {
    let findings: Vec<Value> = report.all().map(|(found, verdict)| finding(found, verdict)).collect();
    json!({
        "passes": report.judged.passes(),
        "findings": findings,
        "expiredWaivers": report.judged.expired,
        "unusedWaivers": report.judged.unused,
        "notes": report.notes,
    })
}

fn finding(finding: &Finding, verdict: Verdict<'_>) -> Value {
    let kind = match finding.check.kind() {
        Kind::Breaking => "breaking",
        Kind::Semantic => "semantic",
        Kind::Lock => "lock",
    };
    let (verdict, waiver) = match verdict {
        Verdict::Refused => ("refused", None),
        Verdict::Told => ("told", None),
        Verdict::Waived(waiver) => ("waived", Some(waiver)),
    };
    json!({
        "check": finding.check.name(),
        "kind": kind,
        "verdict": verdict,
        "waiver": waiver,
        "revision": finding.revision,
        "object": finding.object,
        "message": finding.message,
        "engine": match finding.engine { Engine::Catalog => "catalog", Engine::Sql => "sql" },
        "file": finding.place.as_ref().map(|place| place.file.display().to_string()),
        "line": finding.place.as_ref().and_then(|place| place.line),
        "statement": finding.statement,
        "largeTable": finding.large,
        "hash": finding.hash(),
    })
}
