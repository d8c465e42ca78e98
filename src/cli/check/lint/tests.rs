use std::fmt::Write as _;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use super::{Severity, lint};
use crate::cluster::documents::documents;
use crate::cluster::files::{Found, Source};

fn objects(yaml: &str) -> Vec<Found<Value>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chart.yaml");
    std::fs::write(&path, yaml).unwrap();
    let read = documents(&[Source::Path(path)]).into_iter().map(|document| {
        let mut found = document.unwrap();
        found.origin.file = "chart.yaml".to_owned();
        found
    });
    read.collect()
}

/// Everything that is said of `yaml`, in which the Deployment `api` is governed.
fn told(yaml: &str) -> String {
    let objects = objects(yaml);
    let lint = lint(objects.iter(), Some("shop"), |namespace, kind, name| {
        (namespace, kind, name) == ("shop", "Deployment", "api")
    });
    let mut text = String::new();
    for finding in &lint.findings {
        let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
        let (code, object, origin) = (finding.code, &finding.object, &finding.origin.text);
        let (message, remedy) = (&finding.message, &finding.remedy);
        writeln!(text, "{severity} [{code}] {object} ({origin})\n  {message}\n  -> {remedy}").unwrap();
    }
    for name in &lint.taken_as_there {
        writeln!(text, "taken as there: {name}").unwrap();
    }
    text
}

fn codes(yaml: &str) -> Vec<&'static str> {
    let objects = objects(yaml);
    lint(objects.iter(), Some("shop"), |_, _, _| false).findings.into_iter().map(|finding| finding.code).collect()
}

/// An object with annotations.
fn object(api_version: &str, kind: &str, name: &str, annotations: &[(&str, &str)], rest: &str) -> String {
    let mut yaml = format!("---\napiVersion: {api_version}\nkind: {kind}\nmetadata:\n  name: {name}\n");
    if !annotations.is_empty() {
        yaml.push_str("  annotations:\n");
    }
    for (key, value) in annotations {
        writeln!(yaml, "    {key}: \"{value}\"").unwrap();
    }
    yaml + rest
}

/// A Job with one account.
fn job(annotations: &[(&str, &str)]) -> String {
    let rest = "spec:\n  template:\n    spec:\n      serviceAccountName: migrate\n      containers: []\n";
    object("batch/v1", "Job", "migrate", annotations, rest)
}

fn account(name: &str, annotations: &[(&str, &str)]) -> String {
    object("v1", "ServiceAccount", name, annotations, "")
}

const ARGO: &str = "argocd.argoproj.io/hook";
const WAVE: &str = "argocd.argoproj.io/sync-wave";
const HELM: &str = "helm.sh/hook";
const WEIGHT: &str = "helm.sh/hook-weight";

#[test]
fn a_crd_that_is_a_hook_is_refused() {
    let crd =
        |annotations| object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "tools.shop", annotations, "");
    assert_snapshot!(told(&(crd(&[(ARGO, "PreSync")]) + &crd(&[(HELM, "pre-install,pre-upgrade")]))));
    for plain in [&[][..], &[(ARGO, "Skip")], &[(HELM, "crd-install")], &[(WAVE, "-1")]] {
        assert_eq!(told(&crd(plain)), "", "{plain:?}");
    }
}

#[test]
fn what_argo_cd_brings_too_late_is_told() {
    let presync = [(ARGO, "PreSync"), (WAVE, "-1")];
    let case = |annotations: &[(&str, &str)]| codes(&(job(&presync) + &account("migrate", annotations)));
    let late = ["hook-needs-later-object"];
    assert_eq!(case(&[]), late, "no hook");
    assert_eq!(case(&[(WAVE, "-10")]), late, "no hook, whatever its wave");
    assert_eq!(case(&[(ARGO, "PreSync")]), late, "a later wave");
    assert_eq!(case(&[(ARGO, "PostSync"), (WAVE, "-5")]), late, "a later phase");
    assert_eq!(case(&[(ARGO, "PreSync"), (WAVE, "-2")]), [""; 0], "an earlier wave");
    assert_eq!(case(&[(ARGO, "PreSync"), (WAVE, "-1")]), [""; 0], "the same wave: Argo CD goes by kind then");
    let of =
        |hook: &str, annotations: &[(&str, &str)]| codes(&(job(&[(ARGO, hook)]) + &account("migrate", annotations)));
    assert_eq!(of("PostSync", &[]), [""; 0], "a Job after the sync has all that is no hook");
    assert_eq!(of("Sync", &[]), [""; 0]);
    assert_eq!(of("Sync", &[(WAVE, "1")]), late);
    assert_eq!(of("SyncFail", &[]), [""; 0]);
}

#[test]
fn what_helm_brings_too_late_is_told() {
    let case = |hook: &str, name: &str, annotations: &[(&str, &str)]| {
        let job = job(&[(HELM, hook), (WEIGHT, "1")])
            .replace("serviceAccountName: migrate", &format!("serviceAccountName: {name}"));
        codes(&(job + &account(name, annotations)))
    };
    let late = ["hook-needs-later-object"];
    assert_eq!(case("pre-install,pre-upgrade", "migrate", &[]), late);
    assert_eq!(case("pre-upgrade", "migrate", &[]), late);
    assert_eq!(case("post-install", "migrate", &[]), [""; 0]);
    assert_eq!(case("pre-install", "migrate", &[(HELM, "pre-install")]), [""; 0], "a weight of 0");
    assert_eq!(case("pre-install", "migrate", &[(HELM, "pre-install"), (WEIGHT, "2")]), late);
    assert_eq!(case("pre-install", "migrate", &[(HELM, "pre-install"), (WEIGHT, "1")]), [""; 0], "the same name");
    assert_eq!(case("pre-install", "later", &[(HELM, "pre-install"), (WEIGHT, "1")]), [""; 0], "an earlier name");
    assert_eq!(case("pre-install", "nightly", &[(HELM, "pre-install"), (WEIGHT, "1")]), late, "a later name");
    assert_eq!(case("pre-install", "migrate", &[(HELM, "post-install")]), late);
    assert_eq!(case("pre-upgrade", "migrate", &[(HELM, "pre-install"), (WEIGHT, "5")]), [""; 0], "left by the install");
}

