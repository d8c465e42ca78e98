//! The real Helm, with files of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The namespace that every test installs into.
pub(crate) const NAMESPACE: &str = "upgrade-guard";

/// A file of this repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder of the chart.
pub(crate) fn chart() -> PathBuf {
    in_repository("charts/upgrade-guard")
}

/// What a call of Helm gave.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The Helm that `tests/helm/install` found.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let output = Command::new(in_repository("tests/helm/install")).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "tests/helm/install failed: {}", output.status);
        let folder = String::from_utf8(output.stdout).unwrap();
        Path::new(folder.lines().last().unwrap()).join("helm")
    })
}

/// Runs Helm; without a kubeconfig it has no cluster to ask.
pub(crate) fn helm<S: AsRef<OsStr>>(kubeconfig: Option<&Path>, arguments: &[S]) -> Said {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.args(arguments).env_clear().env("HOME", home.path()).stdin(Stdio::null());
    command.env("KUBECONFIG", kubeconfig.unwrap_or_else(|| Path::new("/dev/null")));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// `helm template` of the chart with these options.
pub(crate) fn template(options: &[&str]) -> Said {
    let chart = chart();
    let start = ["template", "upgrade-guard", chart.to_str().unwrap(), "--namespace", NAMESPACE];
    helm(None, &[&start, options].concat())
}

/// The text that the chart renders with these options.
pub(crate) fn rendered(options: &[&str]) -> String {
    let said = template(options);
    assert!(said.success, "helm template {options:?}: {}", said.stderr);
    said.stdout
}

/// The objects that the chart renders with these options.
pub(crate) fn objects(options: &[&str]) -> Vec<Value> {
    documents(&rendered(options))
}

/// The objects in a stream of YAML.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let read = |document: &str| serde_saphyr::from_str::<Value>(document).unwrap_or_else(|e| panic!("{e}: {document}"));
    // A document that is all comment is none.
    let has_content = |document: &&str| document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#'));
    format!("\n{text}").split("\n---\n").filter(has_content).map(read).collect()
}

/// `Deployment upgrade-guard`
pub(crate) fn name(object: &Value) -> String {
    format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

/// Whether Helm runs it at some moment, instead of keeping it.
pub(crate) fn is_hook(object: &Value) -> bool {
    !object["metadata"]["annotations"]["helm.sh/hook"].is_null()
}

/// The only object of this kind and name.
pub(crate) fn the<'a>(objects: &'a [Value], wanted: &str) -> &'a Value {
    let found: Vec<&Value> = objects.iter().filter(|object| name(object) == wanted).collect();
    assert_eq!(found.len(), 1, "{wanted} among {:?}", objects.iter().map(name).collect::<Vec<_>>());
    found[0]
}
