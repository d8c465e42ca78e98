//! A real API server takes every object of every case, in a namespace where pods must be as restricted as can be.

use anyhow::{Context as _, Result, ensure};

use crate::helm::{documents, in_repository, name, rendered};
use crate::matrix::CASES;
use crate::support::cluster::{Cluster, Shape};
use crate::support::guard::{install, succeeded};

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata:
  name: upgrade-guard
  labels: {pod-security.kubernetes.io/warn: restricted, pod-security.kubernetes.io/enforce: restricted}
";

#[tokio::test]
async fn the_api_server_takes_every_object_without_a_warning() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    succeeded(cluster.kubectl_with(&["apply", "-f", "-"], NAMESPACE).await?)?;
    install(&cluster, &["tests/fixtures/chart/kinds.yaml"]).await?;
    for (case, options) in CASES {
        let text = rendered(&[&["--include-crds"], options].concat());
        taken(&cluster, &text).await.context(case)?;
    }
    // The other way to install has the same objects, and a namespace.
    let args = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-k"];
    let folder = in_repository("manifests");
    let output = cluster.kubectl(&[&args, &[folder.to_str().unwrap()][..]].concat()).await?;
    // The namespace was made in another way, which is all there is to say.
    let warned = output.stderr.lines().any(|line| line.contains("Warning") && !line.contains("last-applied"));
    ensure!(output.success && !warned, "kustomize: {}", output.stderr);
    cluster.stop().await
}

/// The API server would store every object in `text`, and warns of none.
async fn taken(cluster: &Cluster, text: &str) -> Result<()> {
    let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-"];
    let output = cluster.kubectl_with(&dry, text).await?;
    ensure!(output.success, "{}", output.stderr);
    ensure!(output.stderr.is_empty(), "it warns: {}", output.stderr);
    let taken = output.stdout.lines().filter(|line| line.ends_with("serverside-applied (server dry run)")).count();
    let names: Vec<String> = documents(text).iter().map(name).collect();
    ensure!(taken == names.len(), "{taken} of {names:?}: {}", output.stdout);
    Ok(())
}

#[tokio::test]
async fn what_a_pod_may_not_be_would_be_noticed() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    succeeded(cluster.kubectl_with(&["apply", "-f", "-"], NAMESPACE).await?)?;
    // A warning stands for what the namespace would not let run, a fault of the text for what is no field.
    for (good, bad, told) in [
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "would violate PodSecurity"),
        ("revisionHistoryLimit: 3", "revisionHistory: 3", "field not declared in schema"),
        ("oldObject == null", "oldObject = null", "compilation failed"),
    ] {
        let text = rendered(&[]);
        ensure!(text.contains(good), "{good}");
        let error = taken(&cluster, &text.replace(good, bad)).await.err().context(bad)?;
        ensure!(format!("{error:#}").contains(told), "{bad}: {error:#}");
    }
    cluster.stop().await
}
