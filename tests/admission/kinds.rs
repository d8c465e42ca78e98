//! Kinds other than Deployment, and their rollouts.

use serde_json::json;
use upgrade_guard::cluster::inventory::RevisionKind;

use super::objects::{Workload, image};
use super::review::Review;
use super::world::World;

fn api(kind: fn(&str, &str) -> Workload, version: &str) -> Workload {
    kind("control-plane-api", &image("control-plane-api", version))
}

fn gateway_up() -> Review {
    let gateway = Workload::deployment("stoa-gateway", &image("stoa-gateway", "2.2.0"));
    Review::image(&gateway, &image("stoa-gateway", "2.3.0"))
}

/// The platform at 2.2.0 whose API is of another kind.
fn world(api: &Workload) -> World {
    let mut world = World::settled("2.2.0");
    let deployment = Workload::deployment("control-plane-api", "x").record().id();
    world.inventory.remove_workload(&deployment);
    world.with(api)
}

/// The API's ControllerRevisions: the first is of 2.2.0, the second of 2.3.0.
fn with_revisions(mut world: World, api: &Workload, count: usize) -> World {
    for (number, (name, version)) in
        (1..).zip([("control-plane-api-7d4f", "2.2.0"), ("control-plane-api-8c55", "2.3.0")]).take(count)
    {
        let record = api.controller_revision(name, number, &image("control-plane-api", version));
        world.inventory.put_revision(RevisionKind::ControllerRevision, record);
    }
    world
}

const KINDS: [fn(&str, &str) -> Workload; 3] = [Workload::stateful_set, Workload::daemon_set, Workload::rollout];

#[tokio::test]
async fn every_kind_is_judged() {
    for kind in KINDS {
        let old = api(kind, "2.2.0");
        let name = old.kind.as_str();
        let up = world(&old).ask(&Review::image(&old, &image("control-plane-api", "2.3.0"))).await;
        assert!(up.allowed() && up.path == "fresh", "{name}: {}", up.text());
        assert_eq!(up.warnings(), [""; 0], "{name}");
        let hop = world(&old).ask(&Review::image(&old, &image("control-plane-api", "2.4.0"))).await;
        assert!(hop.message().starts_with("[UG-HOP] control-plane-api 2.2.0 -> 2.4.0"), "{name}: {}", hop.text());
        let annotated = world(&old).ask(&Review::update(&old, &old.clone().set("/metadata/annotations/a", "b"))).await;
        assert_eq!(annotated.path, "fast", "{name}");
        let deleted = world(&old).ask(&Review::delete(&old)).await;
        assert!(deleted.allowed(), "{name}");
    }
}

/// The gateway must wait for an API of any kind until its last old pod is gone.
#[tokio::test]
async fn downstream_waits_for_every_kind() {
    let rolling_set =
        api(Workload::stateful_set, "2.3.0").rolling(1).set("/status/updateRevision", "control-plane-api-8c55");
    let rolling_daemons = api(Workload::daemon_set, "2.3.0").set("/status/updatedNumberScheduled", 1);
    let rolling_rollout = api(Workload::rollout, "2.3.0").rolling(1);
    let rolled_out = world(&rolling_rollout).with_pods(
        &rolling_rollout,
        &[(&image("control-plane-api", "2.3.0"), 1), (&image("control-plane-api", "2.2.0"), 1)],
    );
    let half = "running 2.3.0 (1/2 pods), 2.2.0 (1/2)";
    for (what, world, facts) in [
        ("StatefulSet", with_revisions(world(&rolling_set), &rolling_set, 2), half),
        ("DaemonSet", with_revisions(world(&rolling_daemons), &rolling_daemons, 2), half),
        ("Rollout", rolled_out, half),
        (
            "StatefulSet whose old revision is not known",
            world(&rolling_set),
            "running an unknown revision (1/2 pods), 2.3.0 (1/2)",
        ),
    ] {
        let reply = world.ask(&gateway_up()).await;
        assert!(!reply.allowed() && reply.message().contains(facts), "{what}: {}", reply.text());
    }
    for kind in KINDS {
        let done = api(kind, "2.3.0");
        let reply = world(&done).ask(&gateway_up()).await;
        assert!(reply.allowed(), "{} is complete: {}", done.kind.as_str(), reply.text());
        let unseen = match done.kind.as_str() {
            "Rollout" => done.clone().set("/metadata/generation", 5).set("/status/observedGeneration", "4"),
            _ => done.clone().set("/metadata/generation", 5),
        };
        let reply = with_revisions(world(&unseen), &unseen, 1).ask(&gateway_up()).await;
        assert!(!reply.allowed(), "{}: its last change is not observed: {}", done.kind.as_str(), reply.text());
    }
}

