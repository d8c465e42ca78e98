//! Every text that a caller can be given, as it reads.

use serde_json::json;
use upgrade_guard::cluster::inventory::RevisionKind;

use super::objects::{Workload, autoscaler, image};
use super::review::Review;
use super::world::{World, keycloak, release, stoa_policy};

/// The answers to some scenarios, each under its title.
async fn tell(scenarios: Vec<(&str, World, Review)>) -> String {
    let mut told = Vec::new();
    for (title, world, review) in scenarios {
        told.push(format!("# {title}\n{}", world.ask(&review).await.text()));
    }
    told.join("\n")
}

fn workload(component: &str, version: &str) -> Workload {
    Workload::deployment(component, &image(component, version))
}

/// An update of a settled Deployment to another tag.
fn bump(component: &str, from: &str, to: &str) -> Review {
    Review::image(&workload(component, from), &image(component, to))
}

/// The platform at 2.2.0 with the API in the middle of its rollout to 2.3.0.
fn api_half_way() -> World {
    let api = workload("control-plane-api", "2.3.0").rolling(1).set("/status/replicas", 2);
    let [new, old] = ["2.3.0", "2.2.0"].map(|version| image("control-plane-api", version));
    World::settled("2.2.0").with_pods(&api, &[(&new, 1), (&old, 1)])
}

/// The shipped policy with other modes.
fn modes(modes: &serde_json::Value) -> serde_json::Value {
    let mut policy = stoa_policy();
    policy["spec"]["modes"] = modes.clone();
    policy
}

