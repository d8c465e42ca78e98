//! What the schema of one version demands.

use serde_json::json;

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [types(), fields(), maps(), limits(), texts_and_values(), lists(), unknown_fields(), rules(), compositions()]
        .into_iter()
        .flatten()
        .collect()
}

fn types() -> Vec<Case> {
    let number = json!({"type": "integer"});
    let either = json!({"x-kubernetes-int-or-string": true});
    vec![
        both_ways("another type", &["type"], field(json!({"type": "string"})), field(number.clone())),
        both_ways("integer or string", &["type"], field(number.clone()), field(either.clone())),
        both_ways("a wider type", &["type"], field(number.clone()), field(json!({"type": "number"}))),
        both_ways(
            "below another type nothing is told",
            &["type"],
            field(json!({"type": "object", "properties": {"b": number, "c": number}, "required": ["b"]})),
            field(json!({"type": "array", "items": number, "minItems": 1})),
        ),
        both_ways(
            "in items, maps and objects",
            &["type", "type", "type"],
            field(json!({"type": "object", "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "object": {"type": "object", "properties": {"b": {"type": "string"}}}}})),
            field(json!({"type": "object", "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {"b": number}}},
                "map": {"type": "object", "additionalProperties": number},
                "object": {"type": "object", "properties": {"b": number}}}})),
        ),
        one_way(
            "a kept field gets a type",
            &["type"],
            field(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
            field(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"b": number}})),
        ),
        one_way(
            "a format",
            &["format"],
            field(json!({"type": "string"})),
            field(json!({"type": "string", "format": "uri"})),
        ),
        both_ways(
            "another format",
            &["format"],
            field(json!({"type": "string", "format": "date"})),
            field(json!({"type": "string", "format": "date-time"})),
        ),
        one_way(
            "a narrower format",
            &["format"],
            field(json!({"type": "integer", "format": "int64"})),
            field(json!({"type": "integer", "format": "int32"})),
        ),
        harmless(
            "what every integer or string fulfils",
            field(either),
            field(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})),
        ),
    ]
}