#[test]
fn all_that_a_pod_names_is_looked_for() {
    let pod = "\
spec:
  template:
    spec:
      serviceAccountName: default
      imagePullSecrets: [{name: pull}]
      volumes:
      - {name: a, secret: {secretName: volume}}
      - {name: b, configMap: {name: volume}}
      - {name: c, projected: {sources: [{secret: {name: projected}}, {configMap: {name: projected}}]}}
      - {name: d, secret: {secretName: optional, optional: true}}
      initContainers:
      - {name: a, envFrom: [{secretRef: {name: init}}, {configMapRef: {name: init}}]}
      containers:
      - name: b
        env:
        - {name: A, value: plain}
        - {name: B, valueFrom: {secretKeyRef: {name: env, key: k}}}
        - {name: C, valueFrom: {configMapKeyRef: {name: env, key: k}}}
        - {name: D, valueFrom: {configMapKeyRef: {name: optional, key: k, optional: true}}}
";
    let hook = |hook: &str| object("batch/v1", "Job", "migrate", &[(ARGO, hook)], pod);
    assert_snapshot!("nothing_of_it_is_there", told(&hook("PreSync")));
    let mut all = hook("PreSync");
    for (kind, names) in
        [("Secret", "env init optional projected pull volume"), ("ConfigMap", "env init optional projected volume")]
    {
        all.extend(names.split(' ').map(|name| object("v1", kind, name, &[], "")));
    }
    assert_snapshot!("all_of_it_comes_too_late", told(&all));
    let elsewhere = object("v1", "Secret", "volume", &[], "").replace("  name", "  namespace: other\n  name");
    assert!(
        !told(&(hook("PreSync") + &elsewhere)).contains("hook-needs-later-object"),
        "a Secret of another namespace"
    );
}

#[test]
fn both_dialects_are_told() {
    let both = job(&[(ARGO, "PreSync"), (HELM, "pre-upgrade")]);
    assert_snapshot!("on_one_object", told(&(account("migrate", &[(ARGO, "PreSync")]) + &both)));
    let config = |name: &str, hook: &str| object("v1", "ConfigMap", name, &[(HELM, hook)], "");
    let mixed = account("migrate", &[(ARGO, "PreSync")]) + &config("a", "pre-upgrade") + &config("b", "post-upgrade");
    assert_snapshot!("over_one_set", told(&mixed));
    assert_eq!(told(&(account("migrate", &[(ARGO, "PreSync")]) + &config("a", "test"))), "", "nobody runs tests");
}

#[test]
fn jobs_that_vanish_are_told() {
    let with_ttl = |seconds: &str| {
        job(&[(ARGO, "PreSync")]).replace("spec:\n  t", &format!("spec:\n  ttlSecondsAfterFinished: {seconds}\n  t"))
    };
    let argo = job(&[(ARGO, "PreSync"), ("argocd.argoproj.io/hook-delete-policy", "HookSucceeded,HookFailed")]);
    let helm = job(&[(HELM, "pre-upgrade"), ("helm.sh/hook-delete-policy", "before-hook-creation, hook-failed")]);
    assert_snapshot!(format!("{}{}{}", told(&with_ttl("0")), told(&argo), told(&helm)));
    assert_eq!(codes(&with_ttl("86400")), [""; 0]);
    assert_eq!(codes(&with_ttl("599")), ["hook-removes-itself"]);
    let plain = with_ttl("0").replace(ARGO, "example.com/none");
    assert_eq!(codes(&plain), [""; 0], "a Job that is no hook");
}

#[test]
fn force_beside_governed_deployments_is_told() {
    let kustomization = |force: &str| {
        object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "shop", &[], &format!("spec:\n  force: {force}\n"))
    };
    let deployment = |name: &str, annotations: &[(&str, &str)]| object("apps/v1", "Deployment", name, annotations, "");
    let forced = [("kustomize.toolkit.fluxcd.io/force", "Enabled")];
    assert_snapshot!(told(&(kustomization("true") + &deployment("api", &forced))));
    assert_eq!(told(&(kustomization("false") + &deployment("api", &[]))), "");
    assert_eq!(told(&(kustomization("true") + &deployment("other", &forced))), "", "not governed");
    assert_eq!(told(&(kustomization("true") + &job(&[]))), "", "Jobs may be forced");
}

#[test]
fn the_recipes_themselves_are_clean() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/recipes");
    for engine in ["argocd", "flux", "helm"] {
        let read = documents(&[Source::Path(recipes.join(engine))]);
        let objects: Vec<_> = read.into_iter().map(Result::unwrap).collect();
        assert!(objects.len() > 10, "{engine}: {}", objects.len());
        let lint = lint(objects.iter(), None, |_, kind, _| kind == "Deployment");
        // The URL of the database is a secret of the install, and in no manifest.
        let secret = |name: &String| name.starts_with("Secret stoa-control-plane-api-secrets (");
        assert!(lint.findings.is_empty() && lint.taken_as_there.iter().all(secret), "{engine}: {lint:?}");
    }
}
