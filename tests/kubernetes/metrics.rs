//! Every query that the project gives to anybody, asked from a real Prometheus that scrapes the real guard while an upgrade
//! is held, another is refused, a third passes by an override, and a migration has failed.

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use upgrade_guard::server::metrics::LABELS;

use super::controller::{platforms, status, until};
use super::overrides::{give_rights, override_by_jane};
use super::platform::{API, PORTAL, UI, set, set_held};
use super::prometheus::Prometheus;
use super::queries::{ALERTS, Query, all, dashboard, in_repository, variables};
use super::scene::{Scene, scenario_under};
use crate::support::wait::eventually;

/// Queries that give nothing where all is well with the guard itself, and why. Alerts are all of this kind: `tests/prometheus`
/// shows when they fire, and two of them fire here.
const EMPTY: [(&str, &str); 6] = [
    ("alert ", "most of what they warn of does not happen here"),
    ("upgrade_guard_watch_failing_since_timestamp_seconds > 0", "no watch fails"),
    ("max by (pod, kind) (upgrade_guard_watch_failing_since_timestamp_seconds) > 0", "no watch fails"),
    (
        "upgrade_guard_certificate_authority_not_after_timestamp_seconds > 0",
        "the test writes the bundle, not the guard",
    ),
    ("upgrade_guard_certificate_rotations_total", "the certificates are the test's"),
    ("upgrade_guard_ca_bundle_writes_total", "the test writes the bundle, not the guard"),
];

/// Whether the query is one that may give nothing.
fn may_be_empty(query: &Query) -> bool {
    EMPTY.iter().any(|(part, _)| query.expr.contains(part) || query.place.starts_with(part))
}

#[tokio::test]
async fn every_query_is_answered_while_an_upgrade_is_under_way() -> Result<()> {
    let hold = |policy: &mut serde_json::Value| policy["spec"]["onNotYet"] = json!("Hold");
    scenario_under("metrics", hold, async |scene| {
        let prometheus = Prometheus::start(scene.guard.ops(), &in_repository(ALERTS)).await?;
        play(scene).await?;
        let all = all();
        for (part, why) in EMPTY {
            let is_of_it = |query: &Query| query.expr.contains(part) || query.place.starts_with(part);
            ensure!(all.iter().any(is_of_it), "no query has '{part}' any more, which gives nothing because {why}");
        }
        // Rates need two scrapes.
        eventually("every query to give something", async || {
            let mut without = Vec::new();
            for query in &all {
                let given = prometheus.query(&query.expr).await.with_context(|| query.place.clone())?;
                if given.is_empty() && !may_be_empty(query) {
                    without.push(format!("{}: {}", query.place, query.expr));
                }
            }
            Ok(if without.is_empty() { Ok(()) } else { Err(without) })
        })
        .await?;
        variables_have_values(&prometheus, scene).await?;
        alerts_are_evaluated(&prometheus, scene).await?;
        labels_have_the_values_of_the_table(&prometheus).await
    })
    .await
}

/// One of everything: the gateway goes by an override, the portal is held, the console is refused, the API rolls out, and
/// the hook has told of a migration that failed.
async fn play(scene: &Scene<'_>) -> Result<()> {
    scene.install("2.2.0").await?;
    give_rights(scene).await?;
    override_by_jane(scene, "2.3.0").await?;
    scene.passes(&set_held("deployments", API, "2.3.0")).await?;
    scene.warned(&set(PORTAL, "2.3.0"), "is held").await?;
    scene.refused(&set(UI, "2.6.0"), "[UG-HOP]").await?;
    let failed = json!({"status": {"database": {
        "heads": ["041"],
        "source": "Hook",
        "observed": "2026-07-01T10:00:00Z",
        "migrations": [{"target": "api=2.3.0", "started": "2026-07-01T10:00:00Z", "seconds": 7, "outcome": "HalfWay",
            "message": "a statement failed"}],
    }}});
    platforms(scene).patch_status(&scene.namespace, &PatchParams::default(), &Patch::Merge(failed)).await?;
    let told = |platform: &upgrade_guard::api::Platform| {
        let status = status(platform);
        status.database.is_some() && status.blocked.len() > 1
    };
    until(scene, "what was refused and what is held", told).await.map(drop)
}

/// What Grafana offers to choose from.
async fn variables_have_values(prometheus: &Prometheus, scene: &Scene<'_>) -> Result<()> {
    for variable in variables(&dashboard()) {
        let asked = variable.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = asked.and_then(|rest| rest.rsplit_once(", ")).context("label_values(SERIES, LABEL)")?;
        let values = prometheus.ask(&format!("/api/v1/label/{label}/values"), &[("match[]", series)]).await?;
        ensure!(values.as_array().is_some_and(|all| all.contains(&json!(scene.namespace))), "{variable}: {values}");
    }
    Ok(())
}

/// Prometheus evaluates every rule without trouble, and what happened here is told.
async fn alerts_are_evaluated(prometheus: &Prometheus, scene: &Scene<'_>) -> Result<()> {
    eventually("the rules to be evaluated", async || {
        let groups = prometheus.ask("/api/v1/rules", &[]).await?;
        let rules = groups["groups"].as_array().context("groups")?.iter().filter_map(|group| group["rules"].as_array());
        let ill: Vec<_> = rules.flatten().filter(|rule| rule["health"] != "ok").cloned().collect();
        Ok(if ill.is_empty() { Ok(()) } else { Err(ill) })
    })
    .await?;
    for alert in ["UpgradeGuardMigrationFailed", "UpgradeGuardOverrideInUse"] {
        let firing = format!(r#"ALERTS{{alertname="{alert}",alertstate="firing",namespace="{}"}}"#, scene.namespace);
        eventually(alert, async || {
            let found = prometheus.query(&firing).await?;
            Ok(if found.len() == 1 { Ok(()) } else { Err(found) })
        })
        .await?;
    }
    let wrong =
        prometheus.query(r#"ALERTS{alertname=~"UpgradeGuard(Down|NoLeader|Cert.*)",alertstate="firing"}"#).await?;
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

/// Where the table says which values a label has, there are no others.
async fn labels_have_the_values_of_the_table(prometheus: &Prometheus) -> Result<()> {
    for label in LABELS.iter().filter(|label| !label.values.is_empty()) {
        let path = format!("/api/v1/label/{}/values", label.name);
        let values = prometheus.ask(&path, &[("match[]", r#"{__name__=~"upgrade_guard_.*"}"#)]).await?;
        for value in values.as_array().context("values")? {
            let known = value.as_str().is_some_and(|value| label.values.contains(&value));
            ensure!(known, "the table does not know that {} may be {value}", label.name);
        }
    }
    Ok(())
}
