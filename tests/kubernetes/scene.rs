//! One scenario: a namespace and a policy of its own, so that all can run at the same time on one cluster.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::Api;
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Verb};
use super::platform::{API, GATEWAY, PORTAL, UI, budget, create, deployment, far_from, image, set};
use crate::support::cluster::{Cluster, Output};
use crate::support::guard::{Guard, succeeded};
use crate::support::wait::{eventually, wait_for};

pub(crate) struct Scene<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) guard: &'a Guard,
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Runs `body` on the shared cluster in a namespace under a policy like `manifests/policies/stoa.yaml`.
pub(crate) async fn scenario(name: &str, body: impl AsyncFnOnce(&Scene<'_>) -> Result<()>) -> Result<()> {
    scenario_under(name, |_| {}, body).await
}

/// As [`scenario`], with the policy changed by `edit`.
pub(crate) async fn scenario_under(
    name: &str,
    edit: impl FnOnce(&mut Value),
    body: impl AsyncFnOnce(&Scene<'_>) -> Result<()>,
) -> Result<()> {
    let Some((cluster, guard)) = Guard::shared().await? else { return Ok(()) };
    let scene = Scene::open(cluster, guard, name).await?;
    let mut policy = scene.policy()?;
    edit(&mut policy);
    scene
        .play(async |scene| {
            // The budget first: what the guard lists for the policy has it.
            scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [budget(), policy]})).await?;
            scene.governed().await?;
            body(scene).await
        })
        .await
}

