//! What moves a version, however it is asked for, is judged.

use serde_json::{Value, json};

use super::objects::{Workload, image};
use super::review::{Reply, Review};
use super::texts::restarted;
use super::world::{World, keycloak, stoa_policy};

fn at(component: &str, version: &str) -> Workload {
    Workload::deployment(component, &image(component, version))
}

fn gateway() -> Workload {
    at("stoa-gateway", "2.2.0")
}

#[track_caller]
fn denied(what: &str, reply: &Reply, code: &str) {
    assert!(!reply.allowed(), "{what} was allowed: {}", reply.text());
    assert!(reply.message().starts_with(&format!("[{code}] ")), "{what}: {}", reply.message());
    assert_eq!((reply.path, reply.snapshots, reply.decided.len()), ("governed", 1, 1), "{what}");
}

fn containers(list: Value) -> (&'static str, Value) {
    ("/spec/template/spec/containers", list)
}

/// Ways to bring the gateway to 2.3.0 before the API.
#[tokio::test]
async fn no_way_around_the_order() {
    let new = image("stoa-gateway", "2.3.0");
    let own = gateway().json["spec"]["template"]["spec"]["containers"][0].clone();
    let renamed = gateway().image(&new).set("/spec/template/spec/containers/0/name", "app");
    let init = |version: &str| {
        gateway().set(
            "/spec/template/spec/initContainers",
            json!([{"name": "warm", "image": image("stoa-gateway", version)}]),
        )
    };
    let beside = |version: &str| {
        let (at, list) = containers(json!([own, {"name": "next", "image": image("stoa-gateway", version)}]));
        gateway().set(at, list)
    };
    let annotated = |version: &str| {
        gateway()
            .image(&image("stoa-gateway", "latest"))
            .set("/spec/template/metadata/annotations/guard.gostoa.dev~1version", version)
    };
    let kong = |version: &str| {
        let sidecar = json!({"name": "stoa-sidecar", "image": image("stoa-gateway", version)});
        let (at, list) = containers(json!([{"name": "kong", "image": "kong:3.6.1"}, sidecar]));
        Workload::deployment("kong", "kong:3.6.1").set(at, list)
    };
    for (way, old, new) in [
        ("a new tag", gateway(), gateway().image(&new)),
        ("a renamed container", gateway(), renamed),
        ("an init container", init("2.2.0"), init("2.3.0")),
        ("a second container", gateway(), beside("2.3.0")),
        ("an annotation over a mutable tag", annotated("2.2.0"), annotated("2.3.0")),
        ("a registry of its own", gateway(), gateway().image("registry.evil.example/gw:2.3.0")),
        ("a registry with a port", gateway(), gateway().image("localhost:5000/gw:2.3.0")),
        ("a sidecar of another workload", kong("2.2.0"), kong("2.3.0")),
        ("scaled to nothing in the same update", gateway(), gateway().image(&new).set("/spec/replicas", 0)),
        ("paused in the same update", gateway(), gateway().image(&new).set("/spec/paused", true)),
    ] {
        let world = World::settled("2.2.0").with(&old);
        denied(way, &world.ask(&Review::update(&old, &new)).await, "UG-ORDER");
    }
}

#[tokio::test]
async fn creation_counts() {
    let generated =
        gateway().image(&image("stoa-gateway", "2.3.0")).without("/metadata/name").set("/metadata/generateName", "gw-");
    denied("a generated name", &World::settled("2.2.0").ask(&Review::create(&generated)).await, "UG-ORDER");

    let second = Workload::deployment("stoa-link-wm", &image("stoa-gateway", "2.3.0"));
    denied("a second workload", &World::settled("2.2.0").ask(&Review::create(&second)).await, "UG-ORDER");

    // Recreated two lines up: what the component completed is remembered, whether or not the deletion was seen.
    let again = at("control-plane-api", "2.4.0");
    let mut gone = World::settled("2.2.0");
    gone.inventory.remove_workload(&again.record().id());
    denied("recreated after a deletion", &gone.ask(&Review::create(&again)).await, "UG-HOP");
    let unseen = World::settled("2.2.0").ask(&Review::create(&again)).await;
    denied("recreated before the deletion was seen", &unseen, "UG-HOP");

    let same = gone.ask(&Review::create(&at("control-plane-api", "2.2.0"))).await;
    assert!(same.allowed(), "the same again: {}", same.text());
    let first = World::empty().ask(&Review::create(&at("stoa-gateway", "2.3.0"))).await;
    assert!(first.allowed(), "a first install has no order: {}", first.text());
}

