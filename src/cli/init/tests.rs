//! Whatever runs, what is written can be used, and governs it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

use super::hints;
use super::survey::Survey;
use super::write::{self, Draft};
use super::*;
use crate::api::{definitions, with_releases};
use crate::cluster::documents::documents_in;
use crate::cluster::files::Manifests;
use crate::cluster::inventory::versions;
use crate::crds::validation::Validator;
use crate::domain::policy::Policy;

#[test]
fn a_release_is_numbers_with_dots() {
    for (text, expected) in [("2026.07", true), ("2", true), ("v2.3", false), ("2..3", false), ("", false)] {
        assert_eq!(release_version(text).is_ok(), expected, "{text}");
    }
}

/// Takes in everything that is commented out as YAML.
fn taken_in(text: &str) -> String {
    let line = |line: &str| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.strip_prefix('#') {
            Some(code) if !code.starts_with(' ') || code.starts_with("  ") => format!("{indent}{code}"),
            _ => line.to_owned(),
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

thread_local! {
    /// The schemas of the guard's own kinds: to make them ready takes longer than to ask them.
    static SCHEMAS: BTreeMap<String, Validator> = definitions().iter().map(schema).collect();
}

fn schema(crd: &CustomResourceDefinition) -> (String, Validator) {
    let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    (crd.spec.names.kind.clone(), Validator::new(schema.unwrap()).unwrap())
}

/// Asks the schema of each object in `text`, rules and all.
fn fits_the_schema(text: &str) {
    for document in documents_in("policy", text) {
        let mut object = document.unwrap_or_else(|wrong| panic!("{wrong}\n{text}")).object;
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let verdict = SCHEMAS.with(|schemas| schemas[&kind].judge(&mut object));
        assert!(verdict.violations.is_empty() && verdict.pruned.is_empty(), "{verdict:?}\n{text}");
    }
}

/// The policy in `text`, with the lines of its releases.
fn read(text: &str) -> Policy {
    fits_the_schema(text);
    let manifests = Manifests::of(documents_in("policy", text), None).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
    let [found] = manifests.policies.as_slice() else { panic!("one policy:\n{text}") };
    let policy = Policy::try_from(&found.object).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
    let (policy, wrong) = with_releases(policy, manifests.releases.iter().map(|found| &found.object));
    assert!(wrong.is_empty(), "{wrong:?}\n{text}");
    policy
}

/// Repositories and tags of every kind that matters, so that they meet each other often.
fn image() -> impl Strategy<Value = String> {
    let repositories = [
        "ghcr.io/shop/api",
        "mirror.example:5000/shop/api",
        "mirror.example/ghcr/shop/api",
        "ghcr.io/bank/api",
        "localhost/api",
        "api",
        "docker.io/library/web",
        "web",
        "shop/web",
        "ghcr.io/x/a_b",
        "ghcr.io/x/a-b",
        "ghcr.io/x/true",
        "ghcr.io/x/1.0",
        "postgres",
        "ghcr.io/shop/postgres",
        "istio/proxyv2",
    ];
    let tags = ["", ":latest", ":2.2.0", ":v2.3.1", ":release-2.2.0", ":api-2.2", ":dev-1f3a9c2", ":1.0.0-rc.1_b"];
    let digest = format!("@sha256:{}", "0f".repeat(32));
    (prop::sample::select(repositories.to_vec()), prop::sample::select(tags.to_vec()), prop::bool::weighted(0.1))
        .prop_map(move |(repository, tag, by_digest)| {
            format!("{repository}{tag}{}", if by_digest { digest.as_str() } else { "" })
        })
}

fn objects() -> impl Strategy<Value = Vec<Value>> {
    let kind = prop::sample::select(vec![
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("argoproj.io/v1alpha1", "Rollout"),
    ]);
    let words = prop::sample::select(vec!["http://w0:80", "w1", "api>=2.0.0", "wait", "nc -z w2 80"]);
    let container = || (image(), prop::sample::select(vec!["main", "istio-proxy"]), words.clone());
    let workload = (
        kind,
        prop::collection::vec(container(), 1..4),
        prop::collection::vec(container(), 0..2),
        prop::option::of(-1..2_i32),
        prop::option::of(prop::sample::select(vec!["2.2.0", "stable"])),
    );
    prop::collection::vec(workload, 1..7).prop_map(|workloads| {
        let mut objects = Vec::new();
        for (index, ((api, kind), containers, inits, wave, label)) in workloads.into_iter().enumerate() {
            let name = format!("w{index}");
            let list = |list: &[(String, &str, &str)]| -> Vec<Value> {
                let each = list.iter().enumerate().map(|(at, (image, name, word))| {
                    json!({"name": format!("{name}-{at}").replace("istio-proxy-0", "istio-proxy"), "image": image,
                           "command": ["sh", "-c", word], "env": [{"name": "PEER_HOST", "value": word}]})
                });
                each.collect()
            };
            let mut labels = json!({"app": name});
            if let Some(label) = label {
                labels["app.kubernetes.io/version"] = label.into();
            }
            let mut object = json!({
                "apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "ns", "annotations": {}},
                "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": list(&containers), "initContainers": list(&inits)},
                }},
            });
            if let Some(wave) = wave {
                object["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] = wave.to_string().into();
            }
            objects.push(object);
            objects.push(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "ns"},
                "spec": {"selector": {"app": name}},
            }));
        }
        objects
    })
}

