//! What an engine wants beside the objects: its annotations, its files, and what a reader should know of it.

use serde_json::{Map, Value, json};

use super::objects::{deadline, parts, short};
use super::{Engine, File, Part, Purpose, Recipe, RecipeError, Stage};
use crate::domain::policy::OnNotYet;

/// What Argo CD says of each hook.
const ARGO_HOOK: &str = "argocd.argoproj.io/hook";
/// What Helm says of each hook.
const HELM_HOOK: &str = "helm.sh/hook";

/// The files of `recipe`.
pub(super) fn files(recipe: &Recipe, engine: Engine) -> Result<Vec<File>, RecipeError> {
    let [presync, verify] = match engine {
        Engine::ArgoCd | Engine::Helm => ["presync.yaml", "verify.yaml"],
        Engine::Flux => ["pre-deploy/presync.yaml", "post-deploy/verify.yaml"],
    };
    let mut files = vec![job_file(recipe, engine, Purpose::Presync, presync)?];
    files.push(job_file(recipe, engine, Purpose::Verify, verify)?);
    if engine == Engine::Flux {
        files.push(kustomizations(recipe)?);
    }
    Ok(files)
}

fn job_file(recipe: &Recipe, engine: Engine, purpose: Purpose, path: &'static str) -> Result<File, RecipeError> {
    let mut parts = parts(recipe, purpose);
    for part in &mut parts {
        annotate(&mut part.object, annotations(engine, purpose, part.stage));
    }
    Ok(File { path, yaml: yaml(&head(recipe, engine, purpose), &parts)? })
}

/// The annotations of an object, of one engine only: Argo CD that finds its own ignores all of Helm's.
fn annotations(engine: Engine, purpose: Purpose, stage: Stage) -> Vec<(&'static str, &'static str)> {
    let place = match stage {
        Stage::Account => "-2",
        Stage::Binding => "-1",
        Stage::Job => "0",
    };
    match (engine, purpose) {
        (Engine::ArgoCd, _) => vec![
            (ARGO_HOOK, if purpose == Purpose::Presync { "PreSync" } else { "PostSync" }),
            ("argocd.argoproj.io/hook-delete-policy", "BeforeHookCreation"),
            ("argocd.argoproj.io/sync-wave", place),
        ],
        (Engine::Helm, _) => vec![
            (
                HELM_HOOK,
                if purpose == Purpose::Presync { "pre-install,pre-upgrade" } else { "post-install,post-upgrade" },
            ),
            ("helm.sh/hook-delete-policy", "before-hook-creation"),
            ("helm.sh/hook-weight", place),
        ],
        // A Job cannot be changed, so it is replaced; what else is here can be changed.
        (Engine::Flux, _) if stage == Stage::Job => vec![("kustomize.toolkit.fluxcd.io/force", "enabled")],
        (Engine::Flux, _) => vec![],
    }
}

fn annotate(object: &mut Value, annotations: Vec<(&str, &str)>) {
    if annotations.is_empty() {
        return;
    }
    let annotations: Map<String, Value> =
        annotations.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    object["metadata"]["annotations"] = Value::Object(annotations);
}

