//! Policies and releases: all that is wrong with one is said at once.

use serde_json::{Value, json};

use super::objects::NAMESPACE;
use super::review::{Reply, Review};
use super::world::{World, release, stoa_policy};

const POLICIES: (&str, &str, &str, &str) = ("guard.gostoa.dev", "v1alpha1", "UpgradePolicy", "upgradepolicies");
const RELEASES: (&str, &str, &str, &str) = ("guard.gostoa.dev", "v1alpha1", "PlatformRelease", "platformreleases");

async fn ask(operation: &str, kind: (&str, &str, &str, &str), object: &Value) -> Reply {
    let name = object["metadata"]["name"].as_str().unwrap();
    let review = Review::of(operation, kind, name).set("/namespace", Value::Null).set("/object", object.clone());
    World::settled("2.2.0").ask(&review).await
}

#[tokio::test]
async fn the_shipped_policy_is_admitted() {
    for operation in ["CREATE", "UPDATE"] {
        let reply = ask(operation, POLICIES, &stoa_policy()).await;
        assert!(reply.allowed() && reply.path == "policy" && reply.snapshots == 0, "{}", reply.text());
    }
}

#[tokio::test]
async fn every_problem_of_a_policy_is_named() {
    let mut many = stoa_policy();
    let spec = &mut many["spec"];
    spec["namespaces"] = json!(["kube-system"]);
    spec["maxHop"] = json!(0);
    spec["modes"] = json!({"UG-ODER": "Warn"});
    spec["zeroDowntime"] = json!({"minReplicas": -1});
    spec["components"][1]["after"] = json!(["control-plane-apy"]);
    spec["components"][1]["skew"] = json!([{"component": "api", "behind": -1, "ahead": 0}]);
    spec["components"][2]["match"] = json!({});
    spec["components"][3]["match"]["names"] = json!(["control-plane-api"]);
    spec["components"][3]["version"] = json!({"tagPattern": "^v(.*)$"});
    spec["components"][4]["supported"] = json!([{"range": "24.x.y.z"}]);
    let mut database = stoa_policy();
    database["spec"]["database"] = json!({
        "components": ["control-plane-api", "api", "control-plane-api"],
        "migrations": {
            "statementTimeout": "5s", "checks": {"columnDroped": "Off"},
            "revisions": [{"revision": "107", "hold": "a draft"}, {"revision": "107"}],
            "waivers": [{"revision": "092", "check": "tableDropped", "hash": "not-hexadecimal", "reason": "read"}],
        },
    });
    let mut cycle = stoa_policy();
    cycle["spec"]["components"][0]["after"] = json!(["portal"]);
    let mut wrong_type = stoa_policy();
    wrong_type["spec"]["components"][0]["match"]["images"] = json!("one");
    let mut told = Vec::new();
    for (title, policy) in
        [("ten problems", many), ("a database", database), ("a cycle", cycle), ("a wrong type", wrong_type)]
    {
        for operation in ["CREATE", "UPDATE"] {
            let reply = ask(operation, POLICIES, &policy).await;
            assert!(!reply.allowed(), "{title}");
            if operation == "UPDATE" {
                told.push(format!("# {title}\n{}", reply.text().replace("; spec.", ";\n    spec.")));
            }
        }
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_release_names_components_of_its_policy() {
    let fine = release("2.2.0", &[("control-plane-api", "2.2.0"), ("keycloak", "24.0.0")]);
    assert!(ask("CREATE", RELEASES, &fine).await.allowed());

    let mut wrong = release("2026-07", &[("control-plane-apy", "2.2.0"), ("portal", "latest"), ("keycloak", "24.0.0")]);
    wrong["spec"]["components"][2]["needs"] = json!([
        {"component": "nobody", "version": "1.0.0"},
        {"component": "portal", "version": "new"},
    ]);
    let wrong = ask("UPDATE", RELEASES, &wrong).await;
    let mut unknown = fine.clone();
    unknown["spec"]["policy"] = json!("other");
    let unknown = ask("CREATE", RELEASES, &unknown).await;
    assert!(!wrong.allowed() && unknown.allowed());
    insta::assert_snapshot!(format!(
        "# many problems\n{}\n# a policy that is not there yet\n{}",
        wrong.text().replace("; spec.", ";\n    spec."),
        unknown.text()
    ));
}

#[tokio::test]
async fn deletions_and_statuses_pass() {
    let broken = json!({"metadata": {"name": "stoa"}, "spec": 1});
    for (operation, subresource) in [("DELETE", ""), ("UPDATE", "status")] {
        let review = Review::of(operation, POLICIES, "stoa")
            .set("/namespace", NAMESPACE)
            .set("/subResource", subresource)
            .set("/object", broken.clone());
        assert!(World::settled("2.2.0").ask(&review).await.allowed(), "{operation} {subresource}");
    }
    let platform = ("guard.gostoa.dev", "v1alpha1", "Platform", "platforms");
    assert!(ask("UPDATE", platform, &broken).await.allowed());
}
