//! An override sets named rules aside for who may: refused with a clear text otherwise, and never without a trace.

use super::objects::{Workload, image};
use super::review::Review;
use super::world::{Read, World};

const ALICE: &str = "alice";

fn gateway(version: &str) -> Workload {
    Workload::deployment("stoa-gateway", &image("stoa-gateway", version))
}

/// The gateway goes to `version` before the API, with this override.
fn before_the_api(version: &str, wish: &str) -> Review {
    let new = gateway(version).set("/metadata/annotations/guard.gostoa.dev~1override", wish);
    Review::update(&gateway("2.2.0"), &new).set("/userInfo/username", ALICE)
}

const WISH: &str = "UG-ORDER,UG-SKEW; incident 4711; until=2999-01-01T00:00:00Z";

fn world(right: Result<bool, &'static str>) -> World {
    World::settled("2.2.0").where_user_may(right)
}

#[tokio::test]
async fn who_may_override_passes_and_leaves_a_trace() {
    let reply = world(Ok(true)).ask(&before_the_api("2.3.0", WISH)).await;
    assert!(reply.allowed(), "{}", reply.text());
    assert_eq!(reply.rights, ["alice stoa"], "asked once, though it is judged twice");
    let [intent] = reply.left.as_slice() else { panic!("{:?}", reply.left) };
    let by = intent.overridden.as_ref().unwrap();
    assert_eq!((by.reason.as_str(), intent.by.as_deref()), ("incident 4711", Some(ALICE)));
    assert_eq!(by.rules, ["UG-ORDER", "UG-SKEW"]);
    insta::assert_snapshot!(reply.text());
}

#[tokio::test]
async fn who_may_not_is_refused_with_what_it_takes() {
    for (name, right, wish, version) in [
        ("not_allowed", Ok(false), WISH, "2.3.0"),
        ("not_told", Err("no answer"), WISH, "2.3.0"),
        ("expired", Ok(true), "UG-ORDER,UG-SKEW; incident 4711; until=2020-01-01T00:00:00Z", "2.3.0"),
        ("malformed", Ok(true), "UG-ORDER", "2.3.0"),
        ("another_rule", Ok(true), "UG-HOP; incident 4711; until=2999-01-01T00:00:00Z", "2.3.0"),
        ("not_all_rules", Ok(true), WISH, "2.9.0"),
    ] {
        let reply = world(right).ask(&before_the_api(version, wish)).await;
        assert!(!reply.allowed() && reply.left.is_empty(), "{name}: {}", reply.text());
        insta::assert_snapshot!(name, reply.message());
    }
}

#[tokio::test]
async fn nobody_is_asked_for_a_right_that_is_not_needed() {
    let legal = Workload::deployment("control-plane-api", &image("control-plane-api", "2.3.0"));
    let legal = legal.set("/metadata/annotations/guard.gostoa.dev~1override", WISH);
    let old = Workload::deployment("control-plane-api", &image("control-plane-api", "2.2.0"));
    let reply = world(Ok(true)).ask(&Review::update(&old, &legal)).await;
    assert!(reply.allowed() && reply.rights.is_empty(), "{:?}", reply.rights);
    assert!(reply.left[0].overridden.is_none());
}

#[tokio::test]
async fn a_dry_run_is_answered_alike_and_leaves_nothing() {
    let reply = world(Ok(true)).ask(&before_the_api("2.3.0", WISH).dry_run()).await;
    assert!(reply.allowed() && reply.left.is_empty() && reply.reads == 0, "{}", reply.text());
    assert!(!world(Ok(false)).ask(&before_the_api("2.9.0", WISH).dry_run()).await.allowed());
}

/// What the watches do not show is overridden too, by the same right.
#[tokio::test]
async fn what_only_fresh_reads_show_is_overridden_too() {
    let seen = world(Ok(true)).with(&Workload::deployment("control-plane-api", &image("control-plane-api", "2.3.0")));
    let seen = seen.asked(vec![Read::Shows(Box::new(world(Ok(true))))], vec![]);
    let reply = seen.ask(&before_the_api("2.3.0", WISH)).await;
    assert!(reply.allowed() && reply.left[0].overridden.is_some(), "{}", reply.text());
}