#[tokio::test]
async fn order_on_the_way_up() {
    let settled = || World::settled("2.2.0");
    let api = |version: &str| workload("control-plane-api", version);
    let gateway = || bump("stoa-gateway", "2.2.0", "2.3.0");
    let new = image("control-plane-api", "2.3.0");
    let old = image("control-plane-api", "2.2.0");
    let over = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    let at_one = |api: &Workload| api.clone().set("/status/availableReplicas", 1);
    let told = tell(vec![
        ("upstream is a line behind", settled(), gateway()),
        ("upstream is half rolled out", api_half_way(), gateway()),
        (
            "upstream's change is not observed",
            settled().with_pods(&api("2.3.0").set("/metadata/generation", 5), &[(&old, 2)]),
            gateway(),
        ),
        (
            "upstream's rollout is paused",
            settled().with_pods(&api("2.3.0").rolling(0).set("/spec/paused", true), &[(&old, 2)]),
            gateway(),
        ),
        (
            "upstream's rollout is stuck",
            settled().with_pods(&api("2.3.0").rolling(1).set("/status/conditions", over), &[(&new, 1), (&old, 1)]),
            gateway(),
        ),
        (
            "upstream has an old pod left",
            settled().with_pods(&api("2.3.0").set("/status/replicas", 3), &[(&new, 2), (&old, 1)]),
            gateway(),
        ),
        ("upstream's new pods do not serve yet", settled().with(&at_one(&api("2.3.0"))), gateway()),
        ("upstream has no pods", settled().with(&api("2.3.0").replicas(0)), gateway()),
        (
            "the gateway between the API and the UI was left out",
            settled().with(&api("2.3.0")),
            bump("control-plane-ui", "2.2.0", "2.3.0"),
        ),
        ("nothing upstream was upgraded", settled(), bump("portal", "2.2.0", "2.3.0")),
    ])
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn order_on_the_way_back() {
    let up = || World::settled("2.3.0");
    let gateway = workload("stoa-gateway", "2.2.0").rolling(1);
    let [new, old] = ["2.2.0", "2.3.0"].map(|version| image("stoa-gateway", version));
    let back =
        |world: World, names: &[&str]| names.iter().fold(world, |world, name| world.with(&workload(name, "2.2.0")));
    let told = tell(vec![
        ("everything downstream is newer", up(), bump("control-plane-api", "2.3.0", "2.2.0")),
        (
            "one downstream is half way back",
            back(up(), &["control-plane-ui", "portal"]).with_pods(&gateway, &[(&new, 1), (&old, 1)]),
            bump("control-plane-api", "2.3.0", "2.2.0"),
        ),
        ("the furthest downstream may go first", up(), bump("portal", "2.3.0", "2.2.0")),
    ])
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn skew() {
    let api_ahead = || World::settled("2.2.0").with(&workload("control-plane-api", "2.3.0"));
    let far = || World::settled("2.1.0").with(&workload("control-plane-api", "2.4.0"));
    let one = json!({"UG-HOP": "Audit"});
    let two_behind = || World::settled("2.2.0").with(&workload("control-plane-api", "2.3.0"));
    let gateway = || World::settled_under(&modes(&one), "2.2.0").with(&workload("control-plane-api", "2.3.0"));
    let gateway = || gateway().with(&workload("control-plane-ui", "2.3.0")).with(&workload("portal", "2.3.0"));
    let told = tell(vec![
        ("the API would leave all its clients behind", two_behind(), bump("control-plane-api", "2.3.0", "2.4.0")),
        ("the API would leave one client behind", gateway(), bump("control-plane-api", "2.3.0", "2.4.0")),
        ("a first install beside a newer API", api_ahead(), Review::create(&workload_named("stoa-link-wm", "2.1.0"))),
        ("nearer, still too far", far(), bump("stoa-gateway", "2.1.0", "2.2.0")),
    ])
    .await;
    insta::assert_snapshot!(told);
}

/// Another workload of the gateway's component.
fn workload_named(name: &str, version: &str) -> Workload {
    Workload::deployment(name, &image("stoa-gateway", version))
}

#[tokio::test]
async fn hop() {
    let world = || World::settled("2.2.0");
    let stop = |version: &str| release(version, &[("keycloak", version)]);
    let mut required = stop("24.1.0");
    required["spec"]["requiredStop"] = json!(true);
    let mut wide = stoa_policy();
    wide["spec"]["maxHop"] = json!(3);
    let stops = || World::settled_under(&wide, "2.2.0").releases(&[stop("24.0.0"), required.clone(), stop("24.2.0")]);
    let upgrading = || {
        let keycloak = keycloak("24.1.0").rolling(1).set("/status/updateRevision", "keycloak-8c55");
        let old = keycloak.controller_revision("keycloak-7d4f", 1, "quay.io/keycloak/keycloak:24.0.0");
        let mut world = World::settled_under(&wide, "2.2.0").with(&keycloak);
        world.inventory.put_revision(RevisionKind::ControllerRevision, old);
        (world, Review::image(&keycloak, "quay.io/keycloak/keycloak:24.2.0"))
    };
    let (third, to_third) = upgrading();
    let rolling = workload("control-plane-api", "2.3.0").rolling(1);
    let keycloak_to =
        |version: &str| Review::image(&keycloak("24.0.0"), &format!("quay.io/keycloak/keycloak:{version}"));
    let told = tell(vec![
        ("two lines at once", world(), keycloak_to("24.2.0")),
        ("four lines where three are allowed", World::settled_under(&wide, "2.2.0"), keycloak_to("24.4.0")),
        ("two lines back", world().with(&keycloak("24.2.0")), {
            Review::image(&keycloak("24.2.0"), "quay.io/keycloak/keycloak:24.0.0")
        }),
        ("a required stop", stops(), keycloak_to("24.2.0")),
        (
            "two lines from what was completed, on top of a rollout",
            api_half_way(),
            Review::image(&rolling, &image("control-plane-api", "2.4.0")),
        ),
        ("a third line on top of a rollout", third, to_third),
    ])
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn version() {
    let settled = || World::settled("2.2.0");
    let api = || workload("control-plane-api", "2.2.0");
    let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let by_digest = format!("ghcr.io/stoa-platform/control-plane-api@{digest}");
    let label = "/spec/template/metadata/labels/app.kubernetes.io~1version";
    let labelled = api().set(label, "2.2.0");
    let latest = workload("control-plane-api", "latest");
    let listed = [release("2.2.0", &[("control-plane-api", "2.2.0")])];
    let gateway_at_latest = workload("stoa-gateway", "latest");
    let told = tell(vec![
        ("the tag latest", settled(), bump("control-plane-api", "2.2.0", "latest")),
        ("a bare digest", settled(), Review::image(&api(), &by_digest)),
        (
            "a stale label beside a new tag",
            settled().with(&labelled),
            Review::image(&labelled, &image("control-plane-api", "2.3.0")),
        ),
        ("a major step", settled(), Review::image(&keycloak("24.0.0"), "quay.io/keycloak/keycloak:25.0.0")),
        ("a version that no release lists", settled().releases(&listed), bump("control-plane-api", "2.2.0", "2.3.0")),
        ("a number that is too large", settled(), bump("control-plane-api", "2.2.0", "2.18446744073709551615.0")),
        ("away from latest", settled().with(&latest), Review::image(&latest, &image("control-plane-api", "2.3.0"))),
        ("a first install of latest", World::empty(), Review::create(&latest)),
        ("a peer at latest", settled().with(&gateway_at_latest), bump("control-plane-api", "2.2.0", "2.3.0")),
        ("a restart on latest", settled().with(&latest), Review::update(&latest, &restarted(&latest))),
    ])
    .await;
    insta::assert_snapshot!(told);
}

/// What `kubectl rollout restart` does.
pub fn restarted(workload: &Workload) -> Workload {
    let at = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
    workload.clone().set(at, "2026-03-02T10:00:00Z")
}

#[tokio::test]
async fn supported() {
    let told = tell(vec![
        ("not supported", World::empty(), Review::create(&keycloak("26.0.0"))),
        ("supported with a warning", World::empty(), Review::create(&keycloak("25.0.1"))),
        ("supported", World::empty(), Review::create(&keycloak("24.0.5"))),
        (
            "further out, and a major step",
            World::settled("2.2.0"),
            Review::image(&keycloak("24.0.0"), "quay.io/keycloak/keycloak:26.0.0"),
        ),
    ])
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn zero_downtime() {
    let settled = |mode: &str| World::settled_under(&modes(&json!({"UG-ZERODOWNTIME": mode})), "2.2.0");
    let bare = workload("control-plane-api", "2.2.0")
        .replicas(1)
        .without("/spec/template/spec/containers/0/readinessProbe")
        .set("/spec/strategy", json!({"type": "Recreate"}));
    let lacking = |mode: &str| {
        let mut world = settled(mode).with(&bare);
        world.inventory.budgets_mut().clear();
        world
    };
    let next = image("control-plane-api", "2.3.0");
    let api = workload("control-plane-api", "2.2.0");
    let all_at_once = api.clone().set("/spec/strategy/rollingUpdate/maxUnavailable", "100%");
    let mut scaled = settled("Warn");
    scaled.inventory.autoscalers_mut().insert("control-plane-api".into(), autoscaler("control-plane-api", 1));
    let mut blocked = settled("Warn");
    let never = super::objects::budget("control-plane-api", 0);
    blocked.inventory.budgets_mut().insert("control-plane-api".into(), never);
    let told = tell(vec![
        ("everything is missing", lacking("Warn"), Review::image(&bare, &next)),
        ("everything is missing, enforced", lacking("Enforce"), Review::image(&bare, &next)),
        ("the budget allows no disruption", blocked, Review::image(&api, &next)),
        ("the autoscaler may go too low", scaled, Review::image(&api, &next)),
        ("all pods at once", settled("Warn").with(&all_at_once), Review::image(&all_at_once, &next)),
        ("scaled down by an update", settled("Warn"), Review::update(&api, &api.clone().set("/spec/replicas", 1))),
        ("scaled down", settled("Warn"), Review::scale(&api, 1)),
        ("scaled down, enforced", settled("Enforce"), Review::scale(&api, 1)),
        ("scaled to nothing, enforced", settled("Enforce"), Review::scale(&api, 0)),
        ("scaled up, enforced", settled("Enforce"), Review::scale(&api, 5)),
    ])
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn several_reasons_at_once() {
    let bare = workload("stoa-gateway", "2.2.0").replicas(1);
    let enforced = modes(&json!({"UG-ZERODOWNTIME": "Enforce"}));
    let told = tell(vec![
        ("two lines up, before upstream", World::settled("2.2.0"), bump("stoa-gateway", "2.2.0", "2.4.0")),
        (
            "and with one replica",
            World::settled_under(&enforced, "2.2.0").with(&bare),
            Review::image(&bare, &image("stoa-gateway", "2.4.0")),
        ),
        ("the API two lines up", World::settled("2.2.0"), bump("control-plane-api", "2.2.0", "2.4.0")),
        ("two components in one pod", World::settled("2.2.0").with(&both("2.2.0", "2.2.0")), {
            Review::update(&both("2.2.0", "2.2.0"), &both("2.3.0", "latest"))
        }),
    ])
    .await;
    insta::assert_snapshot!(told);
}

/// A pod of the gateway and, beside it, the portal.
fn both(gateway: &str, portal: &str) -> Workload {
    let edge = workload_named("edge", gateway);
    let mut containers = edge.json["spec"]["template"]["spec"]["containers"].clone();
    let beside = json!({"name": "portal", "image": image("portal", portal), "readinessProbe": {}});
    containers.as_array_mut().unwrap().push(beside);
    edge.set("/spec/template/spec/containers", containers)
}

#[tokio::test]
async fn hints_by_caller() {
    let callers =
        ["argocd-controller", "kustomize-controller", "helm-controller", "helm", "kubectl-client-side-apply", "else"];
    let not_yet = callers.map(|by| (by, World::settled("2.2.0"), bump("stoa-gateway", "2.2.0", "2.3.0").by(by)));
    let never = (
        "argocd-controller, where waiting does not help",
        World::settled("2.2.0"),
        bump("control-plane-api", "2.2.0", "latest").by("argocd-controller"),
    );
    let told = tell(not_yet.into_iter().chain([never]).collect()).await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn dry_runs() {
    let told = tell(vec![
        ("not yet", World::settled("2.2.0"), bump("stoa-gateway", "2.2.0", "2.3.0").dry_run()),
        ("not yet, with a long reason", api_half_way(), bump("control-plane-ui", "2.2.0", "2.3.0").dry_run()),
        ("never", World::settled("2.2.0"), bump("control-plane-api", "2.2.0", "latest").dry_run()),
    ])
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn modes_of_rules() {
    let under = |mode: &str| World::settled_under(&modes(&json!({"UG-ORDER": mode, "UG-HOP": mode})), "2.2.0");
    let review = || bump("stoa-gateway", "2.2.0", "2.4.0");
    let only_order = bump("portal", "2.2.0", "2.3.0");
    let capped = |mode: &str| {
        let mut policy = modes(&json!({"UG-ORDER": "Enforce", "UG-HOP": "Audit"}));
        policy["spec"]["mode"] = json!(mode);
        World::settled_under(&policy, "2.2.0")
    };
    let gateway_left_out = |mode: &str| under(mode).with(&workload("control-plane-api", "2.3.0"));
    let told = tell(vec![
        ("Warn", gateway_left_out("Warn"), only_order.clone()),
        ("Audit", gateway_left_out("Audit"), only_order),
        ("Warn, beside a rule that is enforced", under("Warn"), review()),
        ("Audit, beside a rule that is enforced", under("Audit"), review()),
        ("Warn of the whole policy, which enforces rules", capped("Warn"), review()),
        ("Audit of the whole policy, which enforces rules", capped("Audit"), review()),
    ])
    .await;
    insta::assert_snapshot!(told);
}
