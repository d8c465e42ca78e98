//! What the database has to be for a component that uses it: under a policy that declares one.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use upgrade_guard::api::Platform;

use super::objects::{Workload, image};
use super::review::Review;
use super::world::{Read, World, release, stoa_policy};

const API: &str = "control-plane-api";

fn settled(version: &str) -> World {
    let mut policy = stoa_policy();
    policy["spec"]["database"] = json!({"components": [API]});
    let at = |(name, version, revision): (&str, &str, &str)| {
        let all = [API, "stoa-gateway", "control-plane-ui", "portal"].map(|component| (component, version));
        let mut release = release(name, &all);
        release["spec"]["schemaRevision"] = json!(revision);
        release
    };
    let releases = [("2026.05", "2.1.0", "r1"), ("2026.06", "2.2.0", "r2"), ("2026.07", "2.3.0", "r4")];
    World::settled_under(&policy, version).releases(&releases.map(at))
}

/// The database at `heads`; `r3` takes something away where it is `nature`.
fn at(heads: &[&str], nature: &str) -> Value {
    let observed = (Timestamp::now() - SignedDuration::from_mins(3)).to_string();
    json!({
        "heads": heads, "observed": observed,
        "needs": [
            {"component": API, "version": "2.4.0", "image": format!("sha256:{}", "a".repeat(64)), "revision": "r4"},
            {"component": API, "version": "2.4.0", "image": format!("sha256:{}", "b".repeat(64)), "revision": "r9"},
        ],
        "revisions": [
            {"revision": "r4", "down": ["r3"], "nature": "Additive"},
            {"revision": "r3", "down": ["r2"], "nature": nature},
            {"revision": "r2", "down": ["r1"], "nature": "Additive"},
            {"revision": "r1", "nature": "Unknown"},
        ],
    })
}

fn with(mut world: World, database: impl Into<Option<Value>>) -> World {
    let database: Option<Value> = database.into();
    let platform: Platform = serde_json::from_value(json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "stoa"},
        "spec": {"policy": "stoa"}, "status": {"database": database},
    }))
    .unwrap();
    world.inventory.platforms_mut().insert("stoa".to_owned(), platform);
    world
}

fn bump(component: &str, from: &str, to: &str) -> Review {
    Review::image(&Workload::deployment(component, &image(component, from)), &image(component, to))
}

/// The api to `image`, whose template says this of the database.
fn stated(from: &str, image_to: &str, revision: Option<&str>) -> Review {
    let old = Workload::deployment(API, &image(API, from));
    let new = Workload::deployment(API, image_to);
    let new = match revision {
        Some(revision) => {
            new.set("/spec/template/metadata/annotations", json!({"guard.gostoa.dev/schema-revision": revision}))
        }
        None => new,
    };
    Review::update(&old, &new)
}

#[tokio::test]
async fn texts() {
    let up = || bump(API, "2.2.0", "2.3.0");
    let digest = |letter: &str| format!("{}@sha256:{}", image(API, "2.4.0"), letter.repeat(64));
    let no_answer = json!({"problem": "no answer from postgresql://guard@db:5432/stoa within 5 s"});
    let scenarios = [
        ("migrated", with(settled("2.2.0"), Some(at(&["r4"], "Additive"))), up()),
        ("not migrated", with(settled("2.2.0"), Some(at(&["r2"], "Additive"))), up()),
        ("not migrated, as a dry run", with(settled("2.2.0"), Some(at(&["r2"], "Additive"))), up().dry_run()),
        ("nobody looked", with(settled("2.2.0"), None), up()),
        ("it does not answer", with(settled("2.2.0"), Some(no_answer)), up()),
        ("two heads", with(settled("2.2.0"), Some(at(&["r2", "x1"], "Additive"))), up()),
        (
            "back over additive revisions",
            with(settled("2.3.0"), Some(at(&["r4"], "Additive"))),
            bump(API, "2.3.0", "2.2.0"),
        ),
        (
            "back over a breaking one",
            with(settled("2.3.0"), Some(at(&["r4"], "Breaking"))),
            bump(API, "2.3.0", "2.2.0"),
        ),
        ("back over an unknown one", with(settled("2.3.0"), Some(at(&["r4"], "Unknown"))), bump(API, "2.3.0", "2.2.0")),
        (
            "the gateway does not care",
            with(settled("2.3.0"), Some(at(&["r4"], "Breaking"))),
            bump("portal", "2.3.0", "2.2.0"),
        ),
        (
            "the template says what the release says",
            with(settled("2.2.0"), Some(at(&["r4"], "Additive"))),
            stated("2.2.0", &image(API, "2.3.0"), Some("r4")),
        ),
        (
            "the template says something else",
            with(settled("2.2.0"), Some(at(&["r4"], "Additive"))),
            stated("2.2.0", &image(API, "2.3.0"), Some("r3")),
        ),
        (
            "the hook knows this image",
            with(unlisted(), Some(at(&["r4"], "Additive"))),
            stated("2.3.0", &digest("a"), None),
        ),
        (
            "the hook knows that this image needs more",
            with(unlisted(), Some(at(&["r4"], "Additive"))),
            stated("2.3.0", &digest("b"), None),
        ),
        (
            "the hook does not know this image",
            with(unlisted(), Some(at(&["r4"], "Additive"))),
            stated("2.3.0", &digest("c"), None),
        ),
    ];
    let mut told = Vec::new();
    for (title, world, review) in scenarios {
        told.push(format!("# {title}\n{}", world.ask(&review).await.text()));
    }
    insta::assert_snapshot!(told.join("\n"));
}

/// At 2.3.0 without releases.
fn unlisted() -> World {
    let mut policy = stoa_policy();
    policy["spec"]["database"] = json!({"components": [API]});
    World::settled_under(&policy, "2.3.0")
}

/// The database was migrated back, and no watch has told it yet.
#[tokio::test]
async fn an_allow_is_made_sure_of_by_the_revision_that_is_stored() {
    let seen = with(settled("2.2.0"), Some(at(&["r4"], "Additive")));
    let stored = with(settled("2.2.0"), Some(at(&["r2"], "Additive")));
    let review = bump(API, "2.2.0", "2.3.0");
    let raced = seen.clone().asked(vec![Read::Shows(Box::new(stored))], vec![]).ask(&review).await;
    assert!(!raced.allowed() && raced.text().contains("[UG-SCHEMA]"), "{}", raced.text());
    let allowed = seen.ask(&review).await;
    assert!(allowed.allowed(), "{}", allowed.text());
}
