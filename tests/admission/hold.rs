//! What the mutating webhook holds, what it leaves alone, and what the validating one makes of it.

use serde_json::{Value, json};

use super::objects::{Workload, image};
use super::review::{Reply, Review, post};
use super::world::{Sight, World, stoa_policy};

const SINCE: &str = "2026-03-02T09:12:00Z";

fn hold_policy() -> Value {
    let mut policy = stoa_policy();
    policy["spec"]["onNotYet"] = json!("Hold");
    policy
}

/// The platform at 2.2.0 under `onNotYet: Hold`: the gateway has to wait for the API.
fn holding() -> World {
    World::settled_under(&hold_policy(), "2.2.0")
}

/// The same with the API at 2.3.0: the gateway may follow.
fn ready() -> World {
    holding().with(&Workload::deployment("control-plane-api", &image("control-plane-api", "2.3.0")))
}

fn gateway(version: &str) -> Workload {
    Workload::deployment("stoa-gateway", &image("stoa-gateway", version))
}

fn bump() -> Review {
    Review::image(&gateway("2.2.0"), &image("stoa-gateway", "2.3.0"))
}

/// The gateway as it is stored while it is held back from `version`.
fn held(version: &str) -> Workload {
    marked(gateway(version).set("/spec/paused", true)).rolling(0)
}

fn marked(workload: Workload) -> Workload {
    workload
        .set("/metadata/labels/guard.gostoa.dev~1held", "true")
        .set("/metadata/annotations/guard.gostoa.dev~1held-rule", "UG-ORDER")
        .set("/metadata/annotations/guard.gostoa.dev~1held-waits-for", "must wait for control-plane-api 2.3.0")
        .set("/metadata/annotations/guard.gostoa.dev~1held-since", SINCE)
}

/// `world` with the gateway held back from 2.3.0; its pods are of 2.2.0.
fn with_held(world: World) -> World {
    world.with_pods(&held("2.3.0"), &[(&image("stoa-gateway", "2.2.0"), 2)])
}

/// An answer of the mutating webhook, and what the object becomes by it.
struct Mutated {
    reply: Reply,
    object: Value,
    patch: Option<Value>,
}

async fn mutate(world: &World, review: &Review) -> Mutated {
    let (admission, witness) = world.guard();
    let (status, body) = post(admission, "/mutate?timeout=5s", review.bytes()).await;
    let reply = Reply::new(status, &body, &witness);
    assert!(reply.allowed() && reply.path == "mutate", "it refuses nothing: {}", reply.text());
    // The API carries it as base64; kube reads it as bytes.
    let response: kube::core::admission::AdmissionResponse = serde_json::from_value(reply.response.clone()).unwrap();
    let patch: Option<Value> = response.patch.map(|bytes| serde_json::from_slice(&bytes).unwrap());
    let mut object = review.0["request"]["object"].clone();
    if let Some(patch) = &patch {
        json_patch::patch(&mut object, &serde_json::from_value::<json_patch::Patch>(patch.clone()).unwrap()).unwrap();
    }
    Mutated { reply, object, patch }
}

/// Both webhooks, one after the other.
async fn both(world: &World, review: &Review) -> (Mutated, Reply) {
    let mutated = mutate(world, review).await;
    let validated = world.ask(&review.clone().set("/object", mutated.object.clone())).await;
    (mutated, validated)
}

/// What both webhooks say, and the patch.
async fn told(world: &World, review: &Review) -> String {
    let (mutated, validated) = both(world, review).await;
    let patch = mutated.patch.map_or_else(
        || "no patch".to_owned(),
        |patch| {
            let steps = patch.as_array().unwrap().iter().map(|step| {
                // The time of the hold is now.
                let value = step.get("value").map(|value| format!(" {}", undated(value))).unwrap_or_default();
                format!("{} {}{value}", step["op"].as_str().unwrap(), step["path"].as_str().unwrap())
            });
            steps.collect::<Vec<_>>().join("\n")
        },
    );
    format!("mutate: {}{patch}\nvalidate: {}", mutated.reply.text(), validated.text())
}

fn undated(value: &Value) -> String {
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\dT[\d:]{8}Z").unwrap();
    time.replace(&value.to_string(), "NOW").into_owned()
}

async fn tell(scenarios: Vec<(&str, World, Review)>) -> String {
    let mut all = Vec::new();
    for (title, world, review) in scenarios {
        all.push(format!("# {title}\n{}", told(&world, &review).await));
    }
    all.join("\n")
}

#[tokio::test]
async fn what_only_has_to_wait_is_held() {
    let set = Workload::stateful_set("stoa-gateway", &image("stoa-gateway", "2.2.0"));
    let bare = gateway("2.2.0").without("/metadata/labels").without("/metadata/annotations");
    insta::assert_snapshot!(
        tell(vec![
            ("a Deployment", holding(), bump()),
            ("on a dry run", holding(), bump().dry_run()),
            ("a creation", holding(), Review::create(&gateway("2.3.0"))),
            ("without labels and annotations", holding(), Review::image(&bare, &image("stoa-gateway", "2.3.0"))),
            ("a StatefulSet", set_world(&set), Review::image(&set, &image("stoa-gateway", "2.3.0"))),
        ])
        .await
    );
}

