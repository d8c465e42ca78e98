//! What tells a version, and what does not.

use anyhow::Result;
use serde_json::{Value, json};

use super::ask::{Ask, Verb};
use super::platform::{API, GATEWAY, PORTAL, UI, create, deployment, image, set, set_image};
use super::scene::scenario;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const NEXT_DIGEST: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[tokio::test]
async fn a_tag_or_digest_that_names_no_version_is_refused_until_a_release_lists_it() -> Result<()> {
    scenario("unlisted", async |scene| {
        scene.install("2.2.0").await?;
        let by_tag = set(UI, "dev-1f3a9c2");
        let by_digest = set_image(UI, UI, &format!("ghcr.io/stoa-platform/{UI}@{DIGEST}"));
        let mut texts = Vec::new();
        for ask in [&set(UI, "latest"), &by_tag, &by_digest] {
            texts.push(scene.refused(ask, "[UG-VERSION]").await?);
        }
        insta::assert_snapshot!(texts.join("\n"));

        let listed = |release: &str, version: &str, digest: &str, tag: &str| {
            let component = |name: &str| json!({"name": name, "version": version});
            let mut components = [API, GATEWAY, UI, PORTAL].map(component);
            components[2] = json!({"name": UI, "version": version, "tags": [tag], "digests": [digest]});
            json!({
                "apiVersion": "guard.gostoa.dev/v1alpha1",
                "kind": "PlatformRelease",
                "metadata": {"name": format!("{}-{release}", scene.namespace)},
                "spec": {"policy": scene.namespace, "version": release, "components": components},
            })
        };
        scene.apply(&listed("2026.05", "2.2.0", DIGEST, "dev-1f3a9c2")).await?;
        scene.apply(&listed("2026.07", "2.3.0", NEXT_DIGEST, "dev-2222222")).await?;
        scene.passes(&by_tag).await?;
        scene.passes(&by_digest).await?;
        // What the next release lists is the next line, whatever its tag says.
        let next = set_image(UI, UI, &format!("ghcr.io/stoa-platform/{UI}@{NEXT_DIGEST}"));
        scene.refused(&next, "[UG-ORDER] control-plane-ui 2.2.0 -> 2.3.0 must wait for").await?;
        scene.refused(&set(UI, "dev-3333333"), "[UG-VERSION]").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn naming_the_version_is_the_way_out_of_a_mutable_tag() -> Result<()> {
    scenario("mutable", async |scene| {
        let answer = scene.warned(&create(UI, &image(UI, "latest")).dry_run(), "[UG-VERSION]").await?;
        insta::assert_snapshot!(answer.warnings.join("\n"));
        scene.passes(&create(UI, &image(UI, "latest"))).await?;
        scene.install_each(&[(API, "2.2.0")]).await?;
        scene.refused(&set(UI, "dev-abc"), "[UG-VERSION]").await?;
        let annotated = |version: &str| {
            let template = json!({
                "metadata": {"annotations": {"guard.gostoa.dev/version": version}},
                "spec": {"containers": [{"name": UI, "image": image(UI, "dev-abc")}]},
            });
            Ask::new(Verb::StrategicPatch, format!("deployments/{UI}"), json!({"spec": {"template": template}}))
        };
        // It is believed, and so judged.
        scene.refused(&annotated("2.9.0"), "[UG-SKEW]").await?;
        scene.warned(&annotated("2.2.0"), "replaces a version that cannot be told").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_init_container_is_looked_at_too() -> Result<()> {
    scenario("init", async |scene| {
        let with_init = |version: &str| -> Value {
            let mut api = deployment(API, &image(API, "2.2.0"));
            api["spec"]["template"]["spec"]["initContainers"] =
                json!([{"name": "migrate", "image": image(API, version)}]);
            api
        };
        scene.passes(&Ask::new(Verb::Create, "deployments", with_init("2.2.0"))).await?;
        scene.rolled_out(API).await?;
        let moved = Ask::new(Verb::Apply, format!("deployments/{API}"), with_init("2.4.0"));
        let refusal = scene.refused(&moved, "[UG-HOP]").await?;
        insta::assert_snapshot!(refusal);
        Ok(())
    })
    .await
}
