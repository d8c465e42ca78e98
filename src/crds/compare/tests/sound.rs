//! Where no check finds anything, every object that the old schema allows is allowed by the new one and loses nothing.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, json};

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const TEXTS: [&str; 5] = ["", "a", "ab", "b", "abab"];

/// Two values of a keyword or none: most often the same.
fn twice(keyword: impl Strategy<Value = Option<Value>> + Clone) -> impl Strategy<Value = [Option<Value>; 2]> {
    let same = keyword.clone().prop_map(|value| [value.clone(), value]);
    prop_oneof![6 => same, 1 => [keyword.clone(), keyword]]
}

fn sometimes(value: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Option<Value>> + Clone {
    proptest::option::weighted(0.3, value)
}

fn number(range: std::ops::Range<i64>) -> impl Strategy<Value = Option<Value>> + Clone {
    sometimes(range.prop_map(Value::from))
}

fn yes() -> impl Strategy<Value = Option<Value>> + Clone {
    sometimes(Just(json!(true)))
}

fn some_of(values: &'static [&'static str]) -> impl Strategy<Value = Option<Value>> + Clone {
    sometimes(proptest::sample::subsequence(values, 1..=values.len()).prop_map(|values| json!(values)))
}

/// Two schemas of one type with these keywords.
fn pair(
    kind: &'static str,
    keywords: Vec<(&'static str, BoxedStrategy<[Option<Value>; 2]>)>,
) -> BoxedStrategy<[Value; 2]> {
    let (names, values): (Vec<_>, Vec<_>) = keywords.into_iter().unzip();
    let pairs = values.prop_map(move |values| {
        let mut schemas = [json!({"type": kind}), json!({"type": kind})];
        for (name, values) in names.iter().zip(values) {
            for (schema, value) in schemas.iter_mut().zip(values) {
                schema.as_object_mut().unwrap().extend(value.map(|value| ((*name).to_owned(), value)));
            }
        }
        schemas
    });
    pairs.boxed()
}

fn scalars() -> BoxedStrategy<[Value; 2]> {
    let pattern = sometimes(prop_oneof![Just(json!("^a")), Just(json!("b$"))]);
    let text = vec![
        ("minLength", twice(number(0..3)).boxed()),
        ("maxLength", twice(number(1..5)).boxed()),
        ("enum", twice(some_of(&TEXTS)).boxed()),
        ("pattern", twice(pattern).boxed()),
        ("nullable", twice(yes()).boxed()),
    ];
    let integer = vec![
        ("minimum", twice(number(-2..3)).boxed()),
        ("exclusiveMinimum", twice(yes()).boxed()),
        ("maximum", twice(number(-1..4)).boxed()),
        ("exclusiveMaximum", twice(yes()).boxed()),
        ("multipleOf", twice(number(1..5)).boxed()),
        ("nullable", twice(yes()).boxed()),
    ];
    prop_oneof![pair("string", text), pair("integer", integer)].boxed()
}

/// Two schemas whose parts are most often the same.
fn pairs() -> BoxedStrategy<[Value; 2]> {
    let inner = |inner: BoxedStrategy<[Value; 2]>| {
        // The same field before and after, or two that have nothing to do with each other.
        let apart = [inner.clone(), inner.clone()].prop_map(|[[one, _], [_, other]]| [one, other]);
        let part = prop_oneof![9 => inner, 1 => apart].boxed();
        let list = (part.clone(), twice(number(0..3)), twice(number(1..4))).prop_map(|(items, least, most)| {
            let [old, new] = [0, 1].map(|side| {
                schema(
                    "array",
                    [
                        ("items", Some(items[side].clone())),
                        ("minItems", least[side].clone()),
                        ("maxItems", most[side].clone()),
                    ],
                )
            });
            [old, new]
        });
        let fields = proptest::array::uniform3((
            part.clone(),
            twice(sometimes(Just(json!(true))).prop_map(|skip| skip.xor(Some(json!(true))))),
        ));
        let limits = (twice(number(0..2)), twice(number(1..4)), twice(some_of(&NAMES)));
        let others = (twice(yes()), twice(yes()), part);
        let object = (fields, limits, others).prop_map(|(fields, limits, (kept, map, values))| {
            [0, 1].map(|side| {
                let there = NAMES.into_iter().zip(&fields).filter(|(_, (_, there))| there[side].is_some());
                let fields: Map<String, Value> =
                    there.map(|(name, (field, _))| (name.to_owned(), field[side].clone())).collect();
                let is_map = map[side].is_some();
                schema(
                    "object",
                    [
                        ("properties", Some(Value::Object(fields)).filter(|_| !is_map)),
                        ("additionalProperties", Some(values[side].clone()).filter(|_| is_map)),
                        ("x-kubernetes-preserve-unknown-fields", kept[side].clone().filter(|_| !is_map)),
                        ("minProperties", limits.0[side].clone()),
                        ("maxProperties", limits.1[side].clone()),
                        ("required", limits.2[side].clone()),
                    ],
                )
            })
        });
        prop_oneof![1 => list, 3 => object].boxed()
    };
    scalars().prop_recursive(2, 12, 4, inner).boxed()
}

fn schema<const N: usize>(kind: &str, keywords: [(&str, Option<Value>); N]) -> Value {
    let mut schema = json!({"type": kind});
    let keywords = keywords.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    schema.as_object_mut().unwrap().extend(keywords);
    schema
}

/// A value that has a good chance to be what `schema` allows; `choices` is used up.
fn value(schema: &Value, choices: &mut impl Iterator<Item = usize>) -> Value {
    let mut choose = |most: usize| choices.next().unwrap_or_default() % most;
    if schema["nullable"] == true && choose(4) == 0 {
        return Value::Null;
    }
    match schema["type"].as_str().unwrap_or_default() {
        "string" => json!(TEXTS[choose(TEXTS.len())]),
        "integer" => json!(i64::try_from(choose(7)).unwrap() - 3),
        "array" => {
            let length = choose(4);
            (0..length).map(|_| value(&schema["items"], choices)).collect()
        }
        _ => {
            let mut fields = Map::new();
            for name in NAMES {
                let unknown = json!({"type": "string"});
                let known = [schema.pointer(&format!("/properties/{name}")), schema.get("additionalProperties")];
                let kept = schema["x-kubernetes-preserve-unknown-fields"] == true;
                let of = known.into_iter().flatten().next().or_else(|| kept.then_some(&unknown));
                if let (Some(of), true) = (of, !choices.next().unwrap_or_default().is_multiple_of(3)) {
                    fields.insert(name.to_owned(), value(of, choices));
                }
            }
            Value::Object(fields)
        }
    }
}

/// The schema as JSON Schema has it, which knows no `nullable`.
fn plain(schema: &Value) -> Value {
    let mut plain_schema = schema.clone();
    for (exclusive, limit) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if schema.get(limit).is_none() {
            plain_schema.as_object_mut().unwrap().remove(exclusive);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = plain_schema.get_mut(key) {
            *inner = plain(inner);
        }
    }
    if let Some(fields) = plain_schema.get_mut("properties").and_then(Value::as_object_mut) {
        fields.values_mut().for_each(|field| *field = plain(field));
    }
    if schema["nullable"] == true { json!({"anyOf": [{"type": "null"}, plain_schema]}) } else { plain_schema }
}

/// What the server keeps of `value`.
fn pruned(value: &Value, schema: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| pruned(item, &schema["items"])).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(name, value)| {
                let known = [schema.pointer(&format!("/properties/{name}")), schema.get("additionalProperties")];
                match known.into_iter().flatten().next() {
                    Some(schema) => Some((name.clone(), pruned(value, schema))),
                    None => {
                        (schema["x-kubernetes-preserve-unknown-fields"] == true).then(|| (name.clone(), value.clone()))
                    }
                }
            });
            Value::Object(kept.collect())
        }
        scalar => scalar.clone(),
    }
}

