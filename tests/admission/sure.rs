//! An Allow is made sure of: decided again on fresh reads, and it leaves an intent; anything else is answered from what
//! the watches show and writes nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use tokio::time::Instant;
use upgrade_guard::api::{Platform, PlatformIntent, PlatformSpec, PlatformStatus, PlatformWorkload};

use super::objects::{Workload, image};
use super::review::{Reply, Review, post};
use super::world::{Read, World, stoa_policy};

fn at(component: &str, version: &str) -> Workload {
    Workload::deployment(component, &image(component, version))
}

/// The API goes one line forward, which is legal where everything is at 2.2.0.
fn api_up() -> Review {
    Review::image(&at("control-plane-api", "2.2.0"), &image("control-plane-api", "2.3.0"))
}

fn settled() -> World {
    World::settled("2.2.0")
}

/// The platform of which somebody admitted something a moment ago.
fn with_intent(component: &str, to: &str) -> World {
    let mut world = settled();
    let intent = PlatformIntent {
        component: component.to_owned(),
        workload: Some(PlatformWorkload { kind: "Deployment".to_owned(), name: component.to_owned() }),
        from: None,
        to: to.to_owned(),
        base: Some("18834".to_owned()),
        uid: None,
        by: None,
        at: None,
        expires: Time(Timestamp::now() + SignedDuration::from_secs(60)),
        overridden: None,
        findings: vec![],
    };
    let mut platform = Platform::new("stoa", PlatformSpec { policy: "stoa".to_owned(), acknowledged: vec![] });
    let status = PlatformStatus { intents: vec![intent], ..PlatformStatus::default() };
    platform.status = Some(status);
    world.inventory.platforms_mut().insert("stoa".to_owned(), platform);
    world
}

fn on_unavailable(choice: &str) -> Value {
    let mut policy = stoa_policy();
    policy["spec"]["onUnavailable"] = json!(choice);
    policy
}

#[tokio::test]
async fn an_allow_leaves_an_intent() {
    let before = Timestamp::now();
    let reply = settled().ask(&api_up()).await;
    assert!(reply.allowed(), "{}", reply.text());
    assert_eq!((reply.path, reply.reads, reply.lost), ("fresh", 1, 0));
    let [intent] = reply.left.as_slice() else { panic!("{:?}", reply.left) };
    let workload = intent.workload.as_ref().unwrap();
    assert_eq!((workload.kind.as_str(), workload.name.as_str()), ("Deployment", "control-plane-api"));
    assert_eq!((intent.component.as_str(), intent.from.as_deref()), ("control-plane-api", Some("2.2.0")));
    assert_eq!((intent.to.as_str(), intent.uid.as_deref()), ("2.3.0", Some(reply.uid())));
    let lives = intent.expires.0.duration_since(before);
    assert!(lives > SignedDuration::from_secs(60), "the API server may store it for a minute: {lives}");
}

#[tokio::test]
async fn each_move_of_a_request_leaves_one() {
    let both = |version: &str| {
        let container = |name: &str| json!({"name": name, "image": image(name, version)});
        let list = json!([container("control-plane-ui"), container("portal")]);
        Workload::deployment("web", &image("portal", version)).set("/spec/template/spec/containers", list)
    };
    let world = World::empty().with(&at("control-plane-api", "2.3.0")).with(&at("stoa-gateway", "2.3.0"));
    let reply = world.with(&both("2.2.0")).ask(&Review::update(&both("2.2.0"), &both("2.3.0"))).await;
    let left: Vec<_> = reply.left.iter().map(|intent| format!("{} {}", intent.component, intent.to)).collect();
    assert_eq!(left, ["control-plane-ui 2.3.0", "portal 2.3.0"], "{}", reply.text());
}

#[tokio::test]
async fn what_is_no_allowed_move_reads_and_writes_nothing() {
    let gateway = at("stoa-gateway", "2.2.0");
    for (what, review) in [
        ("a dry run", api_up().dry_run()),
        ("a refusal", Review::image(&gateway, &image("stoa-gateway", "2.3.0"))),
        ("a refused dry run", Review::image(&gateway, &image("stoa-gateway", "2.9.0")).dry_run()),
        ("an annotation", Review::update(&gateway, &gateway.clone().set("/metadata/annotations/a", "b"))),
        ("fewer replicas", Review::update(&gateway, &gateway.clone().replicas(1))),
        ("a deletion", Review::delete(&gateway)),
    ] {
        let reply = settled().ask(&review).await;
        assert_eq!((reply.reads, reply.left.len()), (0, 0), "{what}: {}", reply.text());
    }
}

#[tokio::test]
async fn what_the_watches_do_not_show_yet_counts() {
    let mut world = settled();
    // The gateway went forward a moment ago; the API may not go back under it.
    let ahead = World::settled("2.3.0").with(&at("stoa-gateway", "2.3.0"));
    world = world.with(&at("control-plane-api", "2.3.0"));
    world.reads = vec![Read::Shows(Box::new(ahead))];
    let back = Review::image(&at("control-plane-api", "2.3.0"), &image("control-plane-api", "2.2.0"));
    let reply = world.ask(&back).await;
    assert!(!reply.allowed() && reply.left.is_empty(), "{}", reply.text());
    insta::assert_snapshot!(reply.message());
}