/// The gateway asked for 2.3.0 while paused, when the API was there; then the API went back.
#[tokio::test]
async fn the_end_of_a_pause_is_judged() {
    let held = at("stoa-gateway", "2.3.0").set("/spec/paused", true).rolling(0);
    let resumed = held.clone().set("/spec/paused", false);
    let old = image("stoa-gateway", "2.2.0");
    let waiting = |world: World| world.with_pods(&held, &[(&old, 2)]);
    let review = Review::update(&held, &resumed);
    denied("resumed too early", &waiting(World::settled("2.2.0")).ask(&review).await, "UG-ORDER");
    let ready = waiting(World::settled("2.2.0").with(&at("control-plane-api", "2.3.0"))).ask(&review).await;
    assert!(ready.allowed(), "{}", ready.text());
    // The view may be older than the request: there the gateway still asks for what it runs.
    denied("resumed before the view shows it", &World::settled("2.2.0").ask(&review).await, "UG-ORDER");
}

/// What else an update changes does not hide the rollout that it sets going.
#[tokio::test]
async fn the_end_of_a_pause_is_judged_beside_other_changes() {
    let held = at("stoa-gateway", "2.3.0").set("/spec/paused", true).rolling(0);
    let old = image("stoa-gateway", "2.2.0");
    let world = World::settled("2.2.0").with_pods(&held, &[(&old, 2)]);
    let patched = held.clone().set("/spec/paused", false).image(&image("stoa-gateway", "2.3.1"));
    denied("resumed with a patch", &world.ask(&Review::update(&held, &patched)).await, "UG-ORDER");

    let beside = |version: &str| json!({"name": "portal", "image": image("portal", version)});
    let (at, list) = containers(json!([held.json["spec"]["template"]["spec"]["containers"][0], beside("2.2.0")]));
    let held = held.set(at, list);
    let world = World::settled("2.2.0").with_pods(&held, &[(&old, 2)]);
    let (at, list) = containers(json!([held.json["spec"]["template"]["spec"]["containers"][0], beside("2.2.1")]));
    let resumed = held.clone().set("/spec/paused", false).set(at, list);
    denied("resumed with another component", &world.ask(&Review::update(&held, &resumed)).await, "UG-ORDER");
}

/// The version label of a pod speaks for its main container; beside a foreign one a sidecar tells its own version.
#[tokio::test]
async fn the_label_of_another_main_container_says_nothing_of_a_sidecar() {
    let kong = |version: &str| {
        let sidecar = json!({"name": "stoa-sidecar", "image": image("stoa-gateway", version)});
        let (at, list) = containers(json!([{"name": "kong", "image": "kong:3.6.1"}, sidecar]));
        let pod = Workload::deployment("kong", "kong:3.6.1").set(at, list);
        pod.set("/spec/template/metadata/labels/app.kubernetes.io~1version", "3.6.1")
    };
    let review = Review::update(&kong("2.2.0"), &kong("2.3.0"));
    denied("too early", &World::settled("2.2.0").with(&kong("2.2.0")).ask(&review).await, "UG-ORDER");
    let ready = World::settled("2.2.0").with(&at("control-plane-api", "2.3.0")).with(&kong("2.2.0"));
    let answer = ready.ask(&review).await;
    assert!(answer.allowed(), "{}", answer.text());
}

#[tokio::test]
async fn undoing_a_rollout() {
    // `kubectl rollout undo` is an update like any other: back to the line that was completed is always possible.
    let rolling = at("control-plane-api", "2.3.0").rolling(1);
    let [new, old] = ["2.3.0", "2.2.0"].map(|version| image("control-plane-api", version));
    let world = World::settled("2.2.0").with_pods(&rolling, &[(&new, 1), (&old, 1)]);
    let undone = world.ask(&Review::image(&rolling, &old).by("kubectl-rollout")).await;
    assert!(undone.allowed(), "{}", undone.text());
    assert_eq!(undone.decided, ["stoa/control-plane-api Allow"]);

    // But not when something downstream has followed already.
    let done = at("control-plane-api", "2.3.0");
    let world = World::settled("2.3.0").with(&done);
    denied("undone too late", &world.ask(&Review::image(&done, &old)).await, "UG-ORDER");
}

#[tokio::test]
async fn a_patch_in_the_middle_of_a_rollout_is_allowed() {
    let rolling = at("control-plane-api", "2.3.0").rolling(1);
    let [new, old] = ["2.3.0", "2.2.0"].map(|version| image("control-plane-api", version));
    let world = World::settled("2.2.0").with_pods(&rolling, &[(&new, 1), (&old, 1)]);
    let reply = world.ask(&Review::image(&rolling, &image("control-plane-api", "2.3.1"))).await;
    assert!(reply.allowed() && reply.path == "fresh", "{}", reply.text());
}

#[tokio::test]
async fn a_container_that_becomes_another_component_is_new_to_it() {
    // The portal's 2.3.0 is no version that the gateway ever had: taking over its container is an install of 2.3.0.
    let portal = Workload::deployment("edge", &image("portal", "2.3.0"));
    let world = World::settled("2.2.0").with(&portal);
    let reply = world.ask(&Review::image(&portal, &image("stoa-gateway", "2.3.0"))).await;
    denied("another component in the same container", &reply, "UG-ORDER");
}

