use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::api::{PlatformRelease, UpgradePolicy, with_releases};
use crate::database::connection::DatabaseError;
use crate::domain::schema::{Nature, Recorded};
use crate::domain::view::{ComponentView, Missing, Rollout, WorkloadId, WorkloadView};
use crate::report::News;

fn policy() -> Policy {
    let components = json!([
        {"name": "api", "match": {"names": ["api"]}},
        {"name": "gateway", "match": {"names": ["gateway"]}, "after": ["api"],
         "skew": [{"component": "api", "behind": 1}]},
        {"name": "ui", "match": {"names": ["ui"]}, "after": ["gateway"]},
    ]);
    let spec = json!({"namespaces": ["shop"], "components": components});
    let policy: UpgradePolicy = serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": spec})).unwrap();
    Policy::try_from(&policy).unwrap()
}

fn running(name: &str, runs: &[(&str, u32)], rollout: Rollout) -> ComponentView {
    let running: BTreeMap<Version, u32> = runs.iter().map(|(version, pods)| (Version::read(version), *pods)).collect();
    let id = WorkloadId { kind: "Deployment".to_owned(), name: name.to_owned() };
    let desired = running.keys().next_back().cloned().into_iter().collect();
    let workload = WorkloadView { id, desired, running, rollout };
    ComponentView { workloads: vec![workload], ..ComponentView::default() }
}

fn view(policy: &Policy, api: ComponentView) -> View {
    let mut view = View::empty(policy);
    view.components[0] = api;
    view
}

fn settled(version: &str) -> ComponentView {
    running("api", &[(version, 2)], Rollout::Settled)
}

#[test]
fn needs_are_read_as_they_are_written() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let crd: CrdNeed = format!("tools.gostoa.dev={digest}").parse().unwrap();
    assert_eq!((crd.name.as_str(), crd.content.as_deref()), ("tools.gostoa.dev", Some(digest.as_str())));
    assert_eq!("tools.gostoa.dev".parse::<CrdNeed>().unwrap().content, None);
    let component: ComponentNeed = "api >= v2.3".parse().unwrap();
    assert_eq!((component.name.as_str(), component.least.to_string().as_str()), ("api", "2.3.0"));
    for wrong in ["", "=sha256:00", "x=sha256:00", "x=0a"] {
        assert!(wrong.parse::<CrdNeed>().is_err(), "{wrong}");
    }
    for wrong in ["api", "api=2.3.0", ">=2.3.0", "api>=latest", "api>=24"] {
        assert!(wrong.parse::<ComponentNeed>().is_err(), "{wrong}");
    }
}

#[test]
fn only_the_very_revision_is_the_right_one() {
    let needed = |found: Result<Revision, RevisionError>| schema("b2", &found, Err("no cluster is asked"));
    assert_eq!(needed(Ok(Revision::One("b2".to_owned()))).state, State::Met);
    let heads = Revision::Several(vec!["a1".to_owned(), "b2".to_owned()]);
    for found in [Revision::One("a1".to_owned()), heads, Revision::Base, Revision::Empty, Revision::Untracked] {
        assert_eq!(needed(Ok(found.clone())).state, State::Unmet, "{found:?}");
    }
    let silent = RevisionError::from(DatabaseError::Timeout {
        url: "postgresql://u@db:5432/a".to_owned(),
        after: Duration::from_secs(5),
    });
    let need = needed(Err(silent));
    assert_eq!(need.state, State::Unknown);
    assert_eq!(need.to_string(), "schema revision b2: no answer from postgresql://u@db:5432/a within 5 s");
}

