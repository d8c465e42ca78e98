//! What people are given to look at the metrics: alerts, dashboard and queries speak of metrics that there are, and alerts
//! fire when they should. `kubernetes/metrics.rs` asks all of it from a real Prometheus.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

#[allow(dead_code, reason = "what other test files use")]
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "prometheus/queries.rs"]
mod queries;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use upgrade_guard::server::metrics::{DESCRIPTORS, Descriptor, Kind, LABELS};

use queries::{ALERTS, Query, alerts, dashboard, in_repository, panels, variables};

/// The labels that a scrape adds, and that of histograms.
const OF_THE_SCRAPE: [&str; 5] = ["job", "instance", "namespace", "pod", "le"];

/// A metric of the guard.
static METRIC: LazyLock<Regex> = LazyLock::new(|| Regex::new("(upgrade_guard_[a-z0-9_]+)").unwrap());
/// The labels that something is grouped by.
static GROUPED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:by|on|without|ignoring) ?\(([a-z_, ]*)\)").unwrap());
/// A label and what it is compared with.
static MATCHED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"([a-z_]+)(?:=~|!~|!=|=)"([^"]*)""#).unwrap());
/// A label in a legend.
static SHOWN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{([a-z_]+)\}\}").unwrap());

/// The first thing that is captured by each match.
fn captures<'a>(pattern: &Regex, text: &'a str) -> Vec<&'a str> {
    pattern.captures_iter(text).map(|found| found.get(1).unwrap().as_str()).collect()
}

/// The metrics that a query names, and what is wrong with the names.
fn metrics(query: &Query) -> Result<Vec<&'static Descriptor>, String> {
    let names = captures(&METRIC, &query.expr);
    let known = |name: &&str| {
        let is = |metric: &&Descriptor| match metric.kind {
            Kind::Histogram(_) => {
                ["_bucket", "_sum", "_count"].iter().any(|end| *name == format!("{}{end}", metric.name))
            }
            Kind::Counter | Kind::Gauge => *name == metric.name,
        };
        DESCRIPTORS.iter().find(is).ok_or_else(|| format!("{}: there is no metric {name}", query.place))
    };
    names.iter().map(known).collect()
}

/// What is wrong with the labels of a query, and with the values that it compares them with.
fn trouble_with_labels(query: &Query, metrics: &[&Descriptor]) -> Vec<String> {
    let Query { place, expr } = query;
    let has =
        |label: &str| OF_THE_SCRAPE.contains(&label) || metrics.iter().any(|metric| metric.labels.contains(&label));
    let grouped = captures(&GROUPED, expr);
    let grouped = grouped.into_iter().flat_map(|labels| labels.split(", "));
    let matched = captures(&MATCHED, expr);
    let unknown = grouped.chain(matched).filter(|label| !has(label));
    let mut found: Vec<String> = unknown.map(|label| format!("{place}: no metric there has a label {label}")).collect();
    for matcher in MATCHED.captures_iter(expr) {
        let label = LABELS.iter().find(|label| label.name == &matcher[1]);
        for value in matcher[2].split('|').filter(|value| *value != ".*") {
            if label.is_some_and(|label| !label.values.is_empty() && !label.values.contains(&value)) {
                found.push(format!("{place}: {} is never {value}", &matcher[1]));
            }
        }
    }
    found
}

fn trouble(query: &Query) -> Vec<String> {
    match metrics(query) {
        Ok(metrics) => trouble_with_labels(query, &metrics),
        Err(unknown) => vec![unknown],
    }
}

#[test]
fn every_query_names_metrics_labels_and_values_that_there_are() {
    let all = queries::all();
    let wrong: Vec<String> = all.iter().flat_map(trouble).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let used: BTreeSet<&str> =
        all.iter().filter_map(|query| metrics(query).ok()).flatten().map(|one| one.name).collect();
    assert_eq!(used.len(), DESCRIPTORS.len(), "an example asks for each");
}

