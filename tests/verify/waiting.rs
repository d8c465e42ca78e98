//! What `wait` waits for.

use anyhow::Result;
use serde_json::{Value, json};

use crate::platform::API;
use crate::postgres::Postgres;
use crate::program::Run;
use crate::scene::scenario;
use crate::support::cluster::Cluster;

/// A CRD of the group `wait.test`.
fn crd(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.wait.test")},
        "spec": {
            "group": "wait.test", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

#[tokio::test]
async fn a_crd_is_waited_for() -> Result<()> {
    let Some(cluster) = Cluster::shared().await? else { return Ok(()) };
    let mut waiting = Run::start(cluster.kubeconfig(), &["wait", "--crd", "tools.wait.test"], &[])?;
    waiting.says("waiting: CRD tools.wait.test: it is not there").await?;
    let applied = cluster.kubectl_with(&["apply", "-f", "-"], &crd("Tool").to_string()).await?;
    assert!(applied.success, "{}", applied.stderr);
    let ended = waiting.end().await?;
    assert_eq!((ended.code, ended.text.trim()), (0, "CRD tools.wait.test: it is established"));

    // Another content than is needed is not what is needed.
    let other = format!("tools.wait.test=sha256:{}", "0a".repeat(32));
    let ended = Run::start(cluster.kubeconfig(), &["wait", "--crd", &other, "--timeout", "1s"], &[])?.end().await?;
    assert_eq!(ended.code, 4);
    assert!(ended.text.contains("its content is sha256:"), "{}", ended.text);
    Ok(())
}

#[tokio::test]
async fn an_upstream_is_waited_for() -> Result<()> {
    scenario("upstream", async |scene| {
        scene.install("2.2.0").await?;
        scene.releases().await?;
        let mut by_version = scene.start("wait", &["--component", "control-plane-api>=2.3.0"], &[])?;
        let release = format!("{}-07", scene.namespace);
        // Without a database nothing is asked of the schema.
        let mut by_release = scene.start("wait", &["--release", &release, "--for", "stoa-gateway"], &[])?;
        let told = "control-plane-api 2.3.0 or later: running 2.2.0 (2/2 pods)";
        by_version.says(told).await?;
        by_release.says(told).await?;
        scene.upgrade(API, "2.3.0").await?;
        for waiting in [by_version, by_release] {
            let ended = waiting.end().await?;
            let expected = "control-plane-api 2.3.0 or later: running 2.3.0 (2/2 pods)";
            assert_eq!((ended.code, ended.text.trim()), (0, expected));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_schema_is_waited_for_without_any_cluster() -> Result<()> {
    let Some(database) = Postgres::start(None).await? else { return Ok(()) };
    database.database("waited", "").await?;
    let url = database.url("waited", "");
    let nowhere = tempfile::tempdir()?;
    let args = ["wait", "--schema-revision", "b2"];
    let mut waiting = Run::start(&nowhere.path().join("none"), &args, &[("DATABASE_URL", &url)])?;
    waiting.says("waiting: schema revision b2: the database is empty").await?;
    let noted = "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES";
    database.sql("waited", &format!("{noted} ('a1'), ('b2')")).await?;
    waiting.says("the database has several heads: a1, b2").await?;
    database.sql("waited", "DELETE FROM alembic_version WHERE version_num = 'a1'").await?;
    let ended = waiting.end().await?;
    assert_eq!((ended.code, ended.text.trim()), (0, "schema revision b2: the database is at b2"));
    Ok(())
}

#[tokio::test]
async fn the_deadline_says_what_is_missing() -> Result<()> {
    let Some(cluster) = Cluster::shared().await? else { return Ok(()) };
    let args = ["wait", "--crd", "nothing.wait.test", "--timeout", "1s"];
    let ended = Run::start(cluster.kubeconfig(), &args, &[])?.end().await?;
    let expected = "not there within 1 s: CRD nothing.wait.test: it is not there";
    assert_eq!((ended.code, ended.text.trim()), (4, expected));

    // Nobody listens there; a pod that waits does not fall for it.
    let gone = tempfile::NamedTempFile::new()?;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let kubeconfig = std::fs::read_to_string(cluster.kubeconfig())?;
    std::fs::write(&gone, kubeconfig.replace(cluster.server(), &format!("https://{closed}")))?;
    let mut waiting = Run::start(gone.path(), &["wait", "--crd", "nothing.wait.test", "--timeout", "3s"], &[])?;
    waiting.says("waiting: CRD nothing.wait.test: cannot get it").await?;
    let ended = waiting.end().await?;
    assert_eq!(ended.code, 1, "{}", ended.text);
    assert!(ended.text.starts_with("not there within 3 s: CRD nothing.wait.test: cannot get it"), "{}", ended.text);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_followed_is_told_at_once() -> Result<()> {
    let nowhere = tempfile::tempdir()?;
    let run = async |args: &[&str], environment: &[(&str, &str)]| {
        Run::start(&nowhere.path().join("none"), args, environment)?.end().await
    };
    let ended = run(&["wait"], &[]).await?;
    assert_eq!((ended.code, ended.text.contains("nothing to wait for")), (1, true), "{}", ended.text);
    let schema = ["wait", "--schema-revision", "b2"];
    let ended = run(&schema, &[]).await?;
    assert_eq!((ended.code, ended.text.contains("DATABASE_URL is empty")), (1, true), "{}", ended.text);
    let ended = run(&schema, &[("DATABASE_URL", "mysql://u:hunter2@db/x")]).await?;
    assert_eq!(ended.code, 1);
    assert!(ended.text.contains("must begin with postgresql://") && !ended.text.contains("hunter2"), "{}", ended.text);
    Ok(())
}
