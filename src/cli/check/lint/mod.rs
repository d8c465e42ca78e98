//! What engines would make of the hooks in a set of manifests. A function of the documents: nothing is looked up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use self::hook::{Dialect, Hook, Object};
use crate::cluster::files::{Found, Origin};

mod hook;
mod needs;
#[cfg(test)]
mod tests;

/// A Job that removes itself sooner than this, in seconds, may be gone before the engine has looked at it.
const SHORT_TTL: i64 = 600;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Lint {
    /// In the order of the documents.
    pub(super) findings: Vec<Finding>,
    /// What hook Jobs need and the manifests do not hold.
    pub(super) taken_as_there: BTreeSet<String>,
}

/// Something that will not go as it should.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub(super) code: &'static str,
    pub(super) severity: Severity,
    /// Kind, namespace and name.
    pub(super) object: String,
    pub(super) origin: Place,
    /// What is wrong, and what comes of it.
    pub(super) message: String,
    /// What to do.
    pub(super) remedy: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Severity {
    /// The manifests are refused.
    Error,
    /// They are not.
    Warning,
}

/// Where the object stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    pub(super) file: String,
    document: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<usize>,
    /// All of it, as a person reads it.
    pub(super) text: String,
}

impl From<&Origin> for Place {
    fn from(origin: &Origin) -> Self {
        let Origin { file, document, line, item } = origin.clone();
        Self { file, document, line, item, text: origin.to_string() }
    }
}

impl Lint {
    /// Whether the manifests are refused.
    pub(super) fn refuses(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn add(&mut self, object: &Object<'_>, code: &'static str, message: String, remedy: &str) {
        self.findings.push(Finding {
            code,
            severity: Severity::Warning,
            object: object.to_string(),
            origin: object.origin.into(),
            message,
            remedy: remedy.to_owned(),
        });
    }
}

/// Where each object stands, by namespace and by kind and name as a workload is named.
pub(super) fn places<'a>(
    documents: impl Iterator<Item = &'a Found<Value>>,
    namespace: Option<&'a str>,
) -> BTreeMap<(String, String), Place> {
    documents
        .map(|found| {
            let object = Object::read(found, namespace.unwrap_or_default());
            let name = format!("{}/{}", object.kind.to_lowercase(), object.name);
            ((object.namespace.to_owned(), name), Place::from(object.origin))
        })
        .collect()
}

/// Looks at `documents`. Those without a namespace are of `namespace`; `governed` tells whether a kind and name in a
/// namespace is a workload of a policy.
pub(super) fn lint<'a>(
    documents: impl Iterator<Item = &'a Found<Value>>,
    namespace: Option<&'a str>,
    governed: impl Fn(&str, &str, &str) -> bool,
) -> Lint {
    let objects: Vec<Object<'_>> = documents.map(|found| Object::read(found, namespace.unwrap_or_default())).collect();
    let is_governed = |object: &&Object<'_>| governed(object.namespace, object.kind, object.name);
    let recreated = objects.iter().find(|object| object.kind == "Deployment" && is_governed(object));
    let mut lint = Lint::default();
    for object in &objects {
        if let Some(hook) = &object.hook {
            definition(object, hook, &mut lint);
            both_dialects(object, &mut lint);
            if object.is_job() {
                vanishing(object, hook, &mut lint);
                needs::check(object, hook, &objects, &mut lint);
            }
        }
        force(object, is_governed(&object), recreated, &mut lint);
    }
    mixed(&objects, &mut lint);
    lint
}

/// A CRD as a hook goes, with all its objects, whenever the hook is made again.
fn definition(object: &Object<'_>, hook: &Hook<'_>, lint: &mut Lint) {
    if (object.group, object.kind) != ("apiextensions.k8s.io", "CustomResourceDefinition") {
        return;
    }
    let annotation = hook.dialect.annotation();
    let message = match hook.dialect {
        Dialect::ArgoCd => format!(
            "is marked as a hook ({annotation}): Argo CD deletes a hook before it makes it again, and with the CRD go \
             all objects of its kind"
        ),
        Dialect::Helm => format!(
            "is marked as a hook ({annotation}): under Argo CD, which takes Helm's hooks for its own, it is deleted \
             before each sync, and with it go all objects of its kind"
        ),
    };
    let remedy =
        "remove the annotation: a CRD is a plain object, or applied by the Job that runs 'upgrade-guard presync'";
    lint.add(object, "crd-is-a-hook", message, remedy);
    if let Some(finding) = lint.findings.last_mut() {
        finding.severity = Severity::Error;
    }
}

