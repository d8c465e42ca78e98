//! Conversion, and versions that are served side by side.

use serde_json::json;

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [webhooks(), side_by_side()].into_iter().flatten().collect()
}

fn webhooks() -> Vec<Case> {
    let one = spec(json!({"type": "object"}));
    let mut reviews = webhook(one.clone(), "converter");
    reviews["conversion"]["webhook"]["conversionReviewVersions"] = json!(["v1", "v1beta1"]);
    vec![
        one_way("a webhook begins", &["conversionWebhook"], one.clone(), webhook(one.clone(), "converter")),
        both_ways(
            "another webhook",
            &["conversionWebhook"],
            webhook(one.clone(), "converter"),
            webhook(one.clone(), "other"),
        ),
        both_ways("other reviews", &["conversionWebhook"], webhook(one, "converter"), reviews),
        Case {
            what: "a webhook goes away",
            one: webhook(both(text(), text()), "converter"),
            other: both(text(), text()),
            there: &["conversion"],
            back: &["conversionWebhook"],
        },
        Case {
            what: "a webhook goes away between versions that differ",
            one: webhook(both(text(), number()), "converter"),
            other: both(text(), number()),
            there: &["conversion", "type"],
            back: &["conversionWebhook"],
        },
        Case {
            what: "what a webhook converts may differ",
            one: webhook(both(text(), text()), "converter"),
            other: webhook(
                both(text(), object(&json!({"a": {"type": "string"}, "b": {"type": "string"}}))),
                "converter",
            ),
            there: &[],
            back: &["existingFieldRemoval"],
        },
    ]
}

fn side_by_side() -> Vec<Case> {
    let alone = versions(&[("v1beta1", true, true, text())]);
    let more = || object(&json!({"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "integer"}}));
    let beside = |what, other, there| Case { what, one: alone.clone(), other, there, back: &["servedVersionRemoval"] };
    vec![
        beside("a new version that is the same", both(text(), text()), &[]),
        beside("a new version with another type", both(text(), number()), &["type"]),
        beside("a new version without a field", both(text(), object(&json!({}))), &["existingFieldRemoval"]),
        beside("a new version with more fields", both(text(), more()), &["conversion"]),
        Case {
            what: "a new version that is not served yet",
            one: alone.clone(),
            other: versions(&[("v1beta1", true, true, text()), ("v2", false, false, number())]),
            there: &[],
            back: &[],
        },
        both_ways(
            "what differs in one direction only is not told again either",
            &["enum"],
            both(one_of(&["a", "x"]), one_of(&["a", "b"])),
            both(one_of(&["a"]), one_of(&["a", "b"])),
        ),
        Case {
            what: "what differed before is not told again",
            one: both(
                object(&json!({"a": {"type": "string"}})),
                object(&json!({"a": {"type": "integer"}, "b": {"type": "string"}})),
            ),
            other: both(
                object(&json!({"a": {"type": "string"}, "z": {"type": "string"}})),
                object(&json!({"a": {"type": "integer"}, "b": {"type": "string"}, "z": {"type": "string"}})),
            ),
            there: &[],
            back: &["existingFieldRemoval", "existingFieldRemoval"],
        },
        Case {
            what: "what differs now and did not before is",
            one: both(object(&json!({"a": {"type": "string"}})), object(&json!({"a": {"type": "integer"}}))),
            other: both(
                object(&json!({"a": {"type": "string"}, "z": {"type": "string"}})),
                object(&json!({"a": {"type": "integer"}, "z": {"type": "boolean"}, "y": {"type": "string"}})),
            ),
            there: &["type", "conversion"],
            back: &["existingFieldRemoval", "existingFieldRemoval", "existingFieldRemoval"],
        },
    ]
}

fn object(fields: &Value) -> Value {
    json!({"type": "object", "properties": fields})
}

fn one_of(values: &[&str]) -> Value {
    object(&json!({"a": {"type": "string", "enum": values}}))
}

fn text() -> Value {
    object(&json!({"a": {"type": "string"}}))
}

fn number() -> Value {
    object(&json!({"a": {"type": "integer"}}))
}

/// Two versions that are both served; objects are stored in the first.
fn both(one: Value, other: Value) -> Value {
    versions(&[("v1beta1", true, true, one), ("v2", true, false, other)])
}

fn webhook(mut spec: Value, service: &str) -> Value {
    let client = json!({"service": {"namespace": "shop", "name": service, "path": "/convert"}});
    spec["conversion"] =
        json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}});
    spec
}

#[test]
fn each_check_of_a_conversion_has_its_table() {
    insta::assert_snapshot!(run(cases()));
}

#[test]
fn texts_for_people_may_differ_between_versions() {
    let described = object(&json!({"a": {"type": "string", "description": "It is A."}}));
    assert_eq!(between(&versions(&[("v1beta1", true, true, text())]), &both(text(), described)), []);
}

#[test]
fn what_a_policy_switches_off_is_no_risk_of_conversion() {
    let old = crd(&versions(&[("v1beta1", true, true, text())]));
    let limited = object(&json!({"a": {"type": "string", "maxLength": 9}}));
    for (first, second) in [(text(), limited.clone()), (limited, text())] {
        let new = crd(&both(first, second));
        let found = |severities: &Severities| compare(&old, &new, severities).len();
        let off = Severities(BTreeMap::from([("maxLength".to_owned(), Severity::Off)]));
        assert!(found(&Severities::default()) > 0);
        assert_eq!(found(&off), 0);
    }
}

/// Kubernetes prefers `v1` to `v1beta1` and that to `v1alpha1`, and `v10` to `v2`.
#[test]
fn the_newer_version_is_the_one_that_is_compared_with() {
    for (older, newer) in [("v1alpha1", "v1beta1"), ("v1beta1", "v1"), ("v2", "v10"), ("v2alpha1", "v1")] {
        let old = crd(&versions(&[(older, true, true, text())]));
        let new = crd(&versions(&[(newer, true, false, number()), (older, true, true, text())]));
        let told: Vec<String> = compare(&old, &new, &all()).iter().map(ToString::to_string).collect();
        assert_eq!(told, [format!("{older} and {newer} spec.a: is string in {older}, but integer in {newer}")]);
    }
}

#[test]
fn a_ca_bundle_that_a_file_does_not_state_stays() {
    let with = |bundle: Option<&str>| {
        let mut spec = webhook(spec(json!({"type": "object"})), "converter");
        spec["conversion"]["webhook"]["clientConfig"]["caBundle"] = json!(bundle);
        crd(&spec)
    };
    assert_eq!(compare(&with(Some("QQ==")), &with(None), &all()), []);
    assert_eq!(compare(&with(Some("QQ==")), &with(Some("Qg==")), &all()).len(), 1);
}