/// As [`scenario`], without a policy.
pub(crate) async fn scenario_ungoverned(name: &str, body: impl AsyncFnOnce(&Scene<'_>) -> Result<()>) -> Result<()> {
    let Some((cluster, guard)) = Guard::shared().await? else { return Ok(()) };
    Scene::open(cluster, guard, name).await?.play(body).await
}

/// Takes out what the hook has to do: `hook.rs` is about that, and CRDs belong to no namespace.
fn ask_for_no_hook(policy: &mut Value) {
    policy["spec"]["preconditions"] = json!([]);
    policy["spec"]["verify"] = json!({});
    policy["spec"].as_object_mut().into_iter().for_each(|spec| drop(spec.remove("database")));
    for component in policy["spec"]["components"].as_array_mut().into_iter().flatten() {
        component["crds"] = json!([]);
    }
}

impl<'a> Scene<'a> {
    /// A fresh namespace, under no policy yet.
    pub(crate) async fn open(cluster: &'a Cluster, guard: &'a Guard, name: &str) -> Result<Self> {
        let namespace = cluster.namespace(name).await?.name;
        Ok(Self { cluster, guard, client: cluster.client().await?, namespace })
    }

    /// Runs `body`; where it fails, the guard's log of this namespace is shown.
    pub(crate) async fn play(self, body: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        let played = body(&self).await;
        // A deleted namespace goes by itself, and its pods give their place on the nodes back.
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &<_>::default()).await?;
        played.with_context(|| self.guard.log_tail(&self.namespace))
    }

    /// `manifests/policies/stoa.yaml` for this namespace alone, named like it, without what the hook has to do first.
    pub(crate) fn policy(&self) -> Result<Value> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/policies/stoa.yaml");
        let mut policy: Value = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
        policy["metadata"]["name"] = json!(self.namespace);
        policy["spec"]["namespaces"] = json!([self.namespace]);
        ask_for_no_hook(&mut policy);
        Ok(policy)
    }

    /// Waits until the guard judges this namespace: no Keycloak 26 is supported, whatever else is there.
    pub(crate) async fn governed(&self) -> Result<()> {
        let probe = create("probe", "quay.io/keycloak/keycloak:26.0.0").dry_run();
        eventually("the guard to know the policy", async || {
            let answer = self.send(&probe).await?;
            Ok(if answer.code == 403 { Ok(()) } else { Err(answer) })
        })
        .await
    }

    /// Waits until the guard no longer judges this namespace.
    pub(crate) async fn ungoverned(&self) -> Result<()> {
        let probe = create("probe", "quay.io/keycloak/keycloak:26.0.0").dry_run();
        eventually("the guard to forget the policy", async || {
            let answer = self.send(&probe).await?;
            Ok(if answer.is_allowed() { Ok(()) } else { Err(answer) })
        })
        .await
    }

    // --- what is there

    /// Installs all four components at one version.
    pub(crate) async fn install(&self, version: &str) -> Result<()> {
        self.install_each(&[(API, version), (GATEWAY, version), (UI, version), (PORTAL, version)]).await
    }

    /// Installs components, waits for their rollouts, and until the guard has seen them.
    pub(crate) async fn install_each(&self, components: &[(&str, &str)]) -> Result<()> {
        for (component, version) in components {
            let answer = self.send(&create(component, &image(component, version))).await?;
            ensure!(answer.is_allowed(), "install of {component} {version}: {answer:?}");
        }
        for (component, _) in components {
            self.rolled_out(component).await?;
        }
        self.seen(components).await
    }

    /// Waits until the guard knows these components: none may go fifty lines further at once.
    pub(crate) async fn seen(&self, components: &[(&str, &str)]) -> Result<()> {
        let mut probe = deployment("probe", "none");
        let containers = components.iter().map(|(component, version)| {
            let far = far_from(version)?;
            Ok(json!({"name": component, "image": image(component, &far)}))
        });
        probe["spec"]["template"]["spec"]["containers"] = json!(containers.collect::<Result<Vec<_>>>()?);
        let probe = Ask::new(Verb::Create, "deployments", probe).dry_run();
        eventually("the guard to know what is installed", async || {
            let answer = self.send(&probe).await?;
            let known = answer.text().matches("is 50 lines at once").count() == components.len();
            Ok(if known { Ok(()) } else { Err(answer) })
        })
        .await
    }

    pub(crate) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the Deployment's rollout is complete.
    pub(crate) async fn rolled_out(&self, name: &str) -> Result<Deployment> {
        wait_for(&self.deployments(), name, "its rollout", |deployment| {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            deployment.status.as_ref().is_some_and(|status| {
                status.observed_generation == deployment.metadata.generation
                    && status.updated_replicas == wanted
                    && status.available_replicas == wanted
                    && status.replicas == wanted
            })
        })
        .await
    }

    /// Waits until a rollout stands with `updated` of its pods new and `old` pods old.
    pub(crate) async fn halted(&self, name: &str, updated: i32, old: i32) -> Result<Deployment> {
        wait_for(&self.deployments(), name, "its rollout to halt half-way", |deployment| {
            deployment.status.as_ref().is_some_and(|status| {
                status.observed_generation == deployment.metadata.generation
                    && status.updated_replicas == Some(updated)
                    && status.replicas == Some(updated + old)
            })
        })
        .await
    }

    pub(crate) async fn image_of(&self, name: &str) -> Result<String> {
        let deployment = self.deployments().get(name).await?;
        let template = deployment.spec.context("a spec")?.template.spec.context("a template")?;
        template.containers.first().and_then(|container| container.image.clone()).context("an image")
    }

    // --- requests

    pub(crate) async fn send(&self, ask: &Ask) -> Result<Answer> {
        ask.send(&self.client, &self.namespace).await
    }

    /// Sends until it passes, as everyone does who is told to wait; anything but a refusal ends it.
    pub(crate) async fn passes(&self, ask: &Ask) -> Result<Answer> {
        eventually("the request to pass", async || {
            let answer = self.send(ask).await?;
            Ok(if answer.is_allowed() { Ok(answer) } else { Err(answer) })
        })
        .await
        .with_context(|| format!("{ask:?}"))
    }

    /// Sends until it is refused with this text in the reason; it must never pass. What the guard knows may come late.
    pub(crate) async fn refused(&self, ask: &Ask, text: &str) -> Result<String> {
        let refusal = eventually("the refusal", async || {
            let answer = self.send(ask).await?;
            ensure!(!answer.is_allowed(), "allowed, and not refused with '{text}': {answer:?}");
            answer.check_refusal()?;
            let found = self.anonymous(answer.text());
            Ok(if found.contains(text) { Ok(found) } else { Err(found) })
        });
        refusal.await.with_context(|| format!("expected '{text}' for {ask:?}"))
    }

    /// Sends until it passes with this text in a warning.
    pub(crate) async fn warned(&self, ask: &Ask, text: &str) -> Result<Answer> {
        let warned = eventually("the warning", async || {
            let answer = self.send(ask).await?;
            ensure!(answer.is_allowed(), "refused, and not warned with '{text}': {answer:?}");
            ensure!(answer.warnings.iter().all(|warning| warning.chars().count() < 120), "too long: {answer:?}");
            let found = answer.warnings.iter().any(|warning| warning.contains(text));
            Ok(if found { Ok(answer) } else { Err(answer.warnings) })
        });
        warned.await.with_context(|| format!("expected '{text}' for {ask:?}"))
    }

    /// Moves a component, and waits for its rollout.
    pub(crate) async fn upgrade(&self, component: &str, version: &str) -> Result<()> {
        self.passes(&set(component, version)).await?;
        self.rolled_out(component).await.map(drop)
    }

    // --- kubectl

    /// `kubectl` in this namespace.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_with(args, "").await
    }

    /// `kubectl` in this namespace with something on its standard input.
    pub(crate) async fn kubectl_with(&self, args: &[&str], input: &str) -> Result<Output> {
        let all: Vec<&str> = ["-n", &self.namespace].into_iter().chain(args.iter().copied()).collect();
        self.cluster.kubectl_with(&all, input).await
    }

    /// Applies an object, in this namespace or without one.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        succeeded(self.kubectl_with(&["apply", "-f", "-"], &object.to_string()).await?).map(drop)
    }

    /// `kubectl` until it is refused with this text; what it printed, without names that differ from run to run.
    pub(crate) async fn kubectl_refused(&self, args: &[&str], input: &str, text: &str) -> Result<String> {
        eventually("the refusal", async || {
            let output = self.kubectl_with(args, input).await?;
            ensure!(!output.success, "kubectl {args:?} passed: {output:?}");
            ensure!(!output.stderr.to_lowercase().contains("immutable"), "{output:?}");
            Ok(if output.stderr.contains(text) { Ok(self.anonymous(&output.stderr)) } else { Err(output) })
        })
        .await
    }

    /// `kubectl` until it passes; what it printed to both.
    pub(crate) async fn kubectl_passes(&self, args: &[&str], input: &str) -> Result<String> {
        let passed = eventually("kubectl to pass", async || {
            let output = self.kubectl_with(args, input).await?;
            Ok(if output.success { Ok(output) } else { Err(output) })
        });
        let output = passed.await?;
        Ok(self.anonymous(&format!("{}{}", output.stdout, output.stderr)))
    }

    /// `text` without what differs from run to run.
    pub(crate) fn anonymous(&self, text: &str) -> String {
        text.replace(&self.namespace, "NAMESPACE").replace(self.cluster.server(), "SERVER")
    }
}
