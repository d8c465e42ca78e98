use serde_json::json;

use super::*;

fn object() -> Value {
    json!({
        "metadata": {"name": "nightly", "annotations": {"a.b/c": "yes"}, "creationTimestamp": "2026-07-17T10:00:00Z"},
        "spec": {"replicas": 3, "ratio": 0.5, "big": u64::MAX, "suspend": false},
        "status": {
            "phase": "Completed",
            "errors": 0,
            "nothing": null,
            "stoppedAt": "2026-07-17T12:00:00.25+02:00",
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "LastBackupSucceeded", "status": "False", "reason": "NoSpace"},
            ],
        },
    })
}

fn holds(text: &str) -> Result<bool, CelError> {
    let (object, now) = (object(), json!("2026-07-17T13:00:00Z"));
    Expression::compile(text)?.holds(&[("object", &object), ("now", &now)])
}

fn time(text: &str) -> Result<Timestamp, CelError> {
    Expression::compile(text)?.time(&[("object", &object())])
}

#[test]
fn expressions_are_true_or_false() {
    for (text, expected) in [
        ("object.status.phase == 'Completed'", true),
        ("object.status.phase != 'Completed'", false),
        ("object.status.errors == 0", true),
        ("object.spec.replicas >= 3 && object.spec.replicas < 4.5", true),
        ("object.spec.ratio == 0.5", true),
        ("object.spec.big > 1", true),
        ("!object.spec.suspend", true),
        ("object.metadata.annotations['a.b/c'] == 'yes'", true),
        ("object.status.conditions[0].type == 'Ready'", true),
        ("object.status.conditions.exists(c, c.type == 'LastBackupSucceeded' && c.status == 'True')", false),
        ("object.status.conditions.all(c, c.status in ['True', 'False'])", true),
        ("object.status.conditions.filter(c, c.status == 'True').size() == 1", true),
        ("has(object.status.error)", false),
        ("!has(object.status.error) || object.status.error == ''", true),
        // What is missing on one side does not matter when the other side decides.
        ("object.status.error == '' || object.status.phase == 'Completed'", true),
        ("object.status.error == '' && object.status.phase == 'Failed'", false),
        ("object.status.nothing == null", true),
        ("object.metadata.name.matches('^night')", true),
        ("timestamp(object.status.stoppedAt) < timestamp('2026-07-17T11:00:00Z')", true),
        ("now - timestamp(object.metadata.creationTimestamp) == duration('3h')", true),
        ("timestamp(now) > timestamp(object.metadata.creationTimestamp) + duration('2h59m')", true),
        ("type(object.status.errors) == int", true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_missing_is_neither_true_nor_false() {
    for (text, message) in [
        ("object.status.error == ''", "object.status.error: no such key"),
        ("object.status.error != 'x'", "object.status.error: no such key"),
        ("!object.status.done", "object.status.done: no such key"),
        ("object.stauts.phase == 'Completed'", "object.stauts: no such key"),
        ("object.stauts.phase.more == 'Completed'", "object.stauts: no such key"),
        ("object.status.phase == 'Completed' && object.status.done", "object.status.done: no such key"),
        ("object.metadata.labels['a'] == 'b'", "object.metadata.labels: no such key"),
        ("object.metadata.annotations['x.y/z'] == 'b'", "object.metadata.annotations[\"x.y/z\"]: no such key"),
        ("object.status.conditions[7].type == 'Ready'", "object.status.conditions[7]: no such key"),
        ("object.status.conditions.all(c, c.reason == 'NoSpace')", "c.reason: no such key"),
        (
            "object.status.phase.name == 'x'",
            "object.status.phase.name: no such key, because object.status.phase is text",
        ),
        (
            "object.status.nothing.name == 'x'",
            "object.status.nothing.name: no such key, because object.status.nothing is null",
        ),
        (
            "object.status.conditions.type == 'x'",
            "object.status.conditions.type: no such key, because object.status.conditions is a list",
        ),
        ("timestamp(object.status.completed) < now", "object.status.completed: no such key"),
        ("size(object.status.items) == 0", "object.status.items: no such key"),
    ] {
        let error = holds(text).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn what_is_no_answer_is_told() {
    for (text, message) in [
        ("object.status.phase", "'object.status.phase' is the text 'Completed', but must be true or false"),
        ("object.status.errors", "'object.status.errors' is 0, but must be true or false"),
        ("object.status.nothing", "'object.status.nothing' is null, but must be true or false"),
        ("object.status", "'object.status' is a map, but must be true or false"),
        ("now", "'now' is a timestamp, but must be true or false"),
        ("object.status.phase > 3", "'object.status.phase > 3' cannot be evaluated: "),
        ("timestamp(object.status.phase) < now", "'timestamp(object.status.phase) < now' cannot be evaluated: "),
        ("body.status == 'ok'", "'body.status == 'ok'' cannot be evaluated: "),
        ("fresh(object)", "'fresh(object)' cannot be evaluated: "),
        ("1 / 0 == 1", "'1 / 0 == 1' cannot be evaluated: "),
        ("object.status.", "'object.status.' is no CEL expression: "),
    ] {
        let error = holds(text).unwrap_err().to_string();
        assert!(error.starts_with(message) && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn zones_are_utc_and_offsets() {
    for (zone, hour) in [("UTC", 12), ("+02:00", 14), ("-05:30", 6)] {
        let text = format!("timestamp('2026-07-17T12:00:00Z').getHours('{zone}') == {hour}");
        assert!(holds(&text).unwrap(), "{text}");
    }
    let error = holds("now.getHours('Europe/Berlin') == 1").unwrap_err().to_string();
    assert!(error.ends_with("unknown time zone Europe/Berlin"), "{error}");
}

#[test]
fn times_are_timestamps_or_text() {
    for text in [
        "object.status.stoppedAt",
        "timestamp(object.status.stoppedAt)",
        "timestamp(object.metadata.creationTimestamp) + duration('250ms')",
        "has(object.status.done) ? object.status.done : object.status.stoppedAt",
    ] {
        assert_eq!(time(text), Ok("2026-07-17T10:00:00.25Z".parse().unwrap()), "{text}");
    }
    for (text, message) in [
        ("object.status.completed", "object.status.completed: no such key"),
        (
            "object.status.phase",
            "'object.status.phase' is the text 'Completed', but must be a time such as 2026-07-17T12:00:00Z",
        ),
        ("object.status.errors", "'object.status.errors' is 0, but must be a time such as 2026-07-17T12:00:00Z"),
    ] {
        assert_eq!(time(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn answers_are_judged_by_body_and_status() {
    let (body, status) = (json!({"status": "ok", "checks": [{"name": "db", "up": true}]}), json!(200));
    let holds = |text: &str| Expression::compile(text).unwrap().holds(&[("body", &body), ("status", &status)]);
    assert_eq!(holds("status == 200 && body.status == 'ok' && body.checks.all(c, c.up)"), Ok(true));
    assert_eq!(holds("body.version == '2.3.0'").unwrap_err().to_string(), "body.version: no such key");
}

#[test]
fn a_large_object_does_not_take_for_ever() {
    let large = json!({"items": vec![1; 4000]});
    let evaluate = |text: &str| Expression::compile(text).unwrap().holds(&[("object", &large)]);
    assert_eq!(evaluate("object.items.all(a, a == 1)"), Ok(true));
    let error = evaluate("object.items.all(a, object.items.all(b, a == b))").unwrap_err();
    assert!(matches!(error, CelError::TooMuch { longest: 4000, .. }), "{error}");
}

/// Whatever an expression does with numbers, times and texts, it ends with an answer or an error.
#[test]
fn nothing_makes_an_evaluation_fail() {
    for text in [
        "9223372036854775807 + 1 == 0",
        "-9223372036854775808 / -1 == 0",
        "-9223372036854775808 % -1 == 0",
        "-(-9223372036854775808) == 0",
        "9223372036854775807 * 2 == 0",
        "18446744073709551615u + 1u == 0u",
        "int(1e300) == 0",
        "uint(-1) == 0u",
        "int('x') == 0",
        "5 % 0 == 0",
        "timestamp('9999-12-31T23:59:59Z') + duration('9999999h') > now",
        "timestamp('0001-01-01T00:00:00Z') - duration('9999999h') < now",
        "timestamp('99999-12-31T23:59:59Z') > now",
        "timestamp('2026-13-41T00:00:00Z') > now",
        "timestamp('') > now",
        "timestamp(9223372036854775807) > now",
        "duration('99999999999999999999h') > duration('1s')",
        "duration('9223372036s') + duration('9223372036s') > duration('1s')",
        "duration('') > duration('1s')",
        "duration('-1h') < duration('h')",
        "now.getHours('Nowhere/At all') == 1",
        "object.metadata.name.matches('(') ",
        "object.metadata.name.matches('(a*)*b{1000}{1000}')",
        "object.status.conditions[-1].type == ''",
        "object.status.conditions[1.5].type == ''",
        "object.status.conditions['x'].type == ''",
        "object[0] == 1",
        "object[null] == 1",
        "{1: 2, 1: 3} == {}",
        "[1, 2].map(x, x / 0) == []",
        "size(object.spec.replicas) == 1",
        "string(b'\\xff') == ''",
        "'\\ud800' == ''",
        "max() == 1",
        "object.all(k, k != '')",
        "object.exists_one(k, k.x)",
        "timestamp(object) == now",
        "now == now - now",
        "dyn(1) == 1.0",
        "1 in object.spec.replicas",
        "object.spec.big + 1u == 0u",
        "object.spec.big == -1",
        "has(object.status.conditions[9].x)",
        "google.protobuf.Timestamp{seconds: 1} == now",
        "true ? 1 : 2",
        "optional.of(1).value() == 1",
    ] {
        let _ = holds(text);
        let _ = time(text);
    }
}

proptest::proptest! {
    #[test]
    fn no_expression_makes_an_evaluation_fail(parts in proptest::collection::vec(proptest::sample::select(vec![
        "object", ".status", ".conditions", ".phase", "[0]", "[9]", ".exists(c, ", "c.type", ")", " == ", " && ", " || ",
        "!", "'x'", "1", "-1", "now", "timestamp(", "duration('1h')", " + ", " - ", " < ", "has(", ".size()", " in ",
        "object.metadata", ".name", ".matches('a')", " ? ", " : ", "[", "]", "null", "true", ".map(x, ", "x",
    ]), 1..12)) {
        let text = parts.concat();
        let _ = holds(&text);
        let _ = time(&text);
    }
}