#[tokio::test]
async fn who_loses_a_race_is_judged_again_on_what_the_winner_left() {
    let mut world = settled().with(&at("control-plane-api", "2.3.0"));
    world.writes = vec![Ok(false)];
    let mut after = with_intent("stoa-gateway", "2.3.0").with(&at("control-plane-api", "2.3.0"));
    after.reads = vec![];
    world.reads = vec![Read::Shows(Box::new(world.clone())), Read::Shows(Box::new(after))];
    let back = Review::image(&at("control-plane-api", "2.3.0"), &image("control-plane-api", "2.2.0"));
    let reply = world.ask(&back).await;
    assert_eq!((reply.allowed(), reply.lost, reply.reads, reply.left.len()), (false, 1, 2, 0), "{}", reply.text());
    assert!(reply.message().contains("must wait for stoa-gateway to go back"), "{}", reply.message());
}

#[tokio::test]
async fn who_loses_a_race_that_changes_nothing_for_him_passes() {
    let mut world = settled();
    world.writes = vec![Ok(false), Ok(false)];
    let reply = world.ask(&api_up()).await;
    assert_eq!((reply.allowed(), reply.lost, reply.left.len()), (true, 2, 1), "{}", reply.text());
}

#[tokio::test]
async fn who_loses_every_race_is_refused() {
    let mut world = settled();
    world.writes = vec![Ok(false); 1000];
    let reply = world.ask(&api_up()).await;
    assert!(!reply.allowed() && reply.left.is_empty() && reply.lost < 1000);
    insta::assert_snapshot!(reply.message());
}

#[tokio::test]
async fn an_api_server_that_fails_refuses() {
    for (what, reads, writes) in [
        ("read", vec![Read::Fails("cannot get Deployment stoa/stoa-gateway: connection refused")], vec![]),
        ("write", vec![], vec![Err("cannot patch the status of Platform stoa/stoa: connection refused")]),
    ] {
        let world = settled().asked(reads, writes);
        let reply = world.ask(&api_up()).await;
        assert_eq!((reply.allowed(), reply.path, reply.left.len()), (false, "unavailable", 0));
        insta::assert_snapshot!(format!("failed_{what}"), reply.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_api_server_is_not_waited_for_longer_than_the_review_lasts() {
    let world = settled().asked(vec![Read::Never], vec![]);
    let (admission, witness) = world.guard();
    let begun = Instant::now();
    let (status, body) = post(admission, "/validate?timeout=5s", api_up().bytes()).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
    let reply = Reply::new(status, &body, &witness);
    assert!(!reply.allowed());
    insta::assert_snapshot!(reply.message());
}

#[tokio::test]
async fn a_policy_may_let_pass_what_cannot_be_made_sure_of() {
    let why = "cannot get Deployment stoa/stoa-gateway: connection refused";
    let failing = World::settled_under(&on_unavailable("Allow"), "2.2.0").asked(vec![Read::Fails(why)], vec![]);
    let reply = failing.ask(&api_up()).await;
    assert!(reply.allowed() && reply.left.is_empty());
    insta::assert_snapshot!(reply.text());
    // What the watches show to be illegal is refused all the same.
    let gateway = Review::image(&at("stoa-gateway", "2.2.0"), &image("stoa-gateway", "2.3.0"));
    assert!(!failing.ask(&gateway).await.allowed());
}

#[tokio::test(start_paused = true)]
async fn pods_that_nobody_can_name_are_waited_for() {
    // Half of the gateway's pods are of a revision that no watch has shown.
    let rolling = at("stoa-gateway", "2.3.0").rolling(1);
    let unnamed = settled().with_pods(&rolling, &[(&image("stoa-gateway", "2.3.0"), 1)]);
    let named = settled()
        .with_pods(&rolling, &[(&image("stoa-gateway", "2.3.0"), 1), (&image("stoa-gateway", "2.2.0"), 1)])
        .with(&at("control-plane-api", "2.3.0"));
    let patch = Review::image(&at("control-plane-api", "2.3.0"), &image("control-plane-api", "2.3.1"));
    let mut world = named.clone();
    world.reads = vec![Read::Shows(Box::new(unnamed.clone())), Read::Shows(Box::new(named))];
    let reply = world.ask(&patch).await;
    assert_eq!((reply.allowed(), reply.reads), (true, 2), "{}", reply.text());
    world.reads = vec![Read::Shows(Box::new(unnamed)); 10_000];
    let reply = world.ask(&patch).await;
    assert!(!reply.allowed());
    insta::assert_snapshot!(reply.message());
}

#[tokio::test]
async fn an_intent_counts_in_what_the_watches_show_until_it_is_settled() {
    let back = Review::image(&at("control-plane-api", "2.3.0"), &image("control-plane-api", "2.2.0"));
    let api = at("control-plane-api", "2.3.0");
    let pending = with_intent("stoa-gateway", "2.3.0").with(&api);
    let reply = pending.ask(&back).await;
    assert_eq!((reply.allowed(), reply.reads), (false, 0), "{}", reply.text());
    // Settled on it, and gone back since: the intent is over.
    let over = with_intent("stoa-gateway", "2.2.0").with(&api);
    assert!(over.ask(&back).await.allowed());
}