fn fields() -> Vec<Case> {
    let with =
        |fields: Value, required: Value| spec(json!({"type": "object", "properties": fields, "required": required}));
    let text = json!({"type": "string"});
    let nested = json!({"type": "object", "properties": {"c": text, "d": text}, "required": ["c"]});
    vec![
        one_way(
            "a field is gone",
            &["existingFieldRemoval"],
            with(json!({"a": text, "b": text}), json!([])),
            with(json!({"a": text}), json!([])),
        ),
        one_way(
            "a subtree is gone",
            &["existingFieldRemoval"],
            with(json!({"a": nested}), json!([])),
            with(json!({}), json!([])),
        ),
        one_way(
            "a field is renamed",
            &["existingFieldRemoval"],
            with(json!({"a": text, "b": text}), json!([])),
            with(json!({"b": text}), json!([])),
        ),
        one_way(
            "a field becomes required",
            &["required"],
            with(json!({"a": text}), json!([])),
            with(json!({"a": text}), json!(["a"])),
        ),
        Case {
            what: "a new field is required",
            one: with(json!({"a": text}), json!([])),
            other: with(json!({"a": text, "b": nested}), json!(["b"])),
            there: &["required"],
            back: &["existingFieldRemoval"],
        },
        Case {
            what: "a new field is required and has a default",
            one: with(json!({"a": text}), json!([])),
            other: with(json!({"a": text, "b": {"type": "string", "default": "x"}}), json!(["b"])),
            there: &[],
            back: &["existingFieldRemoval"],
        },
        harmless(
            "the order of what is required",
            with(json!({"a": text, "b": text}), json!(["a", "b"])),
            with(json!({"a": text, "b": text}), json!(["b", "a"])),
        ),
        both_ways(
            "another default",
            &["default"],
            field(json!({"type": "string", "default": "a"})),
            field(json!({"type": "string", "default": "b"})),
        ),
        both_ways(
            "a default",
            &["default"],
            field(json!({"type": "boolean"})),
            field(json!({"type": "boolean", "default": false})),
        ),
        Case {
            what: "a new field with a default",
            one: with(json!({"a": text}), json!([])),
            other: with(json!({"a": text, "b": {"type": "string", "default": "x"}}), json!([])),
            there: &[],
            back: &["existingFieldRemoval"],
        },
        one_way(
            "not nullable",
            &["nullable"],
            field(json!({"type": "string", "nullable": true})),
            field(json!({"type": "string"})),
        ),
        both_ways(
            "texts for people",
            &["description", "description", "description", "description"],
            field(json!({"type": "string"})),
            field(json!({"type": "string", "title": "A", "description": "It is A.", "example": "a",
                "externalDocs": {"url": "https://shop.example"}})),
        ),
        harmless(
            "what every object has",
            crd_with_root(json!({"type": "object", "properties": {"spec": {"type": "object"}}})),
            crd_with_root(json!({"type": "object", "required": ["metadata"], "properties": {
                "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                "spec": {"type": "object"}}})),
        ),
    ]
}

/// A CRD whose whole objects have this schema.
fn crd_with_root(schema: Value) -> Value {
    let mut spec = spec(json!({}));
    spec["versions"][0]["schema"]["openAPIV3Schema"] = schema;
    spec
}

fn maps() -> Vec<Case> {
    let map = |values: Value| field(json!({"type": "object", "additionalProperties": values}));
    let named = json!({"type": "object", "properties": {"b": {"type": "string"}}});
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    vec![
        one_way(
            "a map takes any values and then texts",
            &["type"],
            field(free.clone()),
            map(json!({"type": "string"})),
        ),
        Case {
            what: "a map becomes fields",
            one: map(json!({"type": "string"})),
            other: field(named.clone()),
            there: &["existingFieldRemoval"],
            back: &[],
        },
        Case {
            what: "a map becomes a field of another type",
            one: map(json!({"type": "integer"})),
            other: field(named.clone()),
            there: &["type", "existingFieldRemoval"],
            back: &["type"],
        },
        one_way("fields become free", &["pruning", "type"], field(free), field(named)),
        harmless(
            "a map of anything",
            map(json!(true)),
            field(
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "additionalProperties": true}),
            ),
        ),
    ]
}

fn limits() -> Vec<Case> {
    let number = |limit: Value| {
        let mut schema = json!({"type": "integer"});
        schema.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        field(schema)
    };
    let mut cases = vec![
        one_way(
            "not the least value itself",
            &["minimum"],
            number(json!({"minimum": 1})),
            number(json!({"minimum": 1, "exclusiveMinimum": true})),
        ),
        one_way(
            "not the greatest value itself",
            &["maximum"],
            number(json!({"maximum": 9})),
            number(json!({"maximum": 9, "exclusiveMaximum": true})),
        ),
        one_way("a multiple", &["multipleOf"], number(json!({})), number(json!({"multipleOf": 2}))),
        one_way(
            "a multiple of more",
            &["multipleOf"],
            number(json!({"multipleOf": 2})),
            number(json!({"multipleOf": 4})),
        ),
        both_ways(
            "a multiple of something else",
            &["multipleOf"],
            number(json!({"multipleOf": 2})),
            number(json!({"multipleOf": 3})),
        ),
        harmless("at least none", field(json!({"type": "string"})), field(json!({"type": "string", "minLength": 0}))),
    ];
    let least: [(&'static [&'static str], &str); 4] = [
        (&["minimum"], "integer"),
        (&["minLength"], "string"),
        (&["minItems"], "array"),
        (&["minProperties"], "object"),
    ];
    let most: [(&'static [&'static str], &str); 4] = [
        (&["maximum"], "integer"),
        (&["maxLength"], "string"),
        (&["maxItems"], "array"),
        (&["maxProperties"], "object"),
    ];
    for (raised, pairs) in [(true, least), (false, most)] {
        for (check, kind) in pairs {
            let at = |limit: i32| field(json!({"type": kind, check[0]: limit}));
            let (lax, strict) = if raised { (2, 3) } else { (3, 2) };
            cases.push(one_way("a limit", check, field(json!({"type": kind})), at(2)));
            cases.push(one_way("a stricter limit", check, at(lax), at(strict)));
        }
    }
    cases
}

fn texts_and_values() -> Vec<Case> {
    let text = |limit: Value| {
        let mut schema = json!({"type": "string"});
        schema.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        field(schema)
    };
    vec![
        one_way("values", &["enum"], text(json!({})), text(json!({"enum": ["a", "b"]}))),
        one_way("a value is gone", &["enum"], text(json!({"enum": ["a", "b"]})), text(json!({"enum": ["a"]}))),
        one_way("values are gone", &["enum"], text(json!({"enum": ["a", "b", "c"]})), text(json!({"enum": ["b"]}))),
        both_ways("other values", &["enum"], text(json!({"enum": ["a", "b"]})), text(json!({"enum": ["a", "c"]}))),
        harmless("values in another order", text(json!({"enum": ["a", "b"]})), text(json!({"enum": ["b", "a"]}))),
        one_way("a pattern", &["pattern"], text(json!({})), text(json!({"pattern": "^a+$"}))),
        both_ways("another pattern", &["pattern"], text(json!({"pattern": "^a$"})), text(json!({"pattern": "^a+$"}))),
    ]
}