#[test]
fn a_query_with_a_wrong_name_is_found() {
    for (expr, expected) in [
        ("upgrade_guard_leader", ""),
        ("upgrade_guard_leaders", "there is no metric upgrade_guard_leaders"),
        ("upgrade_guard_review_duration_seconds", "there is no metric upgrade_guard_review_duration_seconds"),
        ("sum by (kind, pod) (upgrade_guard_leader)", "no metric there has a label kind"),
        (r#"upgrade_guard_held{comp="x"}"#, "no metric there has a label comp"),
        (r#"upgrade_guard_migration_state{state=~"Undone|Broken"}"#, "state is never Broken"),
    ] {
        let found = trouble(&Query { place: "here".to_owned(), expr: expr.to_owned() });
        let expected: Vec<String> =
            expected.split('\n').filter(|one| !one.is_empty()).map(|one| format!("here: {one}")).collect();
        assert_eq!(found, expected, "{expr}");
    }
}

fn promtool(args: &[&str]) {
    let output = Command::new(prometheus::programs().unwrap().join("promtool"))
        .args(args)
        .current_dir(in_repository("tests/prometheus"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "promtool {args:?}: {text}");
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", in_repository(ALERTS).to_str().unwrap()]);
    promtool(&["test", "rules", "alerts_test.yaml"]);
}

#[test]
fn every_alert_is_tested_and_tells_what_to_do() {
    let tests: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(in_repository("tests/prometheus/alerts_test.yaml")).unwrap())
            .unwrap();
    let cases = tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let (silent, firing): (Vec<&Value>, Vec<&Value>) =
        cases.partition(|case| case["exp_alerts"].as_array().is_some_and(Vec::is_empty));
    let is_tested = |cases: &[&Value], name: &str| cases.iter().any(|case| case["alertname"] == name);
    let troubleshooting = std::fs::read_to_string(in_repository("docs/troubleshooting.md")).unwrap();
    for rule in alerts() {
        let name = rule["alert"].as_str().unwrap();
        assert!(is_tested(&silent, name) && is_tested(&firing, name), "{name}: shown to fire, and not to fire");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let annotations = &rule["annotations"];
        let text = |key: &str| annotations[key].as_str().unwrap_or_else(|| panic!("{name}: {key}"));
        let anchor = format!("docs/troubleshooting.md#{}", name.to_lowercase());
        assert!(text("runbook_url").ends_with(&anchor), "{name}: {}", text("runbook_url"));
        let heading = format!("### {name}");
        assert!(troubleshooting.lines().any(|line| line == heading), "{name}: docs/troubleshooting.md speaks of it");
        assert!(!text("summary").contains('\n') && text("summary").ends_with('.'), "{name}: one sentence");
        let description = text("description");
        assert!(
            ["kubectl ", "upgrade-guard status"].iter().any(|next| description.contains(next)),
            "{name}: a command"
        );
    }
}

/// The panels and units that the dashboard may use: all of them are in Grafana 10 and 11.
const PANELS: [&str; 4] = ["row", "stat", "table", "timeseries"];
const UNITS: [&str; 4] = ["none", "s", "ops", "reqps"];

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard = dashboard();
    assert!(dashboard["id"].is_null(), "an id is of one Grafana");
    let all = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "panels are told apart");
    let mut taken = BTreeSet::new();
    for panel in all {
        let title = panel["title"].as_str().unwrap();
        assert!(PANELS.contains(&panel["type"].as_str().unwrap()), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is as wide as the page at most");
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert((x, y)), "{title} lies on another");
        }
    }
    let source = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().unwrap();
        let sources = targets.iter().map(|target| &target["datasource"]).chain([&panel["datasource"]]);
        assert!(sources.into_iter().all(|found| *found == source), "{title}: the source is chosen above");
        let refs: BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(refs.len(), targets.len(), "{title}");
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(UNITS.contains(&defaults["unit"].as_str().unwrap()), "{title}: {}", defaults["unit"]);
        let steps = defaults["thresholds"]["steps"].as_array().cloned().unwrap_or_default();
        let values: Vec<Option<f64>> = steps.iter().map(|step| step["value"].as_f64()).collect();
        assert!(values.iter().skip(1).all(Option::is_some) && values.is_sorted(), "{title}: {steps:?}");
    }
    assert_eq!(variables(&dashboard).len(), 2, "namespace and policy");
}

#[test]
fn the_dashboard_shows_labels_that_its_queries_give() {
    for panel in panels(&dashboard()) {
        let title = panel["title"].as_str().unwrap();
        let exprs = panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap());
        let given: BTreeSet<&str> =
            exprs.flat_map(|expr| captures(&GROUPED, expr)).flat_map(|labels| labels.split(", ")).collect();
        for target in panel["targets"].as_array().unwrap() {
            for label in captures(&SHOWN, target["legendFormat"].as_str().unwrap()) {
                assert!(given.contains(label), "{title}: nothing gives {label}");
            }
        }
        let columns = panel["transformations"].as_array().into_iter().flatten();
        for column in
            columns.filter_map(|one| one["options"]["renameByName"].as_object()).flat_map(|names| names.keys())
        {
            assert!(given.contains(column.as_str()) || column.starts_with("Value"), "{title}: nothing gives {column}");
        }
    }
}
