//! Two guards over one API server, each behind a proxy on both sides.
//!
//! The API server keeps one connection to a webhook, which would bring every review to the same guard. So there are two
//! registrations, told apart by the workload's name: requests for different components meet in different processes.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::platform::{API, UI};
use crate::proxy::{Faults, Proxy};
use crate::support::cluster::{Cluster, Shape};
use crate::support::guard::{Guard, install, make_certs, printed_registration, succeeded};

/// On the way from a guard to the API server: slow.
const SLOW: Faults = Faults { late: 100, by: 20, lost: 0 };
/// On the way of an answer back to the API server: slow, and now and then the guard is gone after it has decided.
const UNSURE: Faults = Faults { late: 200, by: 30, lost: 30 };

pub(crate) struct Replicas {
    pub(crate) cluster: Cluster,
    guards: Vec<Guard>,
    answers: Vec<Proxy>,
    _questions: Vec<Proxy>,
}

impl Replicas {
    /// `None` when these tests are skipped.
    pub(crate) async fn start(shape: Shape) -> Result<Option<Self>> {
        let Some(cluster) = Cluster::alone(shape).await? else { return Ok(None) };
        install(&cluster, &["manifests/crds/", "manifests/namespace.yaml", "manifests/rbac.yaml"]).await?;
        let certs = cluster.folder().join("certs");
        std::fs::create_dir(&certs)?;
        make_certs(&certs)?;
        let (mut guards, mut answers, mut questions) = (vec![], vec![], vec![]);
        let server = cluster.server().trim_start_matches("https://").to_owned();
        for seed in 1..=2 {
            let question = Proxy::to(server.clone(), SLOW, seed).await?;
            let guard = Guard::replica(&cluster, &certs, &format!("https://{}", question.address)).await?;
            answers.push(Proxy::to(guard.https().to_owned(), UNSURE, seed + 10).await?);
            questions.push(question);
            guards.push(guard);
        }
        let first = format!("object.metadata.name in ['{API}', '{UI}']");
        for (name, address, condition) in
            [("first", answers[0].address, first.clone()), ("second", answers[1].address, format!("!({first})"))]
        {
            let printed = printed_registration(&address.to_string(), &certs)?;
            let split = split(&printed, name, &condition)?;
            succeeded(cluster.kubectl_with(&["apply", "-f", "-"], &split.to_string()).await?)?;
        }
        Ok(Some(Self { cluster, guards, answers, _questions: questions }))
    }

    /// How many answers never arrived, and how many races the guards lost.
    pub(crate) async fn counts(&self) -> Result<(u64, f64)> {
        let mut races = 0.0;
        for guard in &self.guards {
            races += guard.metrics().await?.sum("upgrade_guard_lost_races_total", &[]);
        }
        Ok((self.answers.iter().map(Proxy::lost).sum(), races))
    }

    /// The guards' logs of one namespace.
    pub(crate) fn logs(&self, namespace: &str) -> String {
        self.guards.iter().map(|guard| guard.log_tail(namespace)).collect::<Vec<_>>().join("\n")
    }

    pub(crate) async fn stop(self) -> Result<()> {
        for guard in self.guards {
            guard.kill().await?;
        }
        self.cluster.stop().await
    }
}

/// The registration of workloads alone, under a name of its own and for what `condition` chooses.
fn split(printed: &str, name: &str, condition: &str) -> Result<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(printed)?;
    let mut found = documents.into_iter().find(|document| document["kind"] == "ValidatingWebhookConfiguration");
    let found = found.as_mut().context("a ValidatingWebhookConfiguration")?;
    found["metadata"]["name"] = json!(name);
    let webhooks = found["webhooks"].as_array_mut().context("webhooks")?;
    webhooks.retain(|webhook| webhook["name"].as_str().is_some_and(|name| name.starts_with("workloads.")));
    ensure!(webhooks.len() == 1, "{webhooks:?}");
    let conditions = webhooks[0]["matchConditions"].as_array_mut().context("conditions")?;
    conditions.push(json!({"name": "this-half", "expression": condition}));
    Ok(found.clone())
}