#[test]
fn ahead_is_right_where_the_record_has_it_as_additive() {
    let one = |down: &str, nature: Nature| Recorded { down: vec![down.to_owned()], nature };
    let known =
        [("b2", one("a1", Nature::Additive)), ("c3", one("b2", Nature::Additive)), ("d4", one("c3", Nature::Breaking))];
    let known = known.map(|(revision, recorded)| (revision.to_owned(), recorded));
    // What the record says of where the database is does not count: it was read just now.
    let record = Schema { known: known.into(), ..Schema::unread("nobody looked") };
    for (found, state, told) in [
        ("b2", State::Met, "the database is at b2"),
        ("c3", State::Met, "the database is at c3, ahead by revisions that only add"),
        ("a1", State::Unmet, "the database is at a1, and migrations are pending"),
        ("d4", State::Unmet, "the database is at d4, ahead by revisions that are not recorded as additive: d4"),
        ("x", State::Unmet, "the database is at x, and no record says whether that is before or after b2"),
    ] {
        let need = schema("b2", &Ok(Revision::One(found.to_owned())), Ok(&record));
        assert_eq!((need.state, need.found.as_str()), (state, told), "{found}");
    }
    let need = schema("b2", &Ok(Revision::One("c3".to_owned())), Err("no cluster is asked"));
    assert_eq!(need.found, "the database is at c3; only that very one is right, because no cluster is asked");
}

#[test]
fn a_crd_has_to_be_established_and_to_say_what_is_needed() {
    let definition = |conditions: &[(&str, &str)], extra: Value| {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status, "lastTransitionTime": null}))
            .collect();
        let names = json!({"kind": "Tool", "plural": "tools"});
        let mut object = json!({
            "metadata": {"name": "tools.gostoa.dev"},
            "spec": {"group": "gostoa.dev", "names": names, "scope": "Namespaced", "versions": []},
            "status": {"conditions": conditions, "acceptedNames": names, "storedVersions": []},
        });
        json_patch::merge(&mut object, &extra);
        serde_json::from_value::<CustomResourceDefinition>(object).unwrap()
    };
    let any = CrdNeed { name: "tools.gostoa.dev".to_owned(), content: None };
    let there = definition(&[("Established", "True"), ("NamesAccepted", "True")], json!({}));
    let same = CrdNeed { content: Some(content::digest(&there)), ..any.clone() };
    let other = CrdNeed { content: Some(format!("sha256:{}", "0a".repeat(32))), ..any.clone() };
    assert_eq!(crd(&any, Some(&there)).state, State::Met);
    assert_eq!(crd(&same, Some(&there)).state, State::Met);
    assert_eq!(crd(&other, Some(&there)).state, State::Unmet);
    assert_eq!(crd(&any, None).state, State::Unmet);
    let going = json!({"metadata": {"deletionTimestamp": "2026-07-17T12:00:00Z"}});
    for (conditions, extra) in [
        (vec![("Established", "False"), ("NamesAccepted", "True")], json!({})),
        (vec![("Established", "True"), ("NamesAccepted", "False")], json!({})),
        (vec![], json!({})),
        (vec![("Established", "True"), ("NamesAccepted", "True")], going),
    ] {
        assert_eq!(crd(&any, Some(&definition(&conditions, extra))).state, State::Unmet);
    }
}

