//! What somebody deletes, empties or overwrites is put right.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::load::under_load;
use crate::scene::{KEYS, Scene};
use crate::support::guard::{Guard, make_certs};
use crate::support::wait::eventually;

const LONG: &str = "36000,18000,1,1";
const SECRET: &str = "upgrade-guard-tls";
const PARTS: [&str; 4] = ["tls.crt", "tls.key", "ca.crt", "ca.key"];

async fn parts(scene: &Scene) -> Result<Vec<Vec<u8>>> {
    let mut found = vec![];
    for part in PARTS {
        found.push(scene.stored(part).await?);
    }
    Ok(found)
}

async fn becomes(scene: &Scene, wanted: &[Vec<u8>]) -> Result<()> {
    eventually("the Secret as it was", async || {
        let found = parts(scene).await?;
        Ok(if found == wanted { Ok(()) } else { Err(found.iter().map(Vec::len).collect::<Vec<_>>()) })
    })
    .await
}

async fn overwrite(scene: &Scene, value: &str) -> Result<()> {
    let data: serde_json::Map<_, _> =
        PARTS.iter().map(|part| ((*part).to_owned(), json!(k8s_openapi::ByteString(value.into())))).collect();
    scene.secrets().patch(SECRET, &PatchParams::default(), &Patch::Merge(json!({"data": data}))).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_the_secret_is_repaired_and_fails_no_review() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    let [first, second] = scene.launch_two(LONG).await?;
    scene.register().await?;
    scene.reviews_pass().await?;
    let good = parts(&scene).await?;
    let told = under_load(&scene, async |tally| {
        tally.watch(&[first.https(), second.https()]);
        tally.rounds(1).await?;
        scene.secrets().delete(SECRET, &<_>::default()).await?;
        becomes(&scene, &good).await?;
        tally.rounds(1).await?;
        for value in ["", "rubbish"] {
            overwrite(&scene, value).await?;
            becomes(&scene, &good).await?;
            tally.rounds(1).await?;
        }
        // Without its key nothing can be signed: the next authority takes over, in order.
        let no_key = json!([{"op": "remove", "path": "/data/ca.key"}]);
        let no_key: json_patch::Patch = serde_json::from_value(no_key)?;
        scene.secrets().patch(SECRET, &PatchParams::default(), &Patch::Json::<Secret>(no_key)).await?;
        eventually("another authority", async || {
            let served = tally.served();
            Ok(if served == (2, 2) { Ok(()) } else { Err(served) })
        })
        .await?;
        tally.rounds(1).await
    })
    .await?;
    println!("{told}");
    let mut repaired = 0.0;
    for guard in [&first, &second] {
        repaired += guard.metrics().await?.sum("upgrade_guard_certificate_rotations_total", &[r#"step="restore""#]);
    }
    ensure!((2.9..3.1).contains(&repaired), "each damage was repaired once and told: {repaired}");
    scene.keeps_its_secrets(&[&first, &second]).await?;

    // Nobody is left who remembers: a guard that starts makes everything anew.
    for guard in [first, second] {
        guard.kill().await?;
    }
    overwrite(&scene, "rubbish").await?;
    let alone = scene.launch(LONG).await?;
    alone.ready().await?;
    scene.forwarder.lead_to(&[alone.https()]);
    scene.reviews_pass().await?;
    ensure!(!good.contains(&scene.stored("tls.key").await?), "new keys");
    for key in &KEYS[..2] {
        ensure!(!scene.stored(key).await?.is_empty(), "{key}");
    }
    scene.end(vec![alone]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_into_the_bundle_is_put_right() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    let [first, second] = scene.launch_two(LONG).await?;
    scene.register().await?;
    scene.bundles_agree().await?;
    scene.reviews_pass().await?;

    let foreign = scene.cluster.folder().join("foreign");
    std::fs::create_dir(&foreign)?;
    make_certs(&foreign)?;
    let foreign = std::fs::read(foreign.join("ca.crt"))?;
    let extended = [scene.stored("ca.crt").await?, foreign.clone()].concat();
    for bundle in [None, Some(foreign.as_slice()), Some(extended.as_slice())] {
        scene.overwrite_bundles(bundle).await?;
        scene.bundles_agree().await?;
        scene.reviews_pass().await?;
        for guard in [&first, &second] {
            let (status, text) = guard.get("/readyz").await?;
            ensure!(status == 200, "a bundle that is wrong makes nobody leave: {text}");
        }
    }
    only_the_bundle_is_ours(&scene).await?;
    nothing_is_written_where_nothing_differs(&scene, &first).await?;
    scene.end(vec![first, second]).await
}

/// Of the configuration, the guard has written the address and the bundle, and nothing else.
async fn only_the_bundle_is_ours(scene: &Scene) -> Result<()> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(scene.client.clone());
    let configuration = configurations.get("upgrade-guard").await?;
    let ours = configuration.managed_fields().iter().find(|entry| entry.manager.as_deref() == Some("upgrade-guard"));
    let fields = ours.and_then(|entry| entry.fields_v1.as_ref()).context("what the guard wrote")?;
    for (name, webhook) in fields.0["f:webhooks"].as_object().context("webhooks")? {
        let of_webhook: Vec<_> = webhook.as_object().context("fields")?.keys().collect();
        ensure!(of_webhook == ["f:clientConfig"], "{name}: {of_webhook:?}");
        let client: Vec<_> = webhook["f:clientConfig"].as_object().context("fields")?.keys().collect();
        ensure!(client.iter().all(|field| ["f:caBundle", "f:url"].contains(&field.as_str())), "{name}: {client:?}");
    }
    Ok(())
}

async fn nothing_is_written_where_nothing_differs(scene: &Scene, guard: &Guard) -> Result<()> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(scene.client.clone());
    let before = configurations.get("upgrade-guard").await?;
    let writes = || async { anyhow::Ok(guard.metrics().await?.sum("upgrade_guard_ca_bundle_writes_total", &[])) };
    let counted = writes().await?;
    // A change that is none of the guard's business is looked at, and answered with nothing.
    let labels = json!({"metadata": {"labels": {"touched": "true"}}});
    let touched = configurations.patch("upgrade-guard", &PatchParams::default(), &Patch::Merge(labels)).await?;
    ensure!(touched.resource_version() != before.resource_version());
    for number in 0..20 {
        scene.review(number).await?;
    }
    let after = configurations.get("upgrade-guard").await?;
    ensure!(after.resource_version() == touched.resource_version(), "somebody wrote");
    ensure!((writes().await? - counted).abs() < 0.5);
    Ok(())
}
