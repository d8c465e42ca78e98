//! What accounts did, as the API server has noted it, and what they may, as roles say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A verb on a resource: `patch guard.gostoa.dev/platforms/status`.
pub(crate) type Right = String;

/// What was done with a right: namespaces and names, empty where there were none.
#[derive(Debug, Default)]
pub(crate) struct Use {
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) names: BTreeSet<String>,
}

/// What an account did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) used: BTreeMap<Right, Use>,
    /// What it was not let do.
    pub(crate) forbidden: BTreeSet<String>,
}

/// Reads what `account` of the guard's namespace did out of the audit log.
pub(crate) fn done_by(account: &str, log: &Path) -> Result<Done> {
    let user = format!("system:serviceaccount:upgrade-guard:{account}");
    let mut done = Done::default();
    let text = std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    for line in text.lines() {
        // The last line may be half-written.
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        if event["user"]["username"] != user.as_str() {
            continue;
        }
        let reference = &event["objectRef"];
        let of = |field: &str| reference[field].as_str().unwrap_or_default();
        let verb = event["verb"].as_str().context("a verb")?;
        let resource = of("resource");
        let right = match (resource, of("subresource")) {
            // What everyone may read: versions, discovery.
            ("", _) => continue,
            (resource, "") => format!("{verb} {}/{resource}", of("apiGroup")),
            (resource, part) => format!("{verb} {}/{resource}/{part}", of("apiGroup")),
        };
        if event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            done.forbidden.insert(format!("{right} {} {}", of("namespace"), of("name")));
            continue;
        }
        // An apply of what is not there is a patch that creates, and the API server asks for both rights.
        let creates = verb == "patch" && event["responseStatus"]["code"] == 201;
        let also = creates.then(|| right.replacen("patch", "create", 1));
        for right in [right].into_iter().chain(also) {
            let used = done.used.entry(right).or_default();
            used.namespaces.insert(of("namespace").to_owned());
            used.names.insert(of("name").to_owned());
        }
    }
    Ok(done)
}

/// What a role grants.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Only in this namespace.
    pub(crate) namespace: Option<String>,
    /// Only objects with these names, where there are any.
    pub(crate) names: BTreeSet<String>,
}

/// What `objects` grant the account of this name: roles are named like it.
pub(crate) fn granted_to(account: &str, objects: &[Value]) -> BTreeMap<Right, Grant> {
    let mut granted = BTreeMap::new();
    let roles = objects.iter().filter(|object| {
        ["ClusterRole", "Role"].iter().any(|kind| object["kind"] == *kind) && object["metadata"]["name"] == account
    });
    for role in roles {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let namespace = role["metadata"]["namespace"].as_str().filter(|_| role["kind"] == "Role");
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for verb in texts(&rule["verbs"]) {
                        let names = texts(&rule["resourceNames"]).into_iter().collect();
                        let grant = Grant { namespace: namespace.map(str::to_owned), names };
                        granted.insert(format!("{verb} {group}/{resource}"), grant);
                    }
                }
            }
        }
    }
    granted
}

/// What is wrong between what was done and what may be done, one line each. `kept` are rights that stay although nothing
/// used them, with the reason.
pub(crate) fn differences(done: &Done, granted: &BTreeMap<Right, Grant>, kept: &[(&str, &str)]) -> Vec<String> {
    let mut wrong: Vec<String> = done.forbidden.iter().map(|what| format!("was not let do: {what}")).collect();
    for (right, grant) in granted {
        let reason = kept.iter().find(|(kept, _)| kept == right);
        let Some(used) = done.used.get(right) else {
            if reason.is_none() {
                wrong.push(format!("is granted and was not used: {right}"));
            }
            continue;
        };
        if reason.is_some() {
            wrong.push(format!("is named as not used, and was: {right}"));
        }
        let own = BTreeSet::from(["upgrade-guard".to_owned()]);
        if grant.namespace.is_none() && used.namespaces == own {
            wrong.push(format!("is granted everywhere and was used in the guard's namespace alone: {right}"));
        }
        if !grant.names.is_empty() && !used.names.is_subset(&grant.names) && !used.names.contains("") {
            wrong.push(format!("is granted by other names than were used: {right} {:?}", used.names));
        }
    }
    let unknown = kept.iter().filter(|(right, _)| !granted.contains_key(*right));
    wrong.extend(unknown.map(|(right, _)| format!("is named as not used, and not granted either: {right}")));
    let more = done.used.keys().filter(|right| !granted.contains_key(*right));
    wrong.extend(more.map(|right| format!("was used and is granted by nothing of the chart: {right}")));
    wrong
}

#[test]
fn each_difference_is_told() {
    let objects: Vec<Value> = vec![serde_json::json!({
        "kind": "ClusterRole", "metadata": {"name": "upgrade-guard"}, "rules": [
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]},
        ]}
    )];
    let granted = granted_to("upgrade-guard", &objects);
    let event = |verb: &str, resource: &str, namespace: &str, decision: &str| {
        serde_json::json!({"verb": verb, "user": {"username": "system:serviceaccount:upgrade-guard:upgrade-guard"},
            "objectRef": {"resource": resource, "apiGroup": if resource == "deployments" { "apps" } else { "" }, "namespace": namespace},
            "annotations": {"authorization.k8s.io/decision": decision}}).to_string()
    };
    let log = tempfile::NamedTempFile::new().unwrap();
    let lines = [
        event("get", "deployments", "shop", "allow"),
        event("get", "secrets", "upgrade-guard", "allow"),
        event("delete", "pods", "shop", "forbid"),
        event("list", "nodes", "", "allow"),
    ];
    std::fs::write(log.path(), lines.join("\n")).unwrap();
    let done = done_by("upgrade-guard", log.path()).unwrap();
    let kept = [("list /secrets", "why"), ("get apps/deployments", "why"), ("watch /pods", "why")];
    assert_eq!(
        differences(&done, &granted, &kept),
        [
            "was not let do: delete /pods shop ",
            "is granted everywhere and was used in the guard's namespace alone: get /secrets",
            "is named as not used, and was: get apps/deployments",
            "is granted and was not used: patch apps/deployments",
            "is named as not used, and not granted either: watch /pods",
            "was used and is granted by nothing of the chart: list /nodes",
        ]
    );
}
