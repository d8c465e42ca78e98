//! However a change is asked for, it is judged alike.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::ask::{Ask, Verb};
use super::platform::{API, GATEWAY, deployment, image, set};
use super::scene::{Scene, scenario};
use crate::support::guard::succeeded;

/// The changes of the gateway's image by every verb there is.
async fn every_way(scene: &Scene<'_>, version: &str) -> Result<Vec<Ask>> {
    let path = format!("deployments/{GATEWAY}");
    let wanted = image(GATEWAY, version);
    let containers = json!({"spec": {"template": {"spec": {"containers": [{"name": GATEWAY, "image": wanted}]}}}});
    let pointer = "/spec/template/spec/containers/0/image";
    let mut whole = serde_json::to_value(scene.deployments().get(GATEWAY).await?)?;
    *whole.pointer_mut(pointer).context("an image")? = json!(wanted);
    let metadata = whole["metadata"].as_object_mut().context("metadata")?;
    metadata.retain(|key, _| key == "name");
    Ok(vec![
        Ask::new(Verb::StrategicPatch, &path, containers.clone()),
        Ask::new(Verb::MergePatch, &path, containers),
        Ask::new(Verb::JsonPatch, &path, json!([{"op": "replace", "path": pointer, "value": wanted}])),
        Ask::new(Verb::Apply, &path, deployment(GATEWAY, &wanted)),
        Ask::new(Verb::Replace, &path, whole),
    ])
}

#[tokio::test]
async fn every_verb_is_refused_with_the_same_text() -> Result<()> {
    scenario("verbs", async |scene| {
        scene.install("2.2.0").await?;
        let mut texts = Vec::new();
        for ask in every_way(scene, "2.3.0").await? {
            texts.push(scene.refused(&ask, "Upgrade control-plane-api first").await?);
        }
        ensure!(texts.iter().all(|text| *text == texts[0]), "{texts:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_dry_run_of_every_verb_warns_of_what_must_wait_and_refuses_what_can_never_be() -> Result<()> {
    scenario("dry-run", async |scene| {
        scene.install("2.2.0").await?;
        let before = scene.deployments().get(GATEWAY).await?.metadata.resource_version;
        for ask in every_way(scene, "2.3.0").await? {
            let answer = scene.warned(&ask.dry_run(), "[UG-ORDER] stoa-gateway 2.2.0 -> 2.3.0 must wait").await?;
            assert_eq!(
                answer.body.pointer("/spec/template/spec/containers/0/image"),
                Some(&json!(image(GATEWAY, "2.3.0")))
            );
        }
        for ask in every_way(scene, "2.4.0").await? {
            scene.refused(&ask.dry_run(), "[UG-HOP]").await?;
        }
        assert_eq!(scene.deployments().get(GATEWAY).await?.metadata.resource_version, before);

        let set = format!("{GATEWAY}={}", image(GATEWAY, "2.3.0"));
        let printed = scene
            .kubectl_passes(&["set", "image", "deployment/stoa-gateway", &set, "--dry-run=server", "-o", "name"], "")
            .await?;
        insta::assert_snapshot!(printed);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn kubectl_is_refused_alike_and_force_deletes_nothing() -> Result<()> {
    scenario("kubectl", async |scene| {
        let manifest = |version: &str| deployment(GATEWAY, &image(GATEWAY, version)).to_string();
        // What kubectl applied before is compared with what it is to apply now.
        scene.kubectl_passes(&["apply", "-f", "-"], &manifest("2.2.0")).await?;
        scene.install_each(&[(API, "2.2.0")]).await?;
        scene.rolled_out(GATEWAY).await?;
        scene.seen(&[(API, "2.2.0"), (GATEWAY, "2.2.0")]).await?;
        let before = scene.deployments().get(GATEWAY).await?;

        let json_patch = json!([{
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": image(GATEWAY, "2.3.0"),
        }])
        .to_string();
        for args in [
            &["apply", "-f", "-"][..],
            &["apply", "--force", "-f", "-"],
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            &["replace", "-f", "-"],
            &["patch", "deployment", GATEWAY, "--type=json", "-p", &json_patch],
        ] {
            scene.kubectl_refused(args, &manifest("2.3.0"), "[UG-ORDER] stoa-gateway 2.2.0 -> 2.3.0 must wait").await?;
        }
        let after = scene.deployments().get(GATEWAY).await?;
        assert_eq!(after.metadata.uid, before.metadata.uid, "the Deployment was recreated");
        assert_eq!(scene.image_of(GATEWAY).await?, image(GATEWAY, "2.2.0"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_refused_says_what_its_sender_can_do() -> Result<()> {
    scenario("hints", async |scene| {
        scene.install("2.2.0").await?;
        let mut texts = Vec::new();
        for manager in ["argocd-controller", "kustomize-controller", "helm-controller", "helm"] {
            let ask = set(GATEWAY, "2.3.0").by(manager);
            let text = scene.refused(&ask, "Upgrade control-plane-api first").await?;
            let (_, hint) = text.split_once("from control-plane-api 2.2.0. ").context(text.clone())?;
            texts.push(format!("{manager}: {hint}"));
        }
        insta::assert_snapshot!(texts.join("\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_changes_no_version_passes_without_a_word() -> Result<()> {
    scenario("unchanged", async |scene| {
        scene.install_each(&[(API, "2.2.0"), (GATEWAY, "2.2.0")]).await?;
        let container = |part: Value| {
            let mut container = json!({"name": GATEWAY});
            container
                .as_object_mut()
                .into_iter()
                .for_each(|own| own.extend(part.as_object().cloned().unwrap_or_default()));
            json!({"spec": {"template": {"spec": {"containers": [container]}}}})
        };
        for patch in [
            json!({"metadata": {"annotations": {"note": "metadata"}}}),
            json!({"spec": {"template": {"metadata": {"annotations": {"note": "template"}}}}}),
            json!({"spec": {"replicas": 3}}),
            container(json!({"env": [{"name": "LEVEL", "value": "debug"}]})),
            container(json!({"resources": {"requests": {"cpu": "1m"}}})),
            // The same version by another tag.
            container(json!({"image": image(GATEWAY, "v2.2.0")})),
        ] {
            let answer = scene.send(&Ask::new(Verb::StrategicPatch, format!("deployments/{GATEWAY}"), patch)).await?;
            ensure!(answer.is_allowed() && answer.warnings.is_empty(), "{answer:?}");
        }
        let autoscaler = json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": GATEWAY},
            "spec": {
                "minReplicas": 2,
                "maxReplicas": 5,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": GATEWAY},
            },
        });
        scene.apply(&autoscaler).await?;
        let grown = succeeded(scene.kubectl(&["scale", "deployment", GATEWAY, "--replicas=4"]).await?)?;
        assert!(grown.contains("scaled"), "{grown}");
        Ok(())
    })
    .await
}