fn lists() -> Vec<Case> {
    let item = json!({"type": "object", "properties": {"b": {"type": "string"}, "c": {"type": "string"}}});
    let list = |kind: Value| {
        let mut schema = json!({"type": "array", "items": item});
        schema.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        field(schema)
    };
    let by = |keys: &[&str]| list(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}));
    let object = |kind: Value| {
        let mut schema = json!({"type": "object", "properties": {}});
        schema.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        field(schema)
    };
    vec![
        both_ways("a list by key", &["listType"], list(json!({})), by(&["b"])),
        both_ways("a list by another key", &["listType"], by(&["b"]), by(&["c"])),
        both_ways("a list by more keys", &["listType"], by(&["b"]), by(&["b", "c"])),
        harmless("keys in another order", by(&["b", "c"]), by(&["c", "b"])),
        harmless("a list is atomic", list(json!({})), list(json!({"x-kubernetes-list-type": "atomic"}))),
        both_ways(
            "an atomic object",
            &["mapType"],
            object(json!({})),
            object(json!({"x-kubernetes-map-type": "atomic"})),
        ),
        harmless("a granular object", object(json!({})), object(json!({"x-kubernetes-map-type": "granular"}))),
        one_way(
            "a list of anything",
            &["type"],
            field(json!({"type": "array"})),
            field(json!({"type": "array", "items": {"type": "string"}})),
        ),
    ]
}

fn unknown_fields() -> Vec<Case> {
    vec![
        one_way(
            "unknown fields",
            &["pruning"],
            field(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
            field(json!({"type": "object"})),
        ),
        one_way(
            "a field that is kept without being known",
            &["pruning", "type"],
            field(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
            field(json!({"type": "object", "properties": {"b": {"type": "string"}}})),
        ),
        both_ways(
            "a whole Kubernetes object",
            &["embeddedResource"],
            field(json!({"type": "object"})),
            field(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
        ),
        harmless(
            "fields of a whole Kubernetes object",
            field(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
            field(json!({"type": "object", "x-kubernetes-embedded-resource": true, "required": ["kind"],
                "properties": {"metadata": {"type": "object"}, "kind": {"type": "string"}}})),
        ),
    ]
}

fn rules() -> Vec<Case> {
    let with = |rules: Value| spec(json!({"type": "object", "x-kubernetes-validations": rules}));
    let least = json!({"rule": "self.replicas >= 1"});
    let same = json!({"rule": "self.name == oldSelf.name", "message": "the name stays"});
    vec![
        one_way("a rule", &["validationRule"], with(json!([])), with(json!([least]))),
        one_way("one more rule", &["validationRule"], with(json!([same])), with(json!([least, same]))),
        both_ways(
            "another rule",
            &["validationRule"],
            with(json!([least])),
            with(json!([{"rule": "self.replicas >= 2"}])),
        ),
        one_way("a rule about changes", &["transitionRule"], with(json!([])), with(json!([same]))),
        both_ways(
            "a rule about creation too",
            &["transitionRule"],
            with(json!([same])),
            with(json!([{"rule": "self.name == oldSelf.name", "optionalOldSelf": true}])),
        ),
        one_way(
            "no rule about changes",
            &["validationRule"],
            with(json!([])),
            with(json!([{"rule": "self.oldSelfish == 'oldSelf2'"}])),
        ),
        harmless(
            "the message of a rule",
            with(json!([least])),
            with(
                json!([{"rule": "self.replicas >= 1", "message": "one at least", "fieldPath": ".replicas", "reason": "FieldValueForbidden"}]),
            ),
        ),
        harmless("the order of rules", with(json!([least, same])), with(json!([same, least]))),
    ]
}

fn compositions() -> Vec<Case> {
    let with = |key: &str, branches: Value| {
        field(
            json!({"type": "object", "properties": {"b": {"type": "string"}, "c": {"type": "string"}}, key: branches}),
        )
    };
    let [b, c] = [json!({"required": ["b"]}), json!({"required": ["c"]})];
    let none = field(json!({"type": "object", "properties": {"b": {"type": "string"}, "c": {"type": "string"}}}));
    vec![
        one_way("all of", &["unhandled"], with("allOf", json!([b])), with("allOf", json!([b, c]))),
        one_way("any of", &["unhandled"], with("anyOf", json!([b, c])), with("anyOf", json!([b]))),
        both_ways("one of", &["unhandled"], with("oneOf", json!([b, c])), with("oneOf", json!([b]))),
        one_way("not", &["unhandled"], none, with("not", b)),
        both_ways(
            "a keyword that no check knows",
            &["unhandled"],
            field(json!({"type": "string"})),
            field(json!({"type": "string", "$schema": "x"})),
        ),
    ]
}

#[test]
fn each_check_of_a_schema_has_its_table() {
    insta::assert_snapshot!(run(cases()));
}
