//! Where the guard has a say, and where it has none.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::ask::{Ask, Verb};
use super::platform::{API, GATEWAY, PORTAL, UI, create, deployment, image, set};
use super::scene::{scenario, scenario_ungoverned};
use crate::support::guard::succeeded;

#[tokio::test]
async fn a_namespace_outside_the_policies_is_left_alone() -> Result<()> {
    scenario_ungoverned("outside", async |scene| {
        for component in [API, GATEWAY] {
            let answer = scene.send(&create(component, &image(component, "2.2.0"))).await?;
            ensure!(answer.is_allowed() && answer.warnings.is_empty(), "{answer:?}");
        }
        for version in ["2.9.0", "latest", "1.0.0"] {
            let answer = scene.send(&set(GATEWAY, version)).await?;
            ensure!(answer.is_allowed() && answer.warnings.is_empty(), "{answer:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_name_that_the_server_makes_up_hides_nothing() -> Result<()> {
    scenario("generated", async |scene| {
        let mut keycloak = deployment("keycloak", "quay.io/keycloak/keycloak:26.0.0");
        keycloak["metadata"] = json!({"generateName": "keycloak-"});
        scene.refused(&Ask::new(Verb::Create, "deployments", keycloak), "[UG-SUPPORTED]").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_policy_counts_from_its_creation_to_its_deletion() -> Result<()> {
    scenario_ungoverned("policy", async |scene| {
        for component in [API, GATEWAY, UI, PORTAL] {
            ensure!(scene.send(&create(component, &image(component, "2.2.0"))).await?.is_allowed());
        }
        for component in [API, GATEWAY, UI, PORTAL] {
            scene.rolled_out(component).await?;
        }
        let policy = scene.policy()?;
        scene.apply(&policy).await?;
        scene.governed().await?;
        let gateway = set(GATEWAY, "2.3.0");
        scene.refused(&gateway, "Upgrade control-plane-api first").await?;

        succeeded(scene.kubectl(&["delete", "upgradepolicy", &scene.namespace]).await?)?;
        scene.ungoverned().await?;
        let answer = scene.send(&gateway).await?;
        ensure!(answer.is_allowed() && answer.warnings.is_empty(), "{answer:?}");
        scene.rolled_out(GATEWAY).await?;

        // The state that was made meanwhile is broken: nothing may go further, and the cure passes.
        scene.apply(&policy).await?;
        scene.governed().await?;
        scene.refused(&set(UI, "2.3.0"), "[UG-ORDER]").await?;
        scene.passes(&set(API, "2.3.0")).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_policy_that_cannot_be_used_is_refused_with_all_that_is_wrong() -> Result<()> {
    scenario_ungoverned("bad-policy", async |scene| {
        // What the schema can say, the API server says by itself.
        let unknown = edited(scene.policy()?, |spec| spec["components"][1]["after"] = json!(["nobody"]))?;
        let by_schema = scene.kubectl_refused(&["apply", "-f", "-"], &unknown, "must name a component").await?;
        let system = edited(scene.policy()?, |spec| spec["namespaces"] = json!(["kube-system"]))?;
        let of_system = scene.kubectl_refused(&["apply", "-f", "-"], &system, "never governed").await?;
        let migrators = edited(scene.policy()?, |spec| {
            spec["database"] = json!({
                "components": ["control-plane-api"], "revisionTable": "a", "revisionQuery": "SELECT 1",
                "migrations": {"alembic": ["alembic"], "command": ["flyway"], "urlVariable": "NO NAME"},
            });
        })?;
        let of_database = scene.kubectl_refused(&["apply", "-f", "-"], &migrators, "exclude each other").await?;
        insta::assert_snapshot!("by_schema", format!("{by_schema}{of_system}{of_database}"));

        let several = edited(scene.policy()?, |spec| {
            spec["components"][0]["after"] = json!(["portal"]);
            spec["components"][2]["match"]["names"] = json!(["portal"]);
            spec["components"][4]["supported"][0]["range"] = json!("24 or so");
            spec["database"] = json!({
                "components": ["control-plane-apy"],
                "migrations": {"lockTimeout": "20m", "checks": {"columnDroped": "Off"}},
            });
        })?;
        let by_guard = scene.kubectl_refused(&["apply", "-f", "-"], &several, "cannot be used").await?;
        insta::assert_snapshot!("by_guard", by_guard);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_policy_says_how_its_database_is_migrated() -> Result<()> {
    scenario_ungoverned("database", async |scene| {
        let mut fine = scene.policy()?;
        fine["spec"]["database"] = json!({
            "components": ["control-plane-api"],
            "migrations": {
                "alembic": ["alembic", "-c", "db/alembic.ini"], "lockTimeout": "3s", "checks": {"columnAdded": "Warn"},
                "revisions": [{"revision": "107_draft", "hold": "until it is signed off"}],
                "waivers": [
                    {"revision": "092", "check": "tableDropped", "hash": "0123456789abcdef", "reason": "nobody reads it"},
                ],
            },
        });
        scene.apply(&fine).await
    })
    .await
}

fn edited(mut policy: Value, edit: impl FnOnce(&mut Value)) -> Result<String> {
    edit(policy.get_mut("spec").context("a spec")?);
    Ok(policy.to_string())
}
