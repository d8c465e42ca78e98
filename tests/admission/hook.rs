//! What the hook has to have done before a component goes up: under the shipped policy.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use upgrade_guard::api::Platform;
use upgrade_guard::domain::preparation::CrdState;

use super::objects::{Workload, image};
use super::review::Review;
use super::world::{Read, World, release, shipped_policy};

const CRDS: [&str; 5] = ["gatewaybindings", "gatewayinstances", "skills", "tools", "toolsets"];
const PRECONDITIONS: [&str; 3] = ["postgres-backup", "keycloak-realm-export", "health"];

/// The shipped policy without its database, which `schema.rs` is about.
fn policy() -> Value {
    let mut policy = shipped_policy();
    policy["spec"].as_object_mut().unwrap().remove("database");
    policy
}

fn bump(component: &str, from: &str, to: &str) -> Review {
    Review::image(&Workload::deployment(component, &image(component, from)), &image(component, to))
}

fn api_up() -> Review {
    bump("control-plane-api", "2.2.0", "2.3.0")
}

/// What the hook leaves that found everything for 2.3.0, a minute ago.
fn run() -> Value {
    let at = (Timestamp::now() - SignedDuration::from_mins(1)).to_string();
    let names = ["control-plane-api", "stoa-gateway", "control-plane-ui", "portal"];
    json!({
        "target": "2.3.0",
        "components": names.map(|name| json!({"name": name, "version": "2.3.0"})),
        "started": at, "ended": at, "outcome": "Prepared",
        "preconditions": PRECONDITIONS.map(|name| json!({"name": name, "held": true, "message": "it is fine"})),
        "crds": CRDS.map(|crd| json!({"name": format!("{crd}.gostoa.dev"), "content": "new"})),
    })
}

/// `run` with something else in it.
fn but(pointer: &str, value: Value) -> Value {
    let mut run = run();
    *run.pointer_mut(pointer).unwrap() = value;
    run
}

/// `world` in a cluster with all CRDs, where the hook left these runs.
fn live(mut world: World, runs: &[Value]) -> World {
    for crd in CRDS {
        let state = CrdState { established: true, content: "new".to_owned() };
        world.inventory.crds_mut().insert(format!("{crd}.gostoa.dev"), state);
    }
    let platform: Platform = serde_json::from_value(json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "stoa"},
        "spec": {"policy": "stoa"}, "status": {"preparations": runs},
    }))
    .unwrap();
    world.inventory.platforms_mut().insert("stoa".to_owned(), platform);
    world
}

fn settled() -> World {
    World::settled_under(&policy(), "2.2.0")
}

/// With one CRD changed by `change`.
fn with_crd(mut world: World, crd: &str, change: impl FnOnce(&mut CrdState)) -> World {
    change(world.inventory.crds_mut().get_mut(&format!("{crd}.gostoa.dev")).unwrap());
    world
}

fn without_crds(mut world: World) -> World {
    world.inventory.crds_mut().clear();
    world
}

fn frozen() -> World {
    let mut policy = policy();
    policy["spec"]["freezeWindows"] = json!([{"name": "this-century", "cron": "0 0 1 1 *", "duration": "876000h"}]);
    World::settled_under(&policy, "2.2.0")
}

/// Two releases of which the later one changes what people rely on.
fn breaking() -> World {
    let all = |version| [("control-plane-api", version), ("stoa-gateway", version)];
    let [old, mut new] =
        [("2026.06", "2.2.0"), ("2026.07", "2.3.0")].map(|(name, version)| release(name, &all(version)));
    new["spec"]["breakingChanges"] = json!([
        {"name": "2026.07-auth-header", "message": "tokens go into the Authorization header.", "url": "https://docs.gostoa.dev/2026.07"},
        {"name": "2026.07-no-basic", "message": "basic authentication is gone"},
        {"name": "2026.07-gateway", "message": "of no matter to the API", "components": ["stoa-gateway"]},
    ]);
    settled().releases(&[old, new])
}

