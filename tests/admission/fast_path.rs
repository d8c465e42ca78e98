//! What changes no version passes at once, and what is nobody's business is not looked at.

use serde_json::json;

use super::objects::{Workload, image};
use super::review::Review;
use super::texts::restarted;
use super::world::{World, stoa_policy};

fn gateway() -> Workload {
    Workload::deployment("stoa-gateway", &image("stoa-gateway", "2.2.0"))
}

/// Updates of a governed Deployment that move no version. The world around it would refuse any move.
#[tokio::test]
async fn an_update_that_moves_no_version_builds_no_view() {
    let digest = "@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let pinned = |tag: &str| gateway().image(&format!("ghcr.io/stoa-platform/stoa-gateway{tag}{digest}"));
    let container = |pointer: &str| format!("/spec/template/spec/containers/0/{pointer}");
    let sidecar = json!([
        gateway().json["spec"]["template"]["spec"]["containers"][0],
        {"name": "log-shipper", "image": "fluent/fluent-bit:3.1.0"},
    ]);
    for (change, old, new) in [
        ("nothing", gateway(), gateway()),
        ("an annotation", gateway(), gateway().set("/metadata/annotations/team", "edge")),
        ("a pod annotation", gateway(), gateway().set("/spec/template/metadata/annotations/checksum~1config", "77")),
        ("a label", gateway(), gateway().set("/metadata/labels/team", "edge")),
        ("an environment variable", gateway(), gateway().set(&container("env/0/value"), "debug")),
        ("resources", gateway(), gateway().set(&container("resources/limits/memory"), "1Gi")),
        ("a probe", gateway(), gateway().set(&container("readinessProbe/periodSeconds"), 5)),
        ("more pods", gateway(), gateway().set("/spec/replicas", 5)),
        ("the strategy", gateway(), gateway().set("/spec/strategy/rollingUpdate/maxSurge", 1)),
        ("a sidecar of nobody", gateway(), gateway().set("/spec/template/spec/containers", sidecar)),
        ("the same digest under another tag", pinned(":2.2.0"), pinned(":stable-2.2")),
        ("the same digest without a tag", pinned(":2.2.0"), pinned("")),
        ("the same version from a mirror", gateway(), gateway().image("mirror.local/stoa-platform/stoa-gateway:2.2.0")),
        ("the same version with another prefix", gateway(), gateway().image(&image("stoa-gateway", "v2.2.0"))),
        ("a pause", gateway(), gateway().set("/spec/paused", true)),
        ("the end of a pause that held nothing back", gateway().set("/spec/paused", true), gateway()),
        ("a restart on a version", gateway(), restarted(&gateway())),
        ("a replica count of null", gateway().set("/spec/replicas", 1), gateway().set("/spec/replicas", json!(null))),
    ] {
        let reply = World::settled("2.2.0").with(&old).ask(&Review::update(&old, &new)).await;
        assert!(reply.allowed() && reply.warnings().is_empty(), "{change}: {}", reply.text());
        assert_eq!((reply.path, reply.snapshots), ("fast", 1), "{change}");
        assert_eq!(reply.decided, [""; 0], "{change}: nothing was to be decided");
    }
}

#[tokio::test]
async fn what_is_not_governed_is_allowed() {
    let bump = || Review::image(&gateway(), &image("stoa-gateway", "9.0.0"));
    let mut elsewhere = stoa_policy();
    elsewhere["spec"]["namespaces"] = json!(["stoa-staging"]);
    let nobody = Workload::deployment("redis", "redis:7.2.0");
    let status = |review: Review| review.set("/subResource", "status").set("/requestSubResource", "status");
    let mut none = World::settled("2.2.0");
    none.policies.clear();
    for (what, world, review, path, snapshots) in [
        ("another namespace", World::settled("2.2.0"), bump().set("/namespace", "default"), "other", 1),
        ("no namespace", World::settled("2.2.0"), bump().set("/namespace", json!(null)), "other", 0),
        ("no policy", none, bump(), "other", 1),
        ("a workload of no component", World::settled("2.2.0"), Review::image(&nobody, "redis:8.0.0"), "fast", 1),
        ("a deletion", World::settled("2.2.0"), Review::delete(&gateway()), "other", 0),
        ("the status", World::settled("2.2.0"), status(bump()), "other", 0),
        ("a connection", World::settled("2.2.0"), bump().set("/operation", "CONNECT"), "other", 0),
        (
            "another kind",
            World::settled("2.2.0"),
            bump().set("/resource", json!({"group": "batch", "version": "v1", "resource": "jobs"})),
            "other",
            0,
        ),
        ("the scale of a workload that is not known", World::settled("2.2.0"), Review::scale(&nobody, 0), "other", 1),
    ] {
        let reply = world.ask(&review).await;
        assert!(reply.allowed() && reply.warnings().is_empty(), "{what}: {}", reply.text());
        assert_eq!((reply.path, reply.snapshots), (path, snapshots), "{what}");
        assert_eq!(reply.decided, [""; 0], "{what}");
    }
}
