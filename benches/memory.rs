//! What the index keeps in memory of a small and of a large cluster with as many governed workloads: prints figures,
//! asserts nothing. Linux only, for it reads `/proc`.
//!
//! Each row is a process of its own, so that none has the heap of another.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use kube::core::ObjectList;
use upgrade_guard::api::UpgradePolicy;
use upgrade_guard::cluster::feed::{Feed, ReplicaSets, Workloads};
use upgrade_guard::cluster::index::{Index, Listed, ObjectKey, SharedIndex};
use upgrade_guard::cluster::object::WorkloadKind;
use upgrade_guard::cluster::raw::RawObject;

/// Objects in a page of a list, as the watches ask for.
const PAGE: usize = 250;
/// Namespaces that the policy governs.
const NAMESPACES: usize = 20;
/// Copies of what is kept, of which the memory of one is told.
const COPIES: u64 = 16;

fn main() {
    // cargo adds `--bench`.
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if let [governed, all] = numbers[..] {
        return measure(governed, all);
    }
    println!("governed  of Deployments  JSON fed   objects kept  kept     process grew by  at most by  took");
    let this = std::env::current_exe().expect("this program has a path");
    for (governed, all) in [(0, 500), (500, 500), (0, 10_000), (500, 10_000), (5_000, 10_000)] {
        let row = Command::new(&this).arg(governed.to_string()).arg(all.to_string()).status();
        assert!(row.expect("this program can be started").success());
    }
}

/// Lists `all` Deployments with two ReplicaSets each into an index that keeps `governed` of them, and prints a row.
fn measure(governed: usize, all: usize) {
    let index = SharedIndex::new();
    index.write(|index| index.reset_policies(policies()));
    let (before, started) = (memory("VmRSS:"), Instant::now());
    let name = |number: usize| format!("workload-{number:05}");
    let image = |number: usize| if number < governed { "ghcr.io/example/api" } else { "ghcr.io/example/other" };
    let deployments = (0..all).map(|number| deployment(number, &name(number), image(number)));
    let mut fed = list(&index, Workloads(WorkloadKind::Deployment), deployments);
    let of_both = (0..all).flat_map(|number| [(number, "7d4b9c6f58"), (number, "58c9f6b47d")]);
    let sets = of_both.map(|(number, hash)| replica_set(number, &name(number), hash, image(number)));
    fed += list(&index, ReplicaSets, sets);
    let (after, most, took) = (memory("VmRSS:"), memory("VmHWM:"), started.elapsed());

    let inventories: Vec<_> = (0..NAMESPACES).filter_map(|number| index.snapshot(&namespace(number))).collect();
    let copies: Vec<_> =
        (0..COPIES).flat_map(|_| inventories.iter().map(|snapshot| (*snapshot.inventory).clone())).collect();
    let kept = memory("VmRSS:").saturating_sub(after) / COPIES;
    drop(copies);
    println!(
        "{governed:>8}  {all:>14}  {:>5} MB  {:>13}  {kept:>4} KB  {:>12} KB  {:>7} KB  {:>4} ms",
        fed / 1_000_000,
        index.read(Index::len),
        after.saturating_sub(before),
        most.saturating_sub(before),
        took.as_millis(),
    );
}

/// Feeds `objects` as the watches do: page by page, each object to its record. Returns how much JSON that was.
fn list<F: Feed>(index: &SharedIndex, feed: F, objects: impl Iterator<Item = String>) -> usize {
    let mut listed = Listed::default();
    let mut bytes = 0;
    let mut objects = objects.peekable();
    while objects.peek().is_some() {
        let items: Vec<String> = objects.by_ref().take(PAGE).collect();
        let page = format!(r#"{{"apiVersion":"v1","kind":"List","metadata":{{}},"items":[{}]}}"#, items.join(","));
        drop(items);
        bytes += page.len();
        let page: ObjectList<RawObject> = serde_json::from_str(&page).expect("a list");
        for object in page.items {
            let key = ObjectKey::of(&object);
            let object = object.read().expect("a readable object");
            let record = index.select(feed, &key.namespace, object);
            listed.records.extend(record.map(|record| (key, record)));
        }
    }
    assert!(index.write(|index| index.reset(feed, index.generation(), listed)));
    bytes
}

fn policies() -> Listed<UpgradePolicy> {
    let policy: UpgradePolicy = serde_json::from_value(serde_json::json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "example" },
        "spec": {
            "namespaces": (0..NAMESPACES).map(namespace).collect::<Vec<_>>(),
            "components": [{ "name": "api", "match": { "images": ["ghcr.io/example/api"] } }],
        },
    }))
    .expect("a policy");
    Listed { records: vec![(ObjectKey::of(&policy), policy)], ..Listed::default() }
}

fn namespace(number: usize) -> String {
    format!("team-{}", number % NAMESPACES)
}