/// The platform with the gateway as a StatefulSet.
fn set_world(set: &Workload) -> World {
    let mut world = holding();
    world.inventory.remove_workload(&gateway("2.2.0").record().id());
    world.with(set)
}

#[tokio::test]
async fn what_cannot_be_held_is_refused_and_says_why() {
    let of = |kind: fn(&str, &str) -> Workload| kind("stoa-gateway", &image("stoa-gateway", "2.2.0"));
    let up = |workload: &Workload| Review::image(workload, &image("stoa-gateway", "2.3.0"));
    let (daemons, rollout, set) = (of(Workload::daemon_set), of(Workload::rollout), of(Workload::stateful_set));
    let on_delete = set.clone().set("/spec/updateStrategy", json!({"type": "OnDelete"}));
    let empty = set.clone().replicas(0);
    let rolling = gateway("2.2.1").rolling(1);
    let paused = gateway("2.2.0").set("/spec/paused", true);
    let pausing = Review::update(&gateway("2.2.0"), &gateway("2.3.0").set("/spec/paused", true));
    insta::assert_snapshot!(
        tell(vec![
            ("a DaemonSet", set_world(&daemons), up(&daemons)),
            ("a Rollout", set_world(&rollout), up(&rollout)),
            ("a StatefulSet updated on delete", set_world(&on_delete), up(&on_delete)),
            ("a StatefulSet without pods", set_world(&empty), up(&empty)),
            (
                "a StatefulSet's creation",
                holding(),
                Review::create(&of(Workload::stateful_set).image(&image("stoa-gateway", "2.3.0")))
            ),
            ("in the middle of its own rollout", holding().with(&rolling), up(&rolling)),
            ("someone else's pause", holding().with(&paused), up(&paused)),
            ("paused in the same request", holding(), pausing),
            ("the policy says Deny", World::settled("2.2.0"), bump()),
            ("Never", holding(), Review::image(&gateway("2.2.0"), &image("stoa-gateway", "2.5.0"))),
        ])
        .await
    );
}

#[tokio::test]
async fn what_is_held_stays_as_it_is() {
    let world = with_held(holding());
    let again = mutate(&world, &Review::update(&held("2.3.0"), &held("2.3.0"))).await;
    assert_eq!((again.patch, again.reply.warnings().len()), (None, 0), "applied again");
    let scaled = both(&world, &Review::update(&held("2.3.0"), &held("2.3.0").set("/spec/replicas", 3))).await;
    assert!(scaled.0.patch.is_none() && scaled.1.allowed(), "scaled: {}", scaled.1.text());

    // By hand, or by an engine that replaces the object or sets `paused: false`: what is stored does not change.
    let resumed = held("2.3.0").without("/spec/paused");
    let replaced = gateway("2.3.0").rolling(0);
    for new in [resumed, replaced, held("2.3.0").set("/spec/paused", false)] {
        let (mutated, validated) = both(&world, &Review::update(&held("2.3.0"), &new)).await;
        assert_eq!(mutated.object, held("2.3.0").json);
        assert_eq!(
            mutated.reply.warnings(),
            ["[UG-ORDER] stoa-gateway 2.2.0 -> 2.3.0 stays held: must wait for control-plane-api 2.3.0"]
        );
        assert_eq!((validated.allowed(), validated.path), (true, "fast"), "{}", validated.text());
        assert_eq!(validated.decided, [""; 0], "it was told once");
    }
}

#[tokio::test]
async fn another_image_while_held_keeps_the_time() {
    let world = with_held(holding());
    let (mutated, validated) = both(&world, &Review::update(&held("2.3.0"), &held("2.3.1"))).await;
    assert_eq!(mutated.object["spec"]["paused"], true);
    assert_eq!(mutated.object["metadata"]["annotations"]["guard.gostoa.dev/held-since"], SINCE);
    assert!(mutated.reply.warnings()[0].contains("2.2.0 -> 2.3.1 stays held"), "{}", mutated.reply.text());
    assert!(validated.allowed(), "{}", validated.text());
    // What never may is refused, held or not.
    let (_, validated) = both(&world, &Review::update(&held("2.3.0"), &held("2.6.0"))).await;
    assert!(validated.message().contains("[UG-HOP] stoa-gateway 2.2.0 -> 2.6.0"), "{}", validated.text());
}

