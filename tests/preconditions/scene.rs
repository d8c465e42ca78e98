//! A namespace of its own, and the preconditions of a policy looked at in it.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use upgrade_guard::api::UpgradePolicy;
use upgrade_guard::domain::policy::Policy;
use upgrade_guard::hook::preconditions::{Found, RunStale, Where, evaluate};
use upgrade_guard::report::News;

use crate::support::cluster::{Cluster, Namespace};

pub(crate) struct Scene {
    pub(crate) cluster: &'static Cluster,
    pub(crate) client: Client,
    pub(crate) namespace: Namespace,
}

impl Scene {
    /// `None` when these tests are to be skipped.
    pub(crate) async fn open() -> Result<Option<Self>> {
        let Some(cluster) = Cluster::shared().await? else { return Ok(None) };
        let namespace = cluster.namespace("preconditions").await?;
        Ok(Some(Self { cluster, client: cluster.client().await?, namespace }))
    }

    /// Applies an object, in this namespace or without one.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        self.kubectl(&["apply", "-f", "-"], &object.to_string()).await.map(drop)
    }

    pub(crate) async fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        let all: Vec<&str> = ["-n", &self.namespace.name].into_iter().chain(args.iter().copied()).collect();
        let output = self.cluster.kubectl_with(&all, input).await?;
        ensure!(output.success, "kubectl {args:?}: {}", output.stderr);
        Ok(output.stdout)
    }

    /// What is found of `preconditions`, each a name, a kind and its fields, as text.
    pub(crate) async fn found(&self, preconditions: &Value, run: RunStale) -> Result<String> {
        let (found, _) = self.evaluated(&self.client, preconditions, run).await?;
        Ok(self.told(&found))
    }

    /// Lines of what was found, without what differs from run to run.
    pub(crate) fn told(&self, found: &[Found]) -> String {
        let line = |found: &Found| {
            let held = if found.held { "holds" } else { "does not hold" };
            format!("{} {held}: {}", found.name, found.message)
        };
        found.iter().map(line).collect::<Vec<String>>().join("\n").replace(&self.namespace.name, "NAMESPACE")
    }

    /// As [`Scene::found`], by a client of one's own, with everything that was said.
    pub(crate) async fn evaluated(
        &self,
        client: &Client,
        preconditions: &Value,
        run: RunStale,
    ) -> Result<(Vec<Found>, Vec<News>)> {
        let policy: UpgradePolicy = serde_json::from_value(json!({
            "apiVersion": "guard.gostoa.dev/v1alpha1",
            "kind": "UpgradePolicy",
            "metadata": {"name": "shop"},
            "spec": {
                "namespaces": [self.namespace.name],
                "components": [{"name": "api", "match": {"names": ["api"]}}, {"name": "ui", "match": {"names": ["ui"]}}],
                "preconditions": preconditions,
            },
        }))?;
        let read = Policy::try_from(&policy).context("the policy of a test")?;
        let install = Where { namespace: &self.namespace.name, policy: &read, spec: &policy.spec.preconditions };
        let mut news: Vec<News> = Vec::new();
        let found = evaluate(client, &install, Timestamp::now, run, &mut news).await;
        Ok((found, news))
    }

    /// A client of a ServiceAccount of this namespace that may do nothing but `rules`.
    pub(crate) async fn restricted(&self, rules: &Value) -> Result<Client> {
        let subject = json!([{"kind": "ServiceAccount", "name": "hook", "namespace": self.namespace.name}]);
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "hook"});
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hook"}},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "hook"}, "rules": rules},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "hook"},
             "roleRef": role, "subjects": subject},
        ]}))
        .await?;
        let mut config = self.cluster.config().await?;
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{}:hook", self.namespace.name));
        Ok(Client::try_from(config)?)
    }
}

/// A precondition with this name and kind.
pub(crate) fn of(name: &str, kind: &str, spec: Value) -> Value {
    let mut precondition = json!({"name": name});
    precondition[kind] = spec;
    precondition
}

/// So long ago, as Kubernetes writes times.
pub(crate) fn ago(time: &str) -> String {
    let at = Timestamp::now() - time.parse::<SignedDuration>().unwrap();
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
