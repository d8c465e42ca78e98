//! What is not in a schema: names, versions, subresources.

use serde_json::json;

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [names(), of_a_version(), of_versions()].into_iter().flatten().collect()
}

/// The CRD with one version and these fields at these places.
fn with(fields: &[(&str, Value)]) -> Value {
    let mut spec = spec(json!({"type": "object"}));
    spec["names"]["shortNames"] = json!(["wi"]);
    spec["versions"][0]["subresources"] = json!({});
    for (pointer, value) in fields {
        let (place, key) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(place).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value.clone());
    }
    spec
}

fn names() -> Vec<Case> {
    vec![
        both_ways("scope", &["scope"], with(&[]), with(&[("/scope", json!("Cluster"))])),
        both_ways("group", &["identity"], with(&[]), with(&[("/group", json!("store.example"))])),
        both_ways("plural", &["identity"], with(&[]), with(&[("/names/plural", json!("gadgets"))])),
        both_ways("kind", &["identity"], with(&[]), with(&[("/names/kind", json!("Gadget"))])),
        both_ways("kind of lists", &["names"], with(&[]), with(&[("/names/listKind", json!("Widgets"))])),
        harmless(
            "names for people",
            with(&[]),
            with(&[("/names/shortNames", json!(["w"])), ("/names/categories", json!(["all"]))]),
        ),
        harmless(
            "what the server fills in",
            with(&[]),
            with(&[("/names/singular", json!("widget")), ("/conversion", json!({"strategy": "None"}))]),
        ),
        one_way(
            "unknown fields of the whole object",
            &["pruning"],
            with(&[("/preserveUnknownFields", json!(true))]),
            with(&[]),
        ),
    ]
}

fn of_a_version() -> Vec<Case> {
    let status = ("/versions/0/subresources/status", json!({}));
    let scale = |replicas: &str| {
        let scale = json!({"specReplicasPath": replicas, "statusReplicasPath": ".status.replicas"});
        ("/versions/0/subresources/scale", scale)
    };
    let selectable = |paths: &[&str]| {
        let fields: Vec<Value> = paths.iter().map(|path| json!({"jsonPath": path})).collect();
        ("/versions/0/selectableFields", json!(fields))
    };
    let columns = json!([{"name": "A", "type": "string", "jsonPath": ".spec.a"}]);
    let deprecated = ("/versions/0/deprecated", json!(true));
    let warning = ("/versions/0/deprecationWarning", json!("use v2"));
    vec![
        Case {
            what: "status",
            one: with(std::slice::from_ref(&status)),
            other: with(&[]),
            there: &["statusSubresource"],
            back: &["statusSubresourceAdded"],
        },
        Case {
            what: "status begins",
            one: with(&[]),
            other: with(&[status]),
            there: &["statusSubresourceAdded"],
            back: &["statusSubresource"],
        },
        one_way("scale", &["scaleSubresource"], with(&[scale(".spec.replicas")]), with(&[])),
        both_ways(
            "scale of another field",
            &["scaleSubresource"],
            with(&[scale(".spec.replicas")]),
            with(&[scale(".spec.size")]),
        ),
        one_way(
            "a selectable field",
            &["selectableField"],
            with(&[selectable(&[".spec.a", ".spec.b"])]),
            with(&[selectable(&[".spec.b"])]),
        ),
        one_way("deprecated", &["deprecation"], with(&[]), with(std::slice::from_ref(&deprecated))),
        one_way("deprecated with a warning", &["deprecation"], with(&[]), with(&[deprecated.clone(), warning.clone()])),
        harmless("another warning", with(std::slice::from_ref(&deprecated)), with(&[deprecated, warning])),
        harmless("printer columns", with(&[]), with(&[("/versions/0/additionalPrinterColumns", columns)])),
    ]
}

fn of_versions() -> Vec<Case> {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let more = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}});
    let one = |name, served| versions(&[(name, served, true, schema.clone())]);
    let two = |first: (bool, bool), second: (bool, bool)| {
        versions(&[("v1", first.0, first.1, schema.clone()), ("v2", second.0, second.1, schema.clone())])
    };
    let (stored, served, off) = ((true, true), (true, false), (false, false));
    vec![
        Case {
            what: "another version instead",
            one: one("v1", true),
            other: one("v2", true),
            there: &["storedVersionRemoval", "servedVersionRemoval", "storageVersionNew"],
            back: &["storedVersionRemoval", "servedVersionRemoval", "storageVersionNew"],
        },
        Case {
            what: "the version in which objects are stored is gone",
            one: two(stored, served),
            other: one("v2", true),
            there: &["storedVersionRemoval", "servedVersionRemoval"],
            back: &["storageVersionNew"],
        },
        one_way("a served version is gone", &["servedVersionRemoval"], two(served, stored), one("v2", true)),
        one_way("a version is served no more", &["servedVersionRemoval"], two(served, stored), two(off, stored)),
        harmless("a version that is neither served nor stored", two(off, stored), one("v2", true)),
        harmless("the same object is stored in another version", two(stored, served), two(served, stored)),
        Case {
            what: "a new version that is the same, in which objects are stored at once",
            one: one("v1", true),
            other: two(served, stored),
            there: &["storageVersionNew"],
            back: &["storedVersionRemoval", "servedVersionRemoval"],
        },
        one_way(
            "stored in a version that lacks a field",
            &["storageVersion"],
            versions(&[("v1", true, true, more.clone()), ("v2", true, false, schema.clone())]),
            versions(&[("v1", true, false, more), ("v2", true, true, schema)]),
        ),
    ]
}

#[test]
fn each_check_of_a_crd_has_its_table() {
    insta::assert_snapshot!(run(cases()));
}

#[test]
fn another_name_is_another_crd() {
    let (one, mut other) = (crd(&with(&[])), crd(&with(&[])));
    other.metadata.name = Some("gadgets.shop.example".to_owned());
    let found = compare(&one, &other, &all());
    assert_eq!(found[0].to_string(), "metadata.name: was widgets.shop.example, would be gadgets.shop.example");
    assert_eq!((found.len(), found[0].check), (1, "identity"));
}

#[test]
fn what_the_cluster_says_of_stored_versions_counts() {
    let schema = json!({"type": "object"});
    let stored_before = |versions: &[&str]| {
        let status = json!({"storedVersions": versions, "acceptedNames": {"kind": "Widget", "plural": "widgets"}, "conditions": []});
        let mut definition =
            crd(&super::versions(&[("v1", false, false, schema.clone()), ("v2", true, true, schema.clone())]));
        definition.status = Some(serde_json::from_value(status).unwrap());
        definition
    };
    let wanted = crd(&versions(&[("v2", true, true, schema.clone())]));
    let found = |installed| compare(&installed, &wanted, &all()).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        found(stored_before(&["v1", "v2"])),
        ["status.storedVersions: has v1, which would be gone: objects that are stored in it could not be read"]
    );
    assert_eq!(found(stored_before(&["v2"])), Vec::<String>::new(), "what was migrated is no concern");
}
