//! The revision of a database as the controller reads it, and what comes of it.

use anyhow::Result;
use kube::Api;
use serde_json::{Value, json};
use upgrade_guard::api::{Platform, PlatformDatabase, RevisionSource};

use crate::platform::{API, image};
use crate::postgres::Postgres;
use crate::scene::{Scene, scenario_under};
use crate::support::wait::wait_for;

/// Waits until the Platform says this of the database.
async fn until(scene: &Scene<'_>, what: &str, holds: impl Fn(&PlatformDatabase) -> bool) -> Result<Platform> {
    let platforms: Api<Platform> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let known = |platform: &Platform| platform.status.as_ref()?.database.as_deref().map(&holds);
    wait_for(&platforms, &scene.namespace, what, |platform| known(platform) == Some(true)).await
}

#[tokio::test]
async fn the_revision_is_read_live_and_decides() -> Result<()> {
    let Some(database) = Postgres::start(None).await? else { return Ok(()) };
    let noted = "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('r2')";
    database.database("live", noted).await?;
    let url = database.url("live", "");
    let uses_it = |policy: &mut Value| policy["spec"]["database"] = json!({"components": [API]});
    scenario_under("live", uses_it, async |scene| {
        // A first install is only warned about.
        scene.install_each(&[(API, "2.2.0")]).await?;
        std::fs::write(scene.guard.databases().join(&scene.namespace), &url)?;
        let read = until(scene, "the revision", |database| database.heads == ["r2"]).await?;
        let read = read.status.and_then(|status| status.database).unwrap_or_default();
        assert_eq!((read.source, read.problem), (RevisionSource::Controller, None));
        assert!(read.observed.is_some());

        let needs = json!({"guard.gostoa.dev/schema-revision": "r4"});
        let containers = json!([{"name": API, "image": image(API, "2.3.0")}]);
        let template = json!({"metadata": {"annotations": needs}, "spec": {"containers": containers}});
        let patch = json!({"spec": {"template": template}}).to_string();
        let asked = ["patch", "deployment", API, "-p", &patch];
        scene.kubectl_refused(&asked, "", "[UG-SCHEMA] control-plane-api 2.2.0 -> 2.3.0").await?;
        database.sql("live", "UPDATE alembic_version SET version_num = 'r4'").await?;
        scene.kubectl_passes(&asked, "").await?;

        // What was read stays when it can be read no more.
        drop(database);
        let silent = until(scene, "the trouble", |database| database.problem.is_some()).await?;
        let silent = silent.status.and_then(|status| status.database).unwrap_or_default();
        assert_eq!(silent.heads, ["r4"]);
        Ok(())
    })
    .await
}