/// What stands above the objects of a Job.
fn head(recipe: &Recipe, engine: Engine, purpose: Purpose) -> Vec<String> {
    let (policy, release, namespace) = (recipe.policy_name(), &recipe.release, &recipe.namespace);
    let command = match engine {
        Engine::ArgoCd => "argocd",
        Engine::Flux => "flux",
        Engine::Helm => "helm",
    };
    let what = match purpose {
        Purpose::Presync => "what runs before an upgrade",
        Purpose::Verify => "what runs after an upgrade",
    };
    let mut lines = vec![
        format!("Made by `upgrade-guard recipe {command}`: {what} of policy {policy} in {namespace}."),
        format!("Make it again for each release (here {release}) and when the policy's preconditions or CRDs change."),
        String::new(),
    ];
    let minutes = deadline(recipe, purpose);
    let about: &[&str] = match (engine, purpose) {
        (Engine::ArgoCd, Purpose::Presync) => &[
            "PreSync hooks in three waves. Argo CD deletes each and makes it again at every sync, also at each retry, so",
            "no account keeps rights that an older file gave. The project of the Application must allow ClusterRoles.",
            "The UpgradePolicy and the PlatformRelease must be in the cluster before: an Application applies its own",
            "objects after PreSync. The CRDs of the platform are the Job's to apply. Never mark a CRD as a hook: it",
            "would be deleted, and every object of its kind with it.",
        ],
        (Engine::ArgoCd, Purpose::Verify) => &["PostSync hooks: they run when everything is applied and healthy."],
        (Engine::Flux, Purpose::Presync) => &[
            "For a Kustomization of its own, see kustomizations.yaml. The PlatformRelease may be in the same folder: Flux",
            "applies custom resources before Jobs. `force` is on the Job alone, which cannot be changed otherwise. A Job",
            "that failed is not run again until it is changed or deleted.",
        ],
        (Engine::Flux, Purpose::Verify) => {
            &["For the Kustomization after that of the workloads, see kustomizations.yaml."]
        }
        (Engine::Helm, Purpose::Presync) => &[
            "For the templates of a chart. Hooks are no part of the release: `helm uninstall` leaves them.",
            "The UpgradePolicy and the PlatformRelease must be in the cluster before. The CRDs of the platform are the",
            "Job's to apply, as `helm upgrade` never does.",
        ],
        (Engine::Helm, Purpose::Verify) => &[
            "For the templates of a chart. Helm's own --wait takes a workload that the guard holds for ready; this Job",
            "ends when everything is in place.",
        ],
    };
    lines.extend(about.iter().map(|line| (*line).to_owned()));
    if engine == Engine::Helm {
        lines.push(format!("Give helm a --timeout of more than {minutes}m, the longest that the Job may take."));
    }
    lines
}

/// The three Kustomizations: before, the platform itself, after.
fn kustomizations(recipe: &Recipe) -> Result<File, RecipeError> {
    let policy = short(recipe.policy_name());
    let tier = |tier: &str, after: Option<&str>, minutes: i64, remarks: Vec<String>| {
        let mut spec = json!({
            "interval": "10m",
            "retryInterval": "1m",
            "timeout": format!("{minutes}m"),
            "path": format!("./{tier}"),
            "prune": true,
            "wait": true,
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
        });
        if let Some(after) = after {
            spec["dependsOn"] = json!([{"name": format!("{policy}-{after}")}]);
        }
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": format!("{policy}-{tier}"), "namespace": "flux-system"},
            "spec": spec,
        });
        Part { stage: Stage::Job, remarks, object }
    };
    let mut remarks = vec![
        "The platform's own manifests. Never with spec.force: it deletes Deployments and makes them again.".to_owned(),
    ];
    if recipe.policy.spec.on_not_yet == OnNotYet::Deny {
        remarks.push(
            "Under onNotYet: Deny one Kustomization stops at the first workload, by name, whose turn has not come:"
                .to_owned(),
        );
        remarks.push("split it into one for each component with dependsOn, or set onNotYet: Hold.".to_owned());
    }
    let parts = [
        tier("pre-deploy", None, deadline(recipe, Purpose::Presync) + 1, vec![]),
        tier("deploy", Some("pre-deploy"), 15, remarks),
        tier("post-deploy", Some("deploy"), deadline(recipe, Purpose::Verify) + 1, vec![]),
    ];
    let head = [
        format!("Made by `upgrade-guard recipe flux`: the order of an upgrade of policy {}.", recipe.policy_name()),
        "Each waits until the one before is ready. Correct sourceRef and path to where the files are.".to_owned(),
    ];
    Ok(File { path: "kustomizations.yaml", yaml: yaml(&head, &parts)? })
}

/// The objects as YAML, with their remarks as comments.
fn yaml(head: &[String], parts: &[Part]) -> Result<String, RecipeError> {
    let comment = |lines: &[String]| -> String {
        lines.iter().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
    };
    let mut text = comment(head);
    for part in parts {
        let yaml = serde_saphyr::to_string(&part.object).map_err(|error| RecipeError::Yaml {
            object: format!("{} {}", part.object["kind"], part.object["metadata"]["name"]).replace('"', ""),
            message: error.to_string(),
        })?;
        text.push_str("---\n");
        text.push_str(&comment(&part.remarks));
        text.push_str(&yaml);
    }
    Ok(text)
}
