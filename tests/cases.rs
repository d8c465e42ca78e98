//! The law as cases: every case gives exactly its verdict and its first code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use upgrade_guard::domain::change::{Change, Move};
use upgrade_guard::domain::decision::{Verdict, decide};
use upgrade_guard::domain::line::{Lines, Listed, Release};
use upgrade_guard::domain::policy::{Component, Policy, PolicyParts, Skew, SupportedRange};
use upgrade_guard::domain::resolver::resolve;
use upgrade_guard::domain::schema::{Nature, Need, Recorded, Schema};
use upgrade_guard::domain::version::Version;
use upgrade_guard::domain::view::{Intent, Missing, Rollout, View, WorkloadId, WorkloadView};

#[derive(Deserialize)]
struct File {
    platform: Platform,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Platform {
    components: BTreeMap<String, PlatformComponent>,
    max_hop: u32,
    #[serde(default)]
    releases: Vec<BTreeMap<String, String>>,
    #[serde(default)]
    tags: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformComponent {
    after: Vec<String>,
    #[serde(default)]
    skew: BTreeMap<String, Window>,
    supported: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    behind: u32,
    ahead: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    state: BTreeMap<String, serde_json::Value>,
    database: Option<String>,
    #[serde(rename = "move")]
    step: BTreeMap<String, String>,
    op: Option<String>,
    verdict: String,
    code: Option<String>,
    warn: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rolling {
    pods: BTreeMap<String, u32>,
    want: Option<String>,
    completed: Option<String>,
    ready: Option<u32>,
}

/// The component that the cases' databases belong to.
const DATABASE_OWNER: &str = "api";

fn policy(platform: &Platform) -> Policy {
    let names: Vec<&String> = platform.components.keys().collect();
    let id = |name: &str| {
        let position = names.iter().position(|known| *known == name);
        upgrade_guard::domain::policy::ComponentId(position.unwrap_or_else(|| panic!("no component {name}")))
    };
    let components = platform.components.iter().map(|(name, component)| Component {
        after: component.after.iter().map(|peer| id(peer)).collect(),
        skew: (component.skew.iter())
            .map(|(peer, window)| Skew { peer: id(peer), behind: window.behind, ahead: window.ahead })
            .collect(),
        supported: (component.supported.iter())
            .map(|range| SupportedRange { range: range.parse().unwrap(), warn: None })
            .collect(),
        uses_database: name == DATABASE_OWNER,
        ..Component::named(name)
    });
    let mut policy =
        Policy::new(PolicyParts { max_hop: platform.max_hop, ..PolicyParts::new("cases", components.collect()) })
            .unwrap();
    let releases = platform.releases.iter().map(|release| Release {
        name: release["name"].clone(),
        required_stop: false,
        components: (release.iter().filter(|(key, _)| *key != "name"))
            .map(|(name, version)| {
                let listed = platform.tags.get(name).into_iter().flatten().filter(|(_, v)| *v == version);
                let tags = listed.map(|(tag, _)| tag.clone()).collect();
                let version = version.parse().unwrap();
                (id(name), Listed { version, tags, digests: vec![], needs: BTreeMap::new() })
            })
            .collect(),
        ..Release::default()
    });
    policy.lines = Lines::new(releases.collect());
    policy
}

fn version(policy: &Policy, component: &str, tag: &str) -> Version {
    let id = policy.component_named(component).unwrap();
    let none = BTreeMap::new();
    resolve((id, policy.component(id)), &policy.lines, &format!("{component}:{tag}"), &none, &none).version
}

fn workload(name: &str) -> WorkloadId {
    WorkloadId { kind: "Deployment".into(), name: name.into() }
}

fn view(policy: &Policy, case: &Case, now: Timestamp) -> View {
    let mut view = View::empty(policy);
    for (name, state) in &case.state {
        if name == "intents" {
            let intents: BTreeMap<String, String> = serde_json::from_value(state.clone()).unwrap();
            for (name, tag) in intents {
                let id = policy.component_named(&name).unwrap();
                let expires = now + jiff::SignedDuration::from_secs(30);
                view.components[id.0].intents.push(Intent { version: version(policy, &name, &tag), expires });
            }
            continue;
        }
        let rolling = match state {
            serde_json::Value::Null => continue,
            serde_json::Value::String(tag) => Rolling {
                pods: BTreeMap::from([(tag.clone(), 2)]),
                want: Some(tag.clone()),
                completed: Some(tag.clone()),
                ready: None,
            },
            other => serde_json::from_value(other.clone()).unwrap(),
        };
        let component = &mut view.components[policy.component_named(name).unwrap().0];
        component.recorded = rolling.completed.as_ref().map(|tag| version(policy, name, tag));
        let Some(want) = rolling.want else { continue };
        let desired = version(policy, name, &want);
        let running: BTreeMap<Version, u32> =
            rolling.pods.iter().map(|(tag, count)| (version(policy, name, tag), *count)).collect();
        let total: u32 = running.values().sum();
        let updated = running.get(&desired).copied().unwrap_or(0);
        let available = rolling.ready.unwrap_or(total);
        let rollout = if updated < total {
            Rollout::Progressing(Missing::Updated { updated, of: total })
        } else if available < total {
            Rollout::Progressing(Missing::Available { available, of: total })
        } else {
            Rollout::Settled
        };
        component.workloads.push(WorkloadView { id: workload(name), desired: vec![desired], running, rollout });
    }
    view
}

fn change(policy: &Policy, view: &View, case: &Case) -> Change {
    let (name, tag) = case.step.iter().next().unwrap();
    let id = policy.component_named(name).unwrap();
    let from = (view.component(id).workloads.first()).and_then(|workload| workload.desired.first().cloned());
    assert_eq!(case.op.as_deref() == Some("CREATE"), from.is_none(), "operation fits the state in '{}'", case.name);
    let to = version(policy, name, tag);
    let moves = if from.as_ref() == Some(&to) { vec![] } else { vec![Move::new(id, from, to)] };
    Change { workload: workload(name), moves, restarts: vec![], capacity: None }
}

/// The database of a case: what moves needs `wanted`, of the revisions `before`, `wanted` and `after`.
fn schema(policy: &Policy, case: &Case) -> Option<Schema> {
    let (at, nature) = match case.database.as_deref()? {
        "same" => (Ok("wanted"), Nature::Breaking),
        "behind" => (Ok("before"), Nature::Additive),
        "ahead-additive" => (Ok("after"), Nature::Additive),
        "ahead-breaking" => (Ok("after"), Nature::Breaking),
        "unknown" => (Err("no answer"), Nature::Additive),
        other => panic!("unknown database state {other}"),
    };
    let (name, tag) = case.step.iter().next()?;
    let component = policy.component_named(name)?;
    let version = version(policy, name, tag);
    let known =
        [("before", &[][..], Nature::Additive), ("wanted", &["before"], nature), ("after", &["wanted"], nature)];
    let known = known.map(|(revision, down, nature)| {
        let down = down.iter().map(ToString::to_string).collect();
        (revision.to_owned(), Recorded { down, nature })
    });
    Some(Schema {
        at: at.map(|at| vec![at.to_owned()]).map_err(str::to_owned),
        needs: vec![Need { component, version, image: None, revision: "wanted".to_owned() }],
        known: known.into(),
        ..Schema::unread("")
    })
}

/// What the case got, when it is not what it should get.
fn failure(policy: &Policy, case: &Case) -> Option<String> {
    let now = Timestamp::UNIX_EPOCH;
    let mut view = view(policy, case, now);
    view.schema = schema(policy, case);
    let decision = decide(policy, &view, &change(policy, &view, case), now);
    let code = decision.reasons.first().map(|reason| reason.rule.to_string());
    let warn = decision.warnings.first().map(|reason| reason.rule.to_string());
    let verdict = decision.verdict.as_str();
    let texts: Vec<String> = decision.reasons.iter().chain(&decision.warnings).map(ToString::to_string).collect();
    (verdict != case.verdict || code != case.code || warn != case.warn).then(|| {
        format!(
            "'{}': wanted {} {:?} warn {:?}, got {verdict} {code:?} warn {warn:?}\n    {}",
            case.name,
            case.verdict,
            case.code,
            case.warn,
            texts.join("\n    ")
        )
    })
}

fn run(folder: &Path) -> usize {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let mut count = 0;
    let mut failures = Vec::new();
    for path in &files {
        let file: File = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap())
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let policy = policy(&file.platform);
        count += file.cases.len();
        failures.extend(file.cases.iter().filter_map(|case| failure(&policy, case)));
    }
    assert!(failures.is_empty(), "{} of {count} cases failed:\n{}", failures.len(), failures.join("\n"));
    count
}

#[test]
fn the_law_holds() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    if !shared.exists() {
        println!("no {} here: only the project's own cases are run", shared.display());
        return;
    }
    let count = run(&shared);
    println!("{count} cases of the law");
    assert!(count >= 60, "only {count} cases were found");
}

#[test]
fn the_projects_own_cases_hold() {
    assert!(run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")) > 0);
}

#[test]
fn a_wrong_case_is_noticed() {
    let file: File = serde_saphyr::from_str(
        "platform: {components: {api: {after: []}}, maxHop: 1}
cases: [{name: wrong, state: {api: 2.2.0}, move: {api: 2.4.0}, verdict: Allow}]",
    )
    .unwrap();
    assert_eq!(Verdict::Never.as_str(), "Never");
    assert!(failure(&policy(&file.platform), &file.cases[0]).unwrap().contains("got Never Some(\"UG-HOP\")"));
}