#[tokio::test]
async fn a_hold_ends_when_nothing_waits() {
    let set = marked(Workload::stateful_set("stoa-gateway", &image("stoa-gateway", "2.3.0")))
        .set("/spec/updateStrategy/rollingUpdate/partition", i32::MAX)
        .set("/metadata/annotations/guard.gostoa.dev~1held-from-partition", "1")
        .set("/status/updateRevision", "stoa-gateway-8c55")
        .rolling(0);
    let mut world = set_world(&set);
    let old = set.controller_revision("stoa-gateway-7d4f", 1, &image("stoa-gateway", "2.2.0"));
    world.inventory.put_revision(upgrade_guard::cluster::inventory::RevisionKind::ControllerRevision, old);
    insta::assert_snapshot!(
        tell(vec![
            ("rolled back", with_held(holding()), Review::update(&held("2.3.0"), &held("2.2.0"))),
            (
                "resumed when it may",
                with_held(ready()),
                Review::update(&held("2.3.0"), &held("2.3.0").without("/spec/paused"))
            ),
            ("another image when it may", with_held(ready()), Review::update(&held("2.3.0"), &held("2.3.1"))),
            (
                "a StatefulSet rolled back",
                world,
                Review::update(&set, &set.clone().image(&image("stoa-gateway", "2.2.0")))
            ),
            ("nothing to wait for", ready(), bump()),
        ])
        .await
    );
}

/// A hold that the guard would not have placed is no way around the rules.
#[tokio::test]
async fn a_forged_hold_counts_for_nothing() {
    let forged = Review::update(&gateway("2.2.0"), &held("2.3.0"));
    let denied = World::settled("2.2.0").ask(&forged).await;
    assert!(denied.message().starts_with("[UG-ORDER]"), "under Deny: {}", denied.text());
    let rolling = gateway("2.2.1").rolling(1);
    let denied = holding().with(&rolling).ask(&Review::update(&rolling, &held("2.3.0"))).await;
    assert!(denied.message().starts_with("[UG-ORDER]"), "in its own rollout: {}", denied.text());
    let denied = holding().ask(&Review::update(&gateway("2.2.0"), &held("2.9.0"))).await;
    assert!(denied.message().starts_with("[UG-HOP]"), "too far: {}", denied.text());
    // A label on someone else's pause does not make it the guard's.
    let paused = gateway("2.2.0").set("/spec/paused", true);
    let labelled = Review::update(&paused, &marked(gateway("2.3.0").set("/spec/paused", true)));
    assert_eq!(mutate(&ready().with(&paused), &labelled).await.patch, None, "it would be resumed");
    let (mutated, _) = both(&ready(), &forged).await;
    assert_eq!(mutated.object["spec"].get("paused"), None, "nothing to wait for");
}

/// Held under another policy: letting it go is judged, and what is new is refused.
#[tokio::test]
async fn a_policy_that_went_back_to_deny() {
    let deny = || with_held(World::settled("2.2.0"));
    let resume = Review::update(&held("2.3.0"), &held("2.3.0").without("/spec/paused"));
    let (mutated, validated) = both(&deny(), &resume).await;
    assert!(mutated.patch.is_none() && validated.message().starts_with("[UG-ORDER]"), "{}", validated.text());
    let may = deny().with(&Workload::deployment("control-plane-api", &image("control-plane-api", "2.3.0")));
    let (mutated, validated) = both(&may, &resume).await;
    assert!(validated.allowed() && validated.path == "fresh", "{}", validated.text());
    assert!(!mutated.object.to_string().contains("guard.gostoa.dev/held"), "no mark is left");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_seen_or_read_is_left_to_the_validating_webhook() {
    for sight in [Sight::Broken("not listed"), Sight::Never] {
        let mutated = mutate(&holding().seen(sight), &bump()).await;
        assert!(mutated.patch.is_none());
    }
    for review in [
        bump().set("/object", json!({"metadata": {"name": "x"}, "spec": {"template": "?"}})),
        bump().set("/oldObject", Value::Null),
        Review::delete(&gateway("2.2.0")),
        Review::scale(&gateway("2.2.0"), 1),
    ] {
        assert!(mutate(&holding(), &review).await.patch.is_none());
    }
}

/// Two that are held must not wait for each other: the API for a console that is behind, and the console for an API whose
/// rollout has not begun.
#[tokio::test]
async fn a_held_upstream_is_settled_on_what_its_pods_are() {
    let ui = |version: &str| Workload::deployment("control-plane-ui", &image("control-plane-ui", version));
    let api = |version: &str| Workload::deployment("control-plane-api", &image("control-plane-api", version));
    let world = World::settled_under(&hold_policy(), "2.3.0").with(&ui("2.2.0"));
    let (mutated, _) = both(&world, &Review::image(&api("2.3.0"), &image("control-plane-api", "2.4.0"))).await;
    assert_eq!(mutated.object["spec"]["paused"], true, "{}", mutated.reply.text());
    let stored = marked(api("2.4.0").set("/spec/paused", true)).rolling(0);
    let new = image("control-plane-ui", "2.3.0");
    let world = |stored: &Workload| world.clone().with_pods(stored, &[(&image("control-plane-api", "2.3.0"), 2)]);
    let (mutated, validated) = both(&world(&stored), &Review::image(&ui("2.2.0"), &new)).await;
    assert!(mutated.patch.is_none() && validated.allowed(), "{} {}", mutated.reply.text(), validated.text());
    let unwell = stored.set("/status/availableReplicas", 1);
    let (mutated, _) = both(&world(&unwell), &Review::image(&ui("2.2.0"), &new)).await;
    assert!(mutated.patch.is_some(), "the API's pods do not all serve");
}
