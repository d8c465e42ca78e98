//! A cluster that cannot be seen: refused with the reason, before the API server stops waiting.

use std::time::Duration;

use tokio::time::Instant;

use super::objects::{Workload, image};
use super::review::{Reply, Review, post};
use super::world::{Sight, World};

fn review() -> Review {
    let gateway = Workload::deployment("stoa-gateway", &image("stoa-gateway", "2.2.0"));
    Review::update(&gateway, &gateway.clone().set("/metadata/annotations/a", "b"))
}

#[tokio::test]
async fn a_view_that_is_not_there_refuses() {
    let world = World::settled("2.2.0").seen(Sight::Broken("Deployments are not listed yet"));
    let reply = world.ask(&review()).await;
    insta::assert_snapshot!(reply.text(), @r"
    denied
      message: [UG-UNAVAILABLE] the guard cannot judge this change now: Deployments are not listed yet. Retry in a moment.
    ");
    let scaled = Review::scale(&Workload::deployment("stoa-gateway", "x"), 1);
    assert!(!world.ask(&scaled).await.allowed());
    let deleted = Review::delete(&Workload::deployment("stoa-gateway", "x"));
    assert!(world.ask(&deleted).await.allowed(), "what goes needs no view");
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_before_the_api_server_stops_waiting() {
    for (uri, limit) in [
        ("/validate?timeout=5s", 5),
        ("/validate?timeout=1s", 1),
        ("/validate?timeout=30s", 30),
        ("/validate?timeout=soon", 10),
        ("/validate", 10),
    ] {
        let (admission, witness) = World::settled("2.2.0").seen(Sight::Never).guard();
        let begun = Instant::now();
        let (status, body) = post(admission, uri, review().bytes()).await;
        let reply = Reply::new(status, &body, &witness);
        assert!(begun.elapsed() < Duration::from_secs(limit), "{uri}: after {:?}", begun.elapsed());
        assert!(!reply.allowed(), "{uri}");
        assert_eq!(
            reply.message(),
            "[UG-UNAVAILABLE] the guard cannot judge this change now: the cluster view is not complete yet. Retry in \
             a moment.",
            "{uri}"
        );
    }
}
