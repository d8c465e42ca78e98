//! What the agreement with a real API server (`tests/crds/agreement.rs`) does not show: paths, messages, and what is
//! told as not checked.

use serde_json::json;

use super::*;

fn validator(spec: &Value) -> Validator {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    Validator::new(&serde_json::from_value(schema).unwrap()).unwrap()
}

fn object(spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": spec})
}

fn judge(schema: &Value, spec: &Value) -> Verdict {
    validator(schema).judge(&mut object(spec))
}

#[test]
fn a_violation_names_the_field_and_hides_the_value() {
    let schema = json!({
        "type": "object",
        "required": ["mode"],
        "properties": {
            "mode": {"type": "string"},
            "servers": {"type": "array", "items": {"type": "object", "properties": {
                "port": {"type": "integer", "maximum": 65535},
                "name": {"type": "string", "pattern": "^[a-z]+$"},
            }}},
            "keys": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "token": {"type": "string", "enum": ["a", "b"]},
        },
    });
    let spec = json!({
        "servers": [{"port": 1}, {"port": 70000, "name": "S3cret"}], "keys": ["S3cret", "S3cret"], "token": "S3cret",
    });
    let verdict = judge(&schema, &spec);
    let told: Vec<String> =
        verdict.violations.iter().map(|found| format!("{}: {}", found.path, found.message)).collect();
    let told = told.join("\n");
    assert!(!told.contains("S3cret"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn unknown_fields_are_named_and_are_no_violation() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}});
    let mut object = object(&json!({"a": [{"x": 1}], "b": {"c": 1}}));
    object["status"] = json!({"ready": true});
    object["metadata"]["labels"] = json!({"kept": "yes"});
    let verdict = validator(&schema).judge(&mut object);
    assert_eq!(verdict.pruned, ["spec.a[0].x", "spec.b", "status"]);
    assert_eq!(verdict.violations, []);
    assert_eq!(object["spec"], json!({"a": [{}]}));
    assert_eq!(object["metadata"]["labels"], json!({"kept": "yes"}));
}

#[test]
fn what_cannot_be_evaluated_is_told_and_is_no_verdict() {
    let rules = json!([
        {"rule": "self.a == oldSelf.a"},
        {"rule": "isURL(self.a)"},
        {"rule": "self.a.("},
        {"rule": "quantity(self.a).isLessThan(quantity('5Gi'))"},
        {"rule": "self.a != 'no'", "message": "must not be no"},
    ]);
    let schema = json!({
        "type": "object",
        "properties": {"a": {"type": "string"}, "mail": {"type": "string", "format": "email", "pattern": "^(?!x)"}},
        "x-kubernetes-validations": rules,
    });
    let validator = validator(&schema);
    let verdict = validator.judge(&mut object(&json!({"a": "no", "mail": "x"})));
    assert_eq!(verdict.violations, [Violation { path: "spec".to_owned(), message: "must not be no".to_owned() }]);
    let told: Vec<&str> = validator.unchecked().union(&verdict.unchecked).map(String::as_str).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn every_format_has_a_text_that_fits_and_one_that_does_not() {
    for (format, fits) in [
        ("date-time", "2026-01-02T03:04:05Z"),
        ("date", "2026-01-02"),
        ("duration", "5m"),
        ("byte", "YQ=="),
        ("uuid", "7d444840-9dc0-11d1-b245-5ffdce74fad2"),
        ("uuid3", "7d444840-9dc0-31d1-b245-5ffdce74fad2"),
        ("uuid4", "7d444840-9dc0-41d1-b245-5ffdce74fad2"),
        ("uuid5", "7d444840-9dc0-51d1-b245-5ffdce74fad2"),
        ("ipv4", "127.0.0.1"),
        ("ipv6", "::1"),
        ("cidr", "10.0.0.0/8"),
        ("mac", "00:00:5e:00:53:01"),
        ("hexcolor", "#fff"),
        ("ssn", "111-22-3333"),
        ("bsonobjectid", "507f1f77bcf86cd799439011"),
        ("k8s-short-name", "a-b"),
        ("k8s-long-name", "a.b"),
    ] {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string", "format": format}}});
        assert_eq!(judge(&schema, &json!({"a": fits})), Verdict::default(), "{format}");
        assert_eq!(judge(&schema, &json!({"a": "?/"})).violations.len(), 1, "{format}");
    }
}