/// A Deployment of 4 KB, as clusters have them.
fn deployment(number: usize, name: &str, image: &str) -> String {
    let metadata = metadata(number, name, name);
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment",{metadata},"managedFields":[{}]}},"spec":{{"replicas":2,{},"strategy":{{"type":"RollingUpdate","rollingUpdate":{{"maxSurge":"25%","maxUnavailable":"25%"}}}},"revisionHistoryLimit":10,"progressDeadlineSeconds":600}},"status":{{"observedGeneration":3,"replicas":2,"updatedReplicas":2,"readyReplicas":2,"availableReplicas":2,"conditions":[{{"type":"Available","status":"True","reason":"MinimumReplicasAvailable","message":"Deployment has minimum availability.","lastTransitionTime":"2026-01-01T00:00:00Z"}},{{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable","message":"ReplicaSet has successfully progressed.","lastTransitionTime":"2026-01-01T00:00:00Z"}}]}}}}"#,
        managed_fields(),
        template(name, image),
    )
}

/// One of its ReplicaSets, with pods as in the middle of a rollout.
fn replica_set(number: usize, owner: &str, hash: &str, image: &str) -> String {
    let metadata = metadata(number, &format!("{owner}-{hash}"), owner);
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"ReplicaSet",{metadata},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"Deployment","name":"{owner}","uid":"{}","controller":true,"blockOwnerDeletion":true}}],"managedFields":[{}]}},"spec":{{"replicas":1,{}}},"status":{{"observedGeneration":1,"replicas":1,"fullyLabeledReplicas":1,"readyReplicas":1,"availableReplicas":1}}}}"#,
        uid(owner),
        managed_fields(),
        template(owner, image),
    )
}

fn uid(name: &str) -> String {
    format!("3f0c2a7e-{name:.>27}")
}

/// Metadata, left open for more.
fn metadata(number: usize, name: &str, app: &str) -> String {
    format!(
        r#""metadata":{{"name":"{name}","namespace":"{}","uid":"{}","resourceVersion":"{number}","generation":3,"creationTimestamp":"2026-01-01T00:00:00Z","labels":{{{}}},"annotations":{{"deployment.kubernetes.io/revision":"3","meta.helm.sh/release-name":"{app}","meta.helm.sh/release-namespace":"{}"}}"#,
        namespace(number),
        uid(name),
        labels(app),
        namespace(number),
    )
}

fn labels(app: &str) -> String {
    format!(
        r#""app.kubernetes.io/name":"{app}","app.kubernetes.io/instance":"{app}","app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/version":"2.3.0","helm.sh/chart":"{app}-2.3.0""#
    )
}

fn template(app: &str, image: &str) -> String {
    let mut env = String::new();
    for number in 0..12 {
        _ = write!(env, r#"{{"name":"SETTING_{number}","value":"a value of a setting, such as an address"}},"#);
    }
    let probe = r#"{"httpGet":{"path":"/health","port":"http","scheme":"HTTP"},"periodSeconds":10,"timeoutSeconds":1,"successThreshold":1,"failureThreshold":3}"#;
    format!(
        r#""selector":{{"matchLabels":{{"app.kubernetes.io/name":"{app}"}}}},"template":{{"metadata":{{"labels":{{{}}},"annotations":{{"checksum/config":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","prometheus.io/scrape":"true"}}}},"spec":{{"containers":[{{"name":"main","image":"{image}:2.3.0","imagePullPolicy":"IfNotPresent","ports":[{{"name":"http","containerPort":8080,"protocol":"TCP"}}],"env":[{env}{{"name":"LAST","value":""}}],"resources":{{"limits":{{"cpu":"1","memory":"512Mi"}},"requests":{{"cpu":"100m","memory":"128Mi"}}}},"readinessProbe":{probe},"livenessProbe":{probe}}}],"serviceAccountName":"{app}","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst"}}}}"#,
        labels(app),
    )
}

fn managed_fields() -> String {
    let mut env = String::new();
    for number in 0..12 {
        _ = write!(env, r#""k:{{\"name\":\"SETTING_{number}\"}}":{{".":{{}},"f:name":{{}},"f:value":{{}}}},"#);
    }
    format!(
        r#"{{"manager":"helm","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:labels":{{".":{{}},"f:app.kubernetes.io/name":{{}}}}}},"f:spec":{{"f:replicas":{{}},"f:template":{{"f:spec":{{"f:containers":{{"k:{{\"name\":\"main\"}}":{{{env}"f:image":{{}}}}}}}}}}}}}}}}"#
    )
}

/// A line of this process's status, in KB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let found = status.lines().find_map(|text| text.strip_prefix(line)).expect("a known line");
    found.trim().trim_end_matches(" kB").parse().expect("a number")
}
