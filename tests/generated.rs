//! What is generated into the repository is what the program prints today.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use upgrade_guard::{api, cli};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_crds_are_those_of_the_code() {
    let folder = in_repository("manifests/crds");
    let documents = cli::crds::documents().unwrap();
    for (name, yaml) in &documents {
        assert!(
            read(&folder.join(name)) == *yaml,
            "manifests/crds/{name} is not what the code says: run `make manifests`"
        );
    }
    let expected: BTreeSet<String> = documents.into_iter().map(|(name, _)| name).collect();
    for folder in ["manifests/crds", "charts/upgrade-guard/crds"] {
        let there = std::fs::read_dir(in_repository(folder)).unwrap();
        let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(there.collect::<BTreeSet<_>>(), expected, "files in {folder}");
    }
}

#[test]
fn the_chart_has_the_crds_and_the_version_of_the_code() {
    for (name, yaml) in cli::crds::documents().unwrap() {
        let path = format!("charts/upgrade-guard/crds/{name}");
        assert!(read(&in_repository(&path)) == yaml, "{path} is not what the code says: run `make manifests`");
    }
    let chart: Value = serde_saphyr::from_str(&read(&in_repository("charts/upgrade-guard/Chart.yaml"))).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_crds_survive_their_way_through_yaml() {
    for (crd, (name, yaml)) in api::definitions().iter().zip(cli::crds::documents().unwrap()) {
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read, serde_json::to_value(crd).unwrap(), "{name}");
    }
}

#[test]
fn the_pages_are_those_of_the_tables() {
    for (page, wanted) in [
        ("docs/rules.md", cli::rules::markdown()),
        ("docs/metrics.md", cli::metrics::markdown()),
        ("docs/crd-checks.md", cli::crds::markdown()),
        ("docs/migration-checks.md", cli::lint::markdown()),
        ("docs/policy.md", cli::crds::reference()),
        ("docs/cli.md", cli::reference::markdown()),
    ] {
        assert!(read(&in_repository(page)) == wanted, "{page} is not what the code says: run `make manifests`");
    }
}

/// Every field of the schemas has its row, below the heading of the object that it is in; of a status the first level.
#[test]
fn the_reference_of_fields_is_complete() {
    let page = cli::crds::reference();
    let mut fields = 0;
    for crd in api::definitions() {
        let kind = crd.spec.names.kind.clone();
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let schema = &schema["openAPIV3Schema"]["properties"];
        for (path, names) in objects(&format!("{kind}.spec"), &schema["spec"]) {
            fields += has_rows(&page, &path, &names);
        }
        if let Some((path, names)) = objects(&format!("{kind}.status"), &schema["status"]).into_iter().next() {
            fields += has_rows(&page, &path, &names);
        }
    }
    assert!(fields > 150, "{fields} fields");
}

/// Every object with fields of its own in `schema`, with the names of these, outermost first.
fn objects(path: &str, schema: &Value) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    if let Some(properties) = schema["properties"].as_object() {
        found.push((path.to_owned(), properties.keys().cloned().collect()));
        found.extend(properties.iter().flat_map(|(name, field)| objects(&format!("{path}.{name}"), field)));
    }
    found.extend(objects_in(&format!("{path}[]"), schema.get("items")));
    found.extend(objects_in(&format!("{path}.NAME"), schema.get("additionalProperties")));
    found
}

fn objects_in(path: &str, schema: Option<&Value>) -> Vec<(String, Vec<String>)> {
    schema.map(|schema| objects(path, schema)).unwrap_or_default()
}

/// Looks for the rows of an object in its section, and for a description in each; returns how many there are.
fn has_rows(page: &str, path: &str, names: &[String]) -> usize {
    let heading = format!("\n### {path}\n");
    let section = page.split_once(&heading).unwrap_or_else(|| panic!("no section for {path}")).1;
    let section = section.split("\n##").next().unwrap();
    for name in names {
        let row = section
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}`")) || line.starts_with(&format!("| **`{name}`**")));
        let row = row.unwrap_or_else(|| panic!("{path}.{name} is not in the reference"));
        let what = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(what.len() > 8 && what.ends_with('.'), "{path}.{name} has no description worth the name: '{what}'");
    }
    names.len()
}

#[test]
fn the_registration_is_what_the_program_prints() {
    for (path, options) in
        [("manifests/webhook.yaml", &[][..]), ("charts/upgrade-guard/templates/webhooks.yaml", &["--helm"])]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
        let printed = command.arg("webhook").args(options).output().unwrap();
        assert!(
            read(&in_repository(path)).as_bytes() == printed.stdout,
            "{path} is not what the code says: run `make manifests`"
        );
    }
}

#[test]
fn the_manifests_are_the_chart_without_helm() {
    let folder = tempfile::tempdir().unwrap();
    let written = Command::new(in_repository("charts/manifests")).arg(folder.path()).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert_eq!(files_below(folder.path()), ["guard.yaml", "rbac.yaml"]);
    for file in files_below(folder.path()) {
        assert!(
            read(&in_repository("manifests").join(&file)) == read(&folder.path().join(&file)),
            "manifests/{file} is not what the chart says: run `make manifests`"
        );
    }
}

#[test]
fn the_recipes_are_what_the_program_prints() {
    let makefile = read(&in_repository("Makefile"));
    let options = makefile.lines().find_map(|line| line.strip_prefix("RECIPE := ")).unwrap();
    for (engine, files) in [
        ("argocd", &["presync.yaml", "verify.yaml"][..]),
        ("flux", &["kustomizations.yaml", "post-deploy/verify.yaml", "pre-deploy/presync.yaml"]),
        ("helm", &["presync.yaml", "verify.yaml"]),
    ] {
        let printed = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["recipe", engine]).args(options.split(' '));
        assert!(command.arg("--dir").arg(printed.path()).output().unwrap().status.success());
        let committed = in_repository("manifests/recipes").join(engine);
        assert_eq!(files_below(&committed), files, "files in manifests/recipes/{engine}");
        assert_eq!(files_below(printed.path()), files);
        for file in files {
            assert!(
                read(&committed.join(file)) == read(&printed.path().join(file)),
                "manifests/recipes/{engine}/{file} is not what the code says: run `make manifests`"
            );
        }
    }
}

/// The paths of all files below `folder`, in order.
fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