#[test]
fn a_component_has_to_run_it_everywhere_and_be_settled() {
    let policy = policy();
    let need = |text: &str, api: ComponentView| component(&policy, &view(&policy, api), &text.parse().unwrap());
    let rolling = Rollout::Progressing(Missing::Updated { updated: 1, of: 2 });
    let held = Rollout::Progressing(Missing::Held(vec![Version::read("2.4.0")]));
    let mut told = Vec::new();
    for (text, api, expected) in [
        ("api>=2.3.0", settled("2.3.0"), State::Met),
        ("api>=2.3.0", settled("2.4.1"), State::Met),
        ("api>=2.3.0", settled("2.3.0-rc.1"), State::Unmet),
        ("api>=2.3.0", settled("2.2.9"), State::Unmet),
        ("api>=2.3.0", settled("latest"), State::Unmet),
        ("api>=2.3.0", running("api", &[("2.2.0", 1), ("2.3.0", 1)], rolling.clone()), State::Unmet),
        ("api>=2.3.0", running("api", &[("2.3.0", 2)], rolling), State::Unmet),
        // What is held has not begun: it runs what it ran.
        ("api>=2.3.0", running("api", &[("2.3.0", 2)], held), State::Met),
        ("api>=2.3.0", ComponentView::default(), State::Unmet),
        ("portal>=2.3.0", settled("2.3.0"), State::Unknown),
    ] {
        let need = need(text, api);
        assert_eq!(need.state, expected, "{need}");
        told.push(need.to_string());
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_release_needs_what_the_order_asks_for() {
    let release = |name: &str, api: &str, gateway: &str, needs: Value| -> PlatformRelease {
        let components = json!([
            {"name": "api", "version": api}, {"name": "gateway", "version": gateway, "needs": needs},
        ]);
        serde_json::from_value(json!({
            "metadata": {"name": name}, "spec": {"policy": "shop", "version": name, "components": components},
        }))
        .unwrap()
    };
    let releases = [
        release("2026.06", "2.2.0", "0.8.0", json!([])),
        release("2026.07", "2.3.0", "0.9.0", json!([])),
        release("2026.08", "2.4.0", "0.10.0", json!([{"component": "api", "version": "2.3.0"}])),
    ];
    let (policy, problems) = with_releases(policy(), &releases);
    assert!(problems.is_empty(), "{problems:?}");
    let gateway = policy.component_named("gateway").unwrap();
    let needs =
        |version: &str, api: ComponentView| upstream(&policy, &view(&policy, api), gateway, &Version::read(version));
    for (version, api, expected) in [
        ("0.9.0", "2.2.0", "Unmet api 2.3.0 or later: running 2.2.0 (2/2 pods)"),
        ("0.9.0", "2.3.0", "Met api 2.3.0 or later: running 2.3.0 (2/2 pods)"),
        ("0.9.0", "2.3.5", "Met api 2.3.0 or later: running 2.3.5 (2/2 pods)"),
        ("0.10.0", "2.3.0", "Met api 2.3.0 or later: running 2.3.0 (2/2 pods)"),
        ("0.10.0", "2.2.0", "Unmet api 2.3.0 or later: running 2.2.0 (2/2 pods)"),
        ("0.11.0", "2.4.0", "Unknown api for gateway 0.11.0: no release lists that version"),
    ] {
        let [need] = needs(version, settled(api)).try_into().unwrap();
        assert_eq!(format!("{:?} {need}", need.state), expected);
    }
    assert_eq!(needs("0.9.0", ComponentView::default()), [], "an install without the API needs nothing of it");
}

// --- waiting; the clock of these tests goes by itself

async fn wait(looks: &[Result<Vec<Need>, String>]) -> (Waited, Vec<String>) {
    let seen = Cell::new(0);
    let look = async || {
        let at = seen.replace(seen.get() + 1).min(looks.len() - 1);
        looks[at].clone()
    };
    let mut news: Vec<News> = vec![];
    let waited = until_met(look, Duration::from_mins(1), &mut news).await;
    (waited, news.into_iter().map(|news| news.message).collect())
}

fn need(met: bool) -> Need {
    let found = if met { "at b2" } else { "at a1" };
    Need::new("schema revision b2".to_owned(), met, found.to_owned())
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_everything_is_there_and_tells_changes_only() {
    let down = || Err("cannot list UpgradePolicies: connection refused".to_owned());
    let looks = [Ok(vec![need(false)]), Ok(vec![need(false)]), down(), down(), Ok(vec![need(true)])];
    let (waited, news) = wait(&looks).await;
    assert_eq!(waited, Waited { exit: Exit::Done, message: "schema revision b2: at b2".to_owned() });
    assert_eq!(
        news,
        ["waiting: schema revision b2: at a1", "waiting: cannot list UpgradePolicies: connection refused",]
    );
}

#[tokio::test(start_paused = true)]
async fn the_deadline_says_what_is_missing() {
    let unknown = Need::unknown("CRD x".to_owned(), "cannot get it".to_owned());
    for (looks, exit, message) in [
        (Ok(vec![need(false)]), Exit::Versions, "not there within 60 s: schema revision b2: at a1"),
        (
            Ok(vec![need(false), unknown.clone()]),
            Exit::Versions,
            "not there within 60 s: schema revision b2: at a1; CRD x: cannot get it",
        ),
        (Ok(vec![need(true), unknown]), Exit::CouldNot, "not there within 60 s: CRD x: cannot get it"),
        (Err("no API server".to_owned()), Exit::CouldNot, "not there within 60 s: no API server"),
    ] {
        let (waited, _) = wait(&[looks]).await;
        assert_eq!(waited, Waited { exit, message: message.to_owned() });
    }
}