/// What governs each container, by workload and image, with the version that is read there.
type Governed = BTreeSet<(String, String, String)>;

fn governed(policy: &Policy, objects: &[Value]) -> Governed {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let manifests = Manifests::of(documents_in("objects", &list), None).unwrap();
    let mut found = Governed::new();
    for record in manifests.namespaces["ns"].inventory.workloads() {
        for (id, resolved) in versions(policy, &record.name, &record.labels, &record.template) {
            let kind = record.id().kind;
            let component = policy.component(id).name.clone();
            found.insert((format!("{kind} {}", record.name), component, resolved.version.to_string()));
        }
    }
    found
}

fn promised(survey: &Survey) -> Governed {
    let runs = survey.components.iter().flat_map(|part| part.runs.iter().map(move |run| (part, run)));
    let told = runs.map(|(part, run)| {
        let workload = run.place.split(',').next().unwrap_or_default().to_owned();
        (workload, part.group.name.clone(), run.version.version.to_string())
    });
    told.collect()
}

/// A schema with its rules takes a while for each object; `PROPTEST_CASES` asks for more.
fn config() -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 24 };
    Config { cases, failure_persistence: None, max_shrink_iters: 200, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_written_is_valid_and_governs_what_runs(objects in objects(), all in any::<bool>()) {
        let survey = Survey::of(&objects, all);
        prop_assume!(!survey.components.is_empty());
        let order = hints::order(&survey, &objects, "ns");
        let draft = Draft { namespace: "ns", policy: "p", survey: &survey, order: &order, governed_by: &[] };
        let text = write::policy(&draft);

        let policy = read(&text);
        prop_assert_eq!(&policy.namespaces, &BTreeSet::from(["ns".to_owned()]));
        prop_assert!(policy.components.iter().all(|component| component.after.is_empty()), "an order was invented");
        prop_assert_eq!(governed(&policy, &objects), promised(&survey), "{}", text);

        // Guesses and what was left out may be taken in as they stand, all at once.
        let whole = taken_in(&text);
        let more = read(&whole);
        let offered = survey.left_out.iter().filter(|(_, why)| !matches!(why, Why::Known(known) if known.is_sidecar));
        prop_assert_eq!(more.components.len(), survey.components.len() + offered.count(), "{}", whole);

        if let Some(release) = write::release(&draft, "2026.07") {
            let policy = read(&format!("{text}{release}"));
            let listed: BTreeMap<&str, usize> = survey.components.iter()
                .map(|part| (part.group.name.as_str(), part.versions().len())).collect();
            prop_assert!(policy.components.iter().all(|component| listed.contains_key(component.name.as_str())));
        }
    }
}