/// A status that is older than the spec tells of the pods before the change: they are of the old revision.
#[tokio::test]
async fn a_status_that_is_behind_counts_for_the_old_revision() {
    for (kind, revisions) in [(KINDS[0], 1), (KINDS[1], 1)] {
        let gateway = kind("stoa-gateway", &image("stoa-gateway", "2.2.0")).set("/metadata/generation", 5);
        let mut platform = World::settled("2.3.0");
        platform.inventory.remove_workload(&Workload::deployment("stoa-gateway", "x").record().id());
        for down in ["control-plane-ui", "portal"] {
            platform = platform.with(&Workload::deployment(down, &image(down, "2.2.0")));
        }
        let mut platform = platform.with(&gateway);
        let old = gateway.controller_revision("stoa-gateway-7d4f", revisions, &image("stoa-gateway", "2.3.0"));
        platform.inventory.put_revision(RevisionKind::ControllerRevision, old);
        let api = Workload::deployment("control-plane-api", &image("control-plane-api", "2.3.0"));
        let reply = platform.ask(&Review::image(&api, &image("control-plane-api", "2.2.0"))).await;
        let name = gateway.kind.as_str();
        assert!(!reply.allowed(), "{name}: its pods are still 2.3.0");
        assert!(
            reply.message().contains("stoa-gateway to go back to 2.2.0: running 2.3.0 (2/2 pods)"),
            "{name}: {}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn scaling_a_set_is_warned_about() {
    let old = api(Workload::stateful_set, "2.2.0");
    let reply = world(&old).ask(&Review::scale(&old, 1)).await;
    assert!(reply.allowed() && reply.warnings().len() == 1, "{}", reply.text());
    let odd = world(&old).ask(&Review::scale(&old, -3)).await;
    assert!(odd.warnings()[0].contains("0 asked for"), "{}", odd.text());
    let garbage = world(&old).ask(&Review::scale(&old, 1).set("/object/spec", json!({"replicas": "many"}))).await;
    assert!(!garbage.allowed(), "{}", garbage.text());
}

/// A partition holds an update back as a pause does; lowering it, or leaving `OnDelete`, sets it going.
#[tokio::test]
async fn letting_go_of_a_stateful_set_is_judged() {
    let strategies = [json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}), json!({"type": "OnDelete"})];
    for strategy in strategies {
        let gateway = Workload::stateful_set("stoa-gateway", &image("stoa-gateway", "2.3.0"));
        let held = gateway.rolling(0).set("/status/updateRevision", "next").set("/spec/updateStrategy", strategy);
        let going = held.clone().set("/spec/updateStrategy", json!({"type": "RollingUpdate"}));
        let mut world = World::settled("2.2.0");
        world.inventory.remove_workload(&Workload::deployment("stoa-gateway", "x").record().id());
        let mut world = world.with(&held);
        let old = held.controller_revision("stoa-gateway-7d4f", 1, &image("stoa-gateway", "2.2.0"));
        world.inventory.put_revision(RevisionKind::ControllerRevision, old);
        let early = world.ask(&Review::update(&held, &going)).await;
        assert!(early.message().contains("[UG-ORDER]"), "{}", early.text());
        let unchanged = world.ask(&Review::update(&held, &held)).await;
        assert_eq!(unchanged.path, "fast");
    }
}
