//! The answer as SARIF and as `JUnit`: a refusal is an error, a warning a warning, and each change a case.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::lint::{Finding, Place, Severity};
use super::report::{ChangeReport, InstallReport, Report};
use crate::cli::ci::{junit, sarif};
use crate::cli::reasons::ReasonReport;
use crate::domain::rules::ROWS;

/// Where each workload of the state after stands, by namespace and workload as the report names it.
pub(super) type Places = BTreeMap<(String, String), Place>;

/// The answer as SARIF.
pub(super) fn sarif(report: &Report, places: &Places) -> Value {
    let rule = |code: &str, what: &str| json!({"id": code, "shortDescription": {"text": what}});
    let rules: Vec<Value> = ROWS.iter().map(|row| rule(row.code, row.demands)).collect();
    let mut results = vec![];
    for install in &report.installs {
        let ahead = install.ahead.iter().map(|reason| ("note", reason));
        results.extend(ahead.map(|(level, reason)| result(level, reason, &install.namespace, None)));
        for change in &install.changes {
            let place = place_of(places, install, change);
            let errors = change.reasons.iter().map(|reason| ("error", reason));
            let warnings = change.warnings.iter().map(|reason| ("warning", reason));
            let audits = change.audits.iter().map(|reason| ("note", reason));
            let object = format!("{}/{}", install.namespace, change.workload);
            let of = errors.chain(warnings).chain(audits);
            results.extend(of.map(|(level, reason)| result(level, reason, &object, place)));
        }
    }
    results.extend(report.hooks.iter().map(of_hook));
    sarif::document(&rules, &results, &notes(report))
}

fn result(level: &str, reason: &ReasonReport, object: &str, place: Option<&Place>) -> Value {
    let at = place.map(|place| (Path::new(&place.file), place.line));
    json!({
        "ruleId": reason.code,
        "level": level,
        "message": {"text": reason.text},
        "locations": [sarif::location(object, at)],
    })
}

fn of_hook(finding: &Finding) -> Value {
    let level = if finding.severity == Severity::Error { "error" } else { "warning" };
    let at = (Path::new(&finding.origin.file), finding.origin.line);
    json!({
        "ruleId": finding.code,
        "level": level,
        "message": {"text": format!("{}: {} {}", finding.object, finding.message, finding.remedy)},
        "locations": [sarif::location(&finding.object, Some(at))],
    })
}

/// The answer as `JUnit` XML: a suite for each policy in each namespace, and one for the hooks.
pub(super) fn junit(report: &Report, places: &Places) -> String {
    let mut suites: Vec<junit::Suite> = report.installs.iter().map(|install| suite(install, places)).collect();
    if !report.hooks.is_empty() {
        let cases = report.hooks.iter().map(hook_case).collect();
        suites.push(junit::Suite { name: "hooks".to_owned(), cases });
    }
    junit::document("upgrade-guard check", &suites, &notes(report))
}

fn suite(install: &InstallReport, places: &Places) -> junit::Suite {
    let name = format!("{}, policy {}", install.namespace, install.policy);
    let mut cases: Vec<junit::Case> = install
        .changes
        .iter()
        .map(|change| junit::Case {
            class: install.namespace.clone(),
            name: title(change),
            ended: ended(change, place_of(places, install, change)),
        })
        .collect();
    if cases.is_empty() {
        let (class, name) = (install.namespace.clone(), "nothing changes".to_owned());
        cases.push(junit::Case { class, name, ended: junit::Ended::Passed });
    }
    junit::Suite { name, cases }
}

/// The workload and where its components go.
fn title(change: &ChangeReport) -> String {
    let steps = change.moves.iter().map(|step| {
        let from = step.from.as_deref().map_or_else(String::new, |from| format!("{from} -> "));
        format!(" {} {from}{}", step.component, step.to)
    });
    steps.fold(change.workload.clone(), |title, step| title + &step)
}

fn ended(change: &ChangeReport, place: Option<&Place>) -> junit::Ended {
    let lines = |reasons: &[ReasonReport]| {
        let texts: Vec<&str> = reasons.iter().map(|reason| reason.text.as_str()).collect();
        texts.join("\n")
    };
    match change.reasons.first() {
        Some(first) => junit::Ended::Failed {
            kind: first.code.to_owned(),
            message: first.text.clone(),
            text: [place.map(|place| place.text.clone()).unwrap_or_default(), lines(&change.reasons)]
                .join("\n")
                .trim()
                .to_owned(),
        },
        None if change.warnings.is_empty() => junit::Ended::Passed,
        None => junit::Ended::Told(lines(&change.warnings)),
    }
}

fn hook_case(finding: &Finding) -> junit::Case {
    let text = format!("{}\n{} {}", finding.origin.text, finding.message, finding.remedy);
    let ended = match finding.severity {
        Severity::Error => {
            junit::Ended::Failed { kind: finding.code.to_owned(), message: finding.message.clone(), text }
        }
        Severity::Warning => junit::Ended::Told(text),
    };
    junit::Case { class: "hooks".to_owned(), name: format!("{} {}", finding.code, finding.object), ended }
}

fn place_of<'a>(places: &'a Places, install: &InstallReport, change: &ChangeReport) -> Option<&'a Place> {
    places.get(&(install.namespace.clone(), change.workload.clone()))
}

fn notes(report: &Report) -> Vec<String> {
    let not_governed = report.not_governed.iter();
    let nobody = not_governed.map(|name| format!("no policy governs namespace {name}: everything is allowed there"));
    nobody.chain(report.notes.iter().cloned()).collect()
}