#[tokio::test]
async fn texts() {
    let refused = json!("CronJob postgres-backup last succeeded 30h before, and may 26h");
    let mut not_held = but("/preconditions/0/held", json!(false));
    not_held["preconditions"][0]["message"] = refused;
    let old = json!((Timestamp::now() - SignedDuration::from_hours(25)).to_string());
    let mut under_way = run();
    under_way["outcome"] = json!("Running");
    under_way.as_object_mut().unwrap().remove("ended");
    let all = live(settled(), &[run()]);
    let scenarios = [
        ("everything is there", all.clone(), api_up()),
        ("no hook ran, and no CRD is there", without_crds(live(settled(), &[])), api_up()),
        ("it ran for another version", all.clone(), bump("control-plane-api", "2.2.0", "2.3.1")),
        ("it is under way, or was killed", live(settled(), &[under_way]), api_up()),
        ("it failed", live(settled(), &[but("/outcome", json!("Failed"))]), api_up()),
        ("it found an old backup", live(settled(), &[not_held.clone()]), api_up()),
        ("the same, as a dry run", live(settled(), &[not_held]), api_up().dry_run()),
        ("what it found is old", live(settled(), &[but("/ended", old)]), api_up()),
        ("a CRD was changed", with_crd(all.clone(), "tools", |crd| crd.content = "other".to_owned()), api_up()),
        ("a CRD is on its way out", with_crd(all.clone(), "tools", |crd| crd.established = false), api_up()),
        ("back, without a hook", without_crds(live(settled(), &[])), bump("control-plane-api", "2.2.0", "2.1.0")),
        ("portal, which needs no CRD", without_crds(all), bump("portal", "2.2.0", "2.3.0")),
        ("in a freeze window", live(frozen(), &[run()]), api_up()),
        ("with breaking changes", live(breaking(), &[run()]), api_up()),
        ("where nobody looked", settled(), api_up()),
    ];
    let mut told = Vec::new();
    for (title, world, review) in scenarios {
        told.push(format!("# {title}\n{}", world.ask(&review).await.text()));
    }
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\dT[\d:]+Z").unwrap();
    insta::assert_snapshot!(time.replace_all(&told.join("\n"), "TIME"));
}

/// A refusal costs no call; an Allow is decided on the Platform as it is stored.
#[tokio::test]
async fn an_allow_is_made_sure_of_by_the_record_that_is_stored() {
    let refused = live(settled(), &[]).ask(&api_up()).await;
    assert!(!refused.allowed() && refused.reads == 0, "{}", refused.text());
    let seen = live(settled(), &[run()]);
    let allowed = seen.clone().ask(&api_up()).await;
    assert!(allowed.allowed() && allowed.reads == 1, "{}", allowed.text());
    // The hook runs again and finds something, and no watch has told it yet.
    let stored = live(settled(), &[but("/outcome", json!("Refused"))]);
    let raced = seen.asked(vec![Read::Shows(Box::new(stored))], vec![]).ask(&api_up()).await;
    assert!(!raced.allowed() && raced.text().contains("[UG-PRECONDITION]"), "{}", raced.text());
    assert!(raced.left.is_empty());
}

#[tokio::test]
async fn who_may_override_goes_without_the_hook() {
    let wish = "UG-PRECONDITION,UG-CRD; incident 4711; until=2999-01-01T00:00:00Z";
    let old = Workload::deployment("control-plane-api", &image("control-plane-api", "2.2.0"));
    let new = Workload::deployment("control-plane-api", &image("control-plane-api", "2.3.0"));
    let review = Review::update(&old, &new.set("/metadata/annotations/guard.gostoa.dev~1override", wish));
    let world = || without_crds(live(settled(), &[]));
    assert!(!world().ask(&review).await.allowed());
    let reply = world().where_user_may(Ok(true)).ask(&review).await;
    assert!(reply.allowed(), "{}", reply.text());
    assert_eq!(reply.left[0].overridden.as_ref().unwrap().rules, ["UG-CRD", "UG-PRECONDITION"]);
}

#[tokio::test]
async fn rules_that_only_warn_or_watch_let_it_pass() {
    for (mode, warnings) in [("Warn", 2), ("Audit", 0)] {
        let mut policy = policy();
        policy["spec"]["modes"] = json!({"UG-PRECONDITION": mode, "UG-CRD": mode});
        let world = without_crds(live(World::settled_under(&policy, "2.2.0"), &[]));
        let reply = world.ask(&api_up()).await;
        assert!(reply.allowed(), "{}", reply.text());
        assert_eq!(reply.warnings().len(), warnings, "{:?}", reply.warnings());
        assert!(reply.warnings().iter().all(|warning| warning.chars().count() < 120), "{:?}", reply.warnings());
    }
}
