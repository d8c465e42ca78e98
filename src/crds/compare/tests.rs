//! A table per check, each row in both directions: what is refused one way has to be harmless the other way, or to be
//! told there too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::crds::check::ROWS;

mod conversions;
mod definitions;
mod schemas;
mod sound;

/// Two CRDs, and the checks that find something on the way there and on the way back.
struct Case {
    what: &'static str,
    one: Value,
    other: Value,
    there: &'static [&'static str],
    back: &'static [&'static str],
}

/// A row that is refused one way, and harmless the other.
fn one_way(what: &'static str, check: &'static [&'static str], one: Value, other: Value) -> Case {
    Case { what, one, other, there: check, back: &[] }
}

/// A row that is refused in both directions.
fn both_ways(what: &'static str, check: &'static [&'static str], one: Value, other: Value) -> Case {
    Case { what, one, other, there: check, back: check }
}

/// A row that harms nobody in either direction.
fn harmless(what: &'static str, one: Value, other: Value) -> Case {
    Case { what, one, other, there: &[], back: &[] }
}

fn crd(spec: &Value) -> CustomResourceDefinition {
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.shop.example"}, "spec": spec});
    serde_json::from_value(crd).unwrap()
}

/// A CRD with these versions: name, whether it is served, whether objects are stored in it, the schema of the spec.
fn versions(versions: &[(&str, bool, bool, Value)]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|(name, served, storage, spec)| {
            let schema = json!({"type": "object", "properties": {"spec": spec}});
            json!({"name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": schema}})
        })
        .collect();
    json!({
        "group": "shop.example", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
        "versions": versions,
    })
}

/// A CRD with one version whose spec has this schema.
fn spec(spec: Value) -> Value {
    versions(&[("v1", true, true, spec)])
}

/// A CRD with one version whose spec has a field `a` with this schema.
#[expect(clippy::needless_pass_by_value, reason = "the rows of the tables are written in place")]
fn field(schema: Value) -> Value {
    spec(json!({"type": "object", "properties": {"a": schema}}))
}

/// Every check is looked at.
fn all() -> Severities {
    Severities(BTreeMap::from([("description".to_owned(), Severity::Warn)]))
}

fn between(one: &Value, other: &Value) -> Vec<Difference> {
    compare(&crd(one), &crd(other), &all())
}

/// Runs the table, and returns what is told to people.
fn run(cases: Vec<Case>) -> String {
    let mut text = String::new();
    for Case { what, one, other, there, back } in cases {
        for (arrow, old, new, expected) in [("", &one, &other, there), (", back", &other, &one, back)] {
            let found = between(old, new);
            let checks: Vec<&str> = found.iter().map(|difference| difference.check).collect();
            assert_eq!(checks, expected, "{what}{arrow}: {found:#?}");
            for difference in found {
                let _ = writeln!(text, "{what}{arrow}\n    {}: {difference}", difference.check);
            }
        }
    }
    text
}

fn cases() -> Vec<Case> {
    [schemas::cases(), definitions::cases(), conversions::cases()].into_iter().flatten().collect()
}

#[test]
fn every_check_has_a_row_that_is_refused_and_one_that_is_not() {
    let cases = cases();
    let told: BTreeSet<&str> = cases.iter().flat_map(|case| case.there).copied().collect();
    // Objects are not in a CRD: they are looked at in the cluster.
    let in_cluster = ["liveObjects", "conversionUnreachable"];
    let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).filter(|name| !in_cluster.contains(name)).collect();
    assert_eq!(told, names);
    let allowed: BTreeSet<&str> =
        cases.iter().flat_map(|case| case.there.iter().filter(|check| !case.back.contains(check))).copied().collect();
    // These are told in whichever direction it goes.
    let both = ["default", "description", "embeddedResource", "identity", "listType", "mapType", "names", "scope"];
    let never: Vec<&&str> = names.difference(&allowed).filter(|name| !both.contains(name)).collect();
    assert_eq!(never, Vec::<&&str>::new(), "checks without a row that is harmless on the way back");
}

#[test]
fn what_does_not_change_is_no_difference() {
    for case in cases() {
        assert_eq!(between(&case.one, &case.one), [], "{}", case.what);
        assert_eq!(between(&case.other, &case.other), [], "{}", case.what);
    }
}

#[test]
fn a_policy_sets_how_strictly_a_check_is_taken() {
    let (old, new) = (crd(&field(json!({"type": "string"}))), crd(&field(json!({"type": "integer"}))));
    let taken = |severity: Option<Severity>| {
        let by_name = severity.map(|severity| ("type".to_owned(), severity)).into_iter().collect();
        let found = compare(&old, &new, &Severities::read(&by_name).unwrap());
        found.into_iter().map(|difference| difference.severity).collect::<Vec<_>>()
    };
    assert_eq!(taken(None), [Severity::Error]);
    assert_eq!(taken(Some(Severity::Warn)), [Severity::Warn]);
    assert_eq!(taken(Some(Severity::Off)), []);
}

#[test]
fn messages_are_one_short_line() {
    let long = "x".repeat(10_000);
    let values: Vec<String> = (0..1000).map(|number| format!("value {number}\n{long}")).collect();
    let one = field(json!({"type": "string", "enum": values, "pattern": long, "default": long}));
    let other = field(json!({"type": "string", "enum": ["a"], "pattern": "a\n\u{1b}[31mb", "default": "a"}));
    let one = {
        let mut spec = one;
        spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"][&long] = json!({"type": "string"});
        spec
    };
    for difference in [between(&one, &other), between(&other, &one)].concat() {
        let text = difference.to_string();
        assert!(text.chars().count() < 500 && !text.contains(char::is_control), "{text}");
    }
}
