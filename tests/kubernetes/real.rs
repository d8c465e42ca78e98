//! The real manifests of the platform, as its public repository has them.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::ask::{Ask, Verb};
use super::platform::set_image;
use super::scene::{Scene, scenario};

/// Real input beside the repository; it is not part of it, and is not needed.
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/stoa/manifests");

#[tokio::test]
async fn the_real_manifests_are_installed_and_their_mutable_tags_need_a_name() -> Result<()> {
    if !Path::new(MANIFESTS).is_dir() {
        // Past the test runner, which swallows what a test that passes says.
        let _ = writeln!(std::io::stderr(), "the real manifests of the platform are not there: SKIPPED");
        return Ok(());
    }
    scenario("real", async |scene| {
        let documents = documents(scene)?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": documents}).to_string();
        let printed = scene.kubectl_passes(&["apply", "-f", "-"], &list).await?;
        insta::assert_snapshot!(sorted(&printed));

        let deployments = documents.iter().filter(|document| document["kind"] == "Deployment");
        for deployment in deployments {
            let name = deployment["metadata"]["name"].as_str().context("a name")?;
            let container = &deployment["spec"]["template"]["spec"]["containers"][0];
            let (image, own) = (container["image"].as_str(), container["name"].as_str());
            let (repository, _) = image.and_then(|image| image.rsplit_once(':')).context("a tag")?;
            let own = own.context("a container's name")?;
            let other = set_image(name, own, &format!("{repository}:dev-abc"));
            let refusal = scene.refused(&other, "[UG-VERSION]").await?;
            ensure!(refusal.contains("Use a version tag"), "no way out: {refusal}");
        }
        // Naming the versions is the way out, in the order of every other move.
        for name in ["stoa-control-plane-api", "stoa-gateway", "control-plane-ui", "stoa-portal"] {
            let annotations = json!({"guard.gostoa.dev/version": "2.2.0"});
            let named = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
            let answer = scene.passes(&Ask::new(Verb::MergePatch, format!("deployments/{name}"), named)).await?;
            let replaces = |warning: &String| warning.contains("replaces a version that cannot be told");
            ensure!(answer.warnings.iter().any(replaces), "{name}: {answer:?}");
            scene.rolled_out(name).await?;
        }
        Ok(())
    })
    .await
}

/// All documents, in this scenario's namespace.
fn documents(scene: &Scene<'_>) -> Result<Vec<Value>> {
    let mut paths: Vec<_> = std::fs::read_dir(MANIFESTS)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&path)?)
            .with_context(|| path.display().to_string())?;
        all.extend(documents.into_iter().filter(|document| !document.is_null()));
    }
    for document in &mut all {
        document["metadata"]["namespace"] = json!(scene.namespace);
    }
    Ok(all)
}

/// The lines in an order that does not hang on how the two streams met.
fn sorted(printed: &str) -> String {
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}
