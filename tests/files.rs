//! Manifests as they lie around: many kinds of files, lists and states, and what is made of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use jiff::Timestamp;
use upgrade_guard::cluster::files::{Manifests, Source};
use upgrade_guard::domain::policy::Policy;
use upgrade_guard::domain::version::Version;
use upgrade_guard::domain::view::{ComponentView, Missing, Rollout};

/// Writes `files`, each a path and its content, into a folder.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

/// Loads `files` as one folder.
fn load(files: &[(&str, &str)]) -> Result<Manifests, String> {
    let folder = folder(files);
    load_path(folder.path()).map_err(|error| error.replace(&folder.path().display().to_string(), "FOLDER"))
}

fn load_path(path: &Path) -> Result<Manifests, String> {
    Manifests::load(&[Source::Path(path.to_owned())], Some("given")).map_err(|errors| errors.to_string())
}

const POLICY: &str = "
apiVersion: guard.gostoa.dev/v1alpha1
kind: UpgradePolicy
metadata: {name: p}
spec:
  namespaces: [given]
  components:
    - {name: db, match: {names: [db]}}
";

/// The component `db` of the namespace `given`, as the rules see it.
fn db(manifests: &Manifests) -> ComponentView {
    let policy = load(&[("policy.yaml", POLICY)]).unwrap().policies.remove(0).object;
    let policy = Policy::try_from(&policy).unwrap();
    manifests.namespaces["given"].inventory.view(&policy, Timestamp::UNIX_EPOCH).components[0].clone()
}

fn workload(kind: &str, name: &str, tag: &str, rest: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  replicas: 2\n  template: {{spec: \
         {{containers: [{{name: c, image: 'x/db:{tag}'}}]}}}}\n{rest}"
    )
}

fn running(view: &ComponentView) -> Vec<(String, u32)> {
    view.running().into_iter().map(|(version, pods)| (version.to_string(), pods)).collect()
}

#[test]
fn folders_are_read_with_all_that_lies_in_them() {
    let manifests = load(&[
        ("b/deep/down/db.yml", &workload("StatefulSet", "db", "1.2.0", "")),
        ("a.yaml", "# only a comment\n---\n---\napiVersion: v1\nkind: Service\nmetadata: {name: db}\n"),
        ("policy.json", r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}"#),
        ("b/kustomization.yaml", "resources: [deep]\n"),
        ("b/.hidden/broken.yaml", "{"),
        (".broken.yaml", "{"),
        ("README.md", "{"),
        ("values.txt", "{"),
    ])
    .unwrap();
    assert_eq!((manifests.workloads(), manifests.ignored), (1, 3));
    assert_eq!(running(&db(&manifests)), [("1.2.0".to_owned(), 2)]);
}

#[test]
fn lists_of_both_sorts_are_taken_apart() {
    let item = workload("Deployment", "db", "1.2.0", "").replace('\n', "\n  ");
    let list =
        format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- apiVersion: v1\n  kind: Service\n", item.trim_end());
    let typed =
        r#"{"apiVersion": "policy/v1", "kind": "PodDisruptionBudgetList", "items": [{"metadata": {"name": "a"}}]}"#;
    let manifests = load(&[("list.yaml", &list), ("typed.json", typed)]).unwrap();
    assert_eq!((manifests.workloads(), manifests.ignored), (1, 1));
    assert_eq!(manifests.namespaces["given"].inventory.len(), 2, "the workload and the budget");

    let broken = list.replace("x/db:1.2.0", "");
    let error = load(&[("list.yaml", &broken)]).unwrap_err();
    assert_eq!(
        error,
        "FOLDER/list.yaml: document 1 (line 1), item 1, Deployment db: spec.template.spec.containers[0].image: is missing"
    );
}

#[test]
fn an_empty_status_of_a_manifest_is_none_and_that_of_a_new_object_is_not() {
    let manifest = load(&[("db.yaml", &workload("Deployment", "db", "1.2.0", "status: {}\n"))]).unwrap();
    assert_eq!(db(&manifest).workloads[0].rollout, Rollout::Settled);
    let live = workload("Deployment", "db", "1.2.0", "status: {}\n")
        .replace("{name: db}", "{name: db, uid: abc, generation: 1}");
    let live = load(&[("db.yaml", &live)]).unwrap();
    assert_eq!(db(&live).workloads[0].rollout, Rollout::Progressing(Missing::NotObserved));
}

#[test]
fn a_stateful_set_tells_its_old_pods_by_the_controller_revision() {
    let rolling = workload(
        "StatefulSet",
        "db",
        "1.3.0",
        "status: {replicas: 2, updatedReplicas: 1, availableReplicas: 2, currentRevision: db-1, updateRevision: db-2}\n",
    );
    let revision = |number: u32, tag: &str| {
        format!(
            "apiVersion: apps/v1\nkind: ControllerRevision\nrevision: {number}\nmetadata: {{name: db-{number}, \
             ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: '1', controller: true}}]}}\n\
             data: {{spec: {{template: {{spec: {{containers: [{{name: c, image: 'x/db:{tag}'}}]}}}}}}}}\n"
        )
    };
    let manifests =
        load(&[("a.yaml", &revision(1, "1.2.0")), ("b.yaml", &revision(2, "1.3.0")), ("c.yaml", &rolling)]).unwrap();
    let db = db(&manifests);
    assert_eq!(running(&db), [("1.2.0".to_owned(), 1), ("1.3.0".to_owned(), 1)]);
    assert_eq!(db.workloads[0].desired, [Version::read("1.3.0")]);
}

#[test]
fn all_problems_of_all_files_are_told_at_once_and_in_the_same_order() {
    let files = [
        ("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {}\n"),
        ("b.yaml", "just text"),
        ("c.json", "{\"kind\": "),
        ("d.yaml", "a: 1\na: 2\n"),
        ("e.yaml", "apiVersion: guard.gostoa.dev/v9\nkind: UpgradePolicy\n"),
    ];
    let errors = load(&files).unwrap_err();
    assert_eq!(errors, load(&files).unwrap_err());
    let starts: Vec<&str> = errors.lines().filter_map(|line| line.strip_prefix("FOLDER/")).collect();
    let files: Vec<&str> = starts.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(files, ["a.yaml", "b.yaml", "c.json", "d.yaml", "e.yaml"], "{errors}");
}

#[test]
fn hostile_yaml_ends_in_an_error() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d \
                [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g \
                [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    assert!(load(&[("bomb.yaml", bomb)]).unwrap_err().contains("is not valid YAML"));
    let deep = "[".repeat(100_000);
    assert!(load(&[("deep.yaml", &deep)]).unwrap_err().contains("is not valid YAML"));
}