/// Whether a value is allowed by `schema` and loses nothing.
fn accepts(schema: &Value) -> impl Fn(&Value) -> bool {
    let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft4).build(&plain(schema)).unwrap();
    move |value| validator.is_valid(value) && pruned(value, schema) == *value
}

#[test]
fn what_is_no_difference_harms_no_object() {
    // Strategies inside strategies need more of a stack than a test has.
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(judge).unwrap();
    thread.join().unwrap();
}

fn judge() {
    let (judged, changed) = (Cell::new(0), Cell::new(0));
    let cases = (pairs(), proptest::collection::vec(proptest::collection::vec(0..1000_usize, 40), 8));
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let result = runner.run(&cases, |([old, new], choices)| {
        if old == new || !between(&spec(old.clone()), &spec(new.clone())).is_empty() {
            return Ok(());
        }
        changed.set(changed.get() + 1);
        let (before, after) = (accepts(&old), accepts(&new));
        for choices in choices {
            let value = value(&old, &mut choices.into_iter());
            if before(&value) {
                judged.set(judged.get() + 1);
                prop_assert!(after(&value), "{value} is lost or refused from\n{old} to\n{new}");
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    println!("{} pairs without a difference, {} objects", changed.get(), judged.get());
    assert!(changed.get() > 100 && judged.get() > 300, "{changed:?} pairs, {judged:?} objects: too few to tell");
}