fn both_dialects(object: &Object<'_>, lint: &mut Lint) {
    if object.has_both {
        let [argo, helm] = [Dialect::ArgoCd, Dialect::Helm].map(Dialect::annotation);
        let message = format!(
            "has both {argo} and {helm}: Argo CD goes by its own and ignores Helm's, here and on every other object"
        );
        lint.add(object, "two-hook-dialects", message, "render one of the two, by a value of the chart");
    }
}

/// Argo CD that finds a hook of its own anywhere runs none of Helm's.
fn mixed(objects: &[Object<'_>], lint: &mut Lint) {
    let of = |dialect: Dialect| {
        let runs = move |object: &&Object<'_>| {
            object.hook.as_ref().is_some_and(|hook| hook.dialect == dialect && !hook.is_test()) && !object.has_both
        };
        objects.iter().filter(runs)
    };
    let (Some(argo), Some(helm)) = (of(Dialect::ArgoCd).next(), of(Dialect::Helm).next()) else { return };
    let others = of(Dialect::Helm).count() - 1;
    let also = if others == 0 { String::new() } else { format!(" ({others} more like it)") };
    let message = format!(
        "is a hook of Helm{also}, and {argo} ({}) is one of Argo CD: where Argo CD finds its own it ignores Helm's",
        argo.origin
    );
    lint.add(helm, "two-hook-dialects", message, "render one of the two for the whole set");
}

/// A Job whose logs, or whose end, nobody gets to see.
fn vanishing(job: &Object<'_>, hook: &Hook<'_>, lint: &mut Lint) {
    let seconds = job.value.pointer("/spec/ttlSecondsAfterFinished").and_then(Value::as_i64);
    if let Some(seconds) = seconds.filter(|seconds| *seconds < SHORT_TTL) {
        let message = format!(
            "removes itself {seconds} s after its end (ttlSecondsAfterFinished): an engine that has not seen it end by \
             then waits for ever, and its logs are gone"
        );
        let remedy = "leave ttlSecondsAfterFinished out: the delete policy removes the Job before the next one";
        lint.add(job, "hook-removes-itself", message, remedy);
    }
    if let Some(policy) = hook.deletes.iter().find(|policy| matches!(**policy, "HookFailed" | "hook-failed")) {
        let message = format!("is deleted when it fails (delete policy {policy}), and with it the logs that say why");
        let remedy = match hook.dialect {
            Dialect::ArgoCd => "use BeforeHookCreation",
            Dialect::Helm => "use before-hook-creation",
        };
        lint.add(job, "hook-deleted-on-failure", message, remedy);
    }
}

/// Flux that is told to force deletes and makes again what it cannot change, also Deployments.
fn force(object: &Object<'_>, governed: bool, recreated: Option<&Object<'_>>, lint: &mut Lint) {
    const CODE: &str = "force-recreates";
    const REMEDY: &str = "force Jobs alone, each by the annotation kustomize.toolkit.fluxcd.io/force: enabled";
    const ANNOTATION: &str = "kustomize.toolkit.fluxcd.io/force";
    let is_kustomization = (object.group, object.kind) == ("kustomize.toolkit.fluxcd.io", "Kustomization");
    let forces = object.value.pointer("/spec/force").and_then(Value::as_bool) == Some(true);
    if let (true, true, Some(deployment)) = (is_kustomization, forces, recreated) {
        let message = format!(
            "has spec.force: true, beside {deployment}, which a policy governs: what cannot be changed is deleted and made \
             again, with all its pods at once"
        );
        lint.add(object, CODE, message, REMEDY);
    }
    if governed && object.annotation(ANNOTATION).is_some_and(|value| value.eq_ignore_ascii_case("enabled")) {
        let message = format!(
            "has {ANNOTATION}: enabled, and a policy governs it: when it cannot be changed it is deleted and made again, \
             with all its pods at once"
        );
        lint.add(object, CODE, message, REMEDY);
    }
}
