//! Every query that the project gives to anybody: of the page of metrics, of the alerts, of the dashboard.

use std::path::{Path, PathBuf};

use serde_json::Value;
use upgrade_guard::server::metrics::DESCRIPTORS;

pub(crate) const ALERTS: &str = "charts/upgrade-guard/files/alerts.yaml";
pub(crate) const DASHBOARD: &str = "charts/upgrade-guard/files/dashboard.json";

/// A query, with the variables of the dashboard replaced.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// Where it stands: `example NAME`, `alert NAME`, `panel TITLE`.
    pub(crate) place: String,
    pub(crate) expr: String,
}

pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap()
}

/// All alerts, as they stand in the file.
pub(crate) fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read(ALERTS)).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

pub(crate) fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

/// The panels that show something, in their order.
pub(crate) fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

/// The variables that Grafana asks Prometheus for: their queries.
pub(crate) fn variables(dashboard: &Value) -> Vec<String> {
    let all = dashboard["templating"]["list"].as_array().unwrap().iter();
    let asked = all.filter(|variable| variable["type"] == "query");
    asked.map(|variable| replaced(variable["query"]["query"].as_str().unwrap())).collect()
}

fn replaced(expr: &str) -> String {
    let replaced = expr.replace("$namespace", ".*").replace("$policy", ".*").replace("$__rate_interval", "1m");
    assert!(!replaced.contains('$'), "a variable that nobody replaces: {expr}");
    replaced
}

pub(crate) fn all() -> Vec<Query> {
    let examples = DESCRIPTORS
        .iter()
        .map(|metric| Query { place: format!("example {}", metric.name), expr: metric.example.to_owned() });
    let alerts = alerts();
    let alerts = alerts.iter().map(|rule| Query {
        place: format!("alert {}", rule["alert"].as_str().unwrap()),
        expr: rule["expr"].as_str().unwrap().to_owned(),
    });
    let dashboard = dashboard();
    let panels = panels(&dashboard).into_iter().flat_map(|panel| {
        panel["targets"].as_array().unwrap().iter().map(|target| Query {
            place: format!("panel {}", panel["title"].as_str().unwrap()),
            expr: replaced(target["expr"].as_str().unwrap()),
        })
    });
    examples.chain(alerts).chain(panels).collect()
}