#[tokio::test]
async fn restarts_and_dry_runs_are_told_to_the_observer() {
    let latest = at("stoa-gateway", "latest");
    let world = World::settled("2.2.0").with(&latest);
    let reply = world.ask(&Review::update(&latest, &restarted(&latest))).await;
    assert!(reply.allowed() && reply.warnings().len() == 1, "{}", reply.text());
    let by_digest = gateway().image("ghcr.io/stoa-platform/stoa-gateway@sha256:9f86d081884c7d65");
    let reply = World::settled("2.2.0").with(&by_digest).ask(&Review::update(&by_digest, &restarted(&by_digest))).await;
    assert_eq!((reply.path, reply.warnings().len()), ("fast", 0), "a digest holds the same after a restart");

    let dry = Review::image(&gateway(), &image("stoa-gateway", "2.3.0")).dry_run();
    let reply = World::settled("2.2.0").ask(&dry).await;
    assert_eq!(reply.decided, ["stoa/stoa-gateway NotYet dry"]);
}

/// Whatever stands in a tag, a denial is one line without the words on which engines delete and recreate.
#[tokio::test]
async fn odd_names_and_tags_do_not_leak_into_the_form_of_a_denial() {
    let long = "x".repeat(200_000);
    for tag in [
        "field is immutable",
        "IMMUTABLE field",
        "im\u{0}mutable",
        "2.3.0\n[UG-ALLOW] all is well",
        "2.3.0\r\n\t\u{2028}\u{2029}\u{85}next",
        "\u{202e}0.3.2",
        "",
        ":",
        "@",
        "@sha256:",
        long.as_str(),
    ] {
        let reply = World::settled("2.2.0").ask(&Review::image(&gateway(), &image("stoa-gateway", tag))).await;
        assert!(!reply.allowed(), "{tag:?}: {}", reply.text());
        let message = reply.message();
        assert!(message.lines().count() == 1 && message.len() < 20_000, "{tag:.40}: {} bytes", message.len());
        assert!(!message.chars().any(|c| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)), "{message:?}");
    }
    let odd = Workload::deployment("immutable-field", &image("stoa-gateway", "2.2.0"));
    let reply = World::settled("2.2.0").with(&odd).ask(&Review::image(&odd, &image("stoa-gateway", "latest"))).await;
    denied("an odd name", &reply, "UG-VERSION");
    let garbage = Review::update(&odd, &odd.clone().set("/spec/template/spec/containers", "immutable field"));
    assert!(!World::settled("2.2.0").ask(&garbage).await.allowed());
}

/// Under `mode: Audit` a policy can be tried out on people who know nothing of it.
#[tokio::test]
async fn a_policy_that_audits_is_felt_by_nobody() {
    let mut policy = stoa_policy();
    policy["spec"]["mode"] = json!("Audit");
    policy["spec"]["modes"] = json!({"UG-ORDER": "Enforce", "UG-ZERODOWNTIME": "Warn"});
    let world = World::settled_under(&policy, "2.2.0");
    let to = |component: &str, version: &str| Review::image(&at(component, "2.2.0"), &image(component, version));
    for (what, review, rules) in [
        ("the wrong order", to("portal", "2.3.0"), "UG-ORDER"),
        ("the wrong order, tried", to("portal", "2.3.0").dry_run(), "UG-ORDER"),
        ("two lines", to("stoa-gateway", "2.4.0"), "UG-ORDER,UG-SKEW,UG-HOP"),
        ("no version", to("stoa-gateway", "latest"), "UG-VERSION"),
        ("no supported version", Review::create(&keycloak("26.0.0").set("/metadata/name", "other")), "UG-SUPPORTED"),
        (
            "a version to be warned of",
            Review::create(&keycloak("25.0.1").set("/metadata/name", "other")),
            "UG-SUPPORTED",
        ),
        ("one replica", Review::scale(&gateway(), 1), "UG-ZERODOWNTIME"),
    ] {
        let reply = world.ask(&review).await;
        assert!(reply.allowed(), "{what}: {}", reply.text());
        assert_eq!(reply.warnings(), Vec::<&str>::new(), "{what}");
        let audit = &reply.response["auditAnnotations"];
        let named = audit["rules"].as_str().unwrap_or_default();
        assert!(rules.split(',').all(|rule| named.contains(rule)), "{what}: {audit}");
        assert!(audit["audited"].as_str().is_some_and(|text| text.starts_with("[UG-")), "{what}: {audit}");
        assert_eq!(audit["verdict"], "Allow", "{what}");
        assert!(["governed", "fresh"].contains(&reply.path) && reply.decided.len() == 1, "{what}: {}", reply.path);
    }
}
