//! Our judgement of objects against the API server's: the same schemas, the same objects, the same answers, and the
//! same object afterwards.

use std::collections::BTreeSet;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::PostParams;
use serde_json::{Value, json};
use upgrade_guard::crds::validation::Validator;

use crate::scene::{self, Group};

/// Each field of `spec` with its schema and the values that are tried.
fn fields() -> Vec<(&'static str, Value, Vec<Value>)> {
    let mut fields = plain();
    fields.extend(formats());
    fields.extend(nested());
    fields.extend(lists());
    fields.extend(rules());
    fields
}

fn plain() -> Vec<(&'static str, Value, Vec<Value>)> {
    let anything =
        || vec![json!(1), json!(1.0), json!(1.5), json!("1"), json!(true), json!(null), json!([]), json!({})];
    let of = |kind: &str| json!({"type": kind});
    vec![
        ("integer", of("integer"), [anything(), vec![json!(-1), json!(9_223_372_036_854_775_807_i64)]].concat()),
        ("number", of("number"), anything()),
        ("string", of("string"), anything()),
        ("boolean", of("boolean"), anything()),
        ("array", json!({"type": "array", "items": {"type": "string"}}), anything()),
        ("object", of("object"), anything()),
        ("nullable", json!({"type": "string", "nullable": true}), anything()),
        ("nullableEnum", json!({"type": "string", "nullable": true, "enum": ["a"]}), vec![json!(null), json!("a")]),
        ("nullEnum", json!({"type": "string", "nullable": true, "enum": ["a", null]}), vec![json!(null), json!("b")]),
        (
            "nullableNot",
            json!({"type": "string", "nullable": true, "not": {"enum": ["a"]}}),
            vec![json!(null), json!("a"), json!("b")],
        ),
        ("int32", json!({"type": "integer", "format": "int32"}), vec![json!(2_147_483_647), json!(2_147_483_648_i64)]),
        ("int64", json!({"type": "integer", "format": "int64"}), vec![json!(2_147_483_648_i64), json!(1.5)]),
        ("float", json!({"type": "number", "format": "float"}), vec![json!(1.5), json!(1e300)]),
        ("minimum", json!({"type": "integer", "minimum": 2}), vec![json!(1), json!(2), json!(3)]),
        (
            "between",
            json!({"type": "number", "minimum": 2, "exclusiveMinimum": true, "maximum": 4, "exclusiveMaximum": true}),
            vec![json!(2), json!(2.5), json!(4)],
        ),
        ("multiple", json!({"type": "number", "multipleOf": 2}), vec![json!(4), json!(3), json!(2.5)]),
        (
            "length",
            json!({"type": "string", "minLength": 1, "maxLength": 2}),
            vec![json!(""), json!("éé"), json!("abc")],
        ),
        ("pattern", json!({"type": "string", "pattern": "^a+$"}), vec![json!("aa"), json!("ab"), json!("aa\n")]),
        ("part", json!({"type": "string", "pattern": "b"}), vec![json!("abc"), json!("ac")]),
        (
            "class",
            json!({"type": "string", "pattern": "^[[:alpha:]]\\d$"}),
            vec![json!("a1"), json!("11"), json!("a١")],
        ),
        ("enum", json!({"type": "string", "enum": ["a", "b"]}), vec![json!("a"), json!("c"), json!(null)]),
        ("intEnum", json!({"type": "integer", "enum": [1, 2]}), vec![json!(1), json!(1.0), json!(3)]),
        ("intOrString", json!({"x-kubernetes-int-or-string": true}), anything()),
        (
            "intOrPattern",
            json!({
                "x-kubernetes-int-or-string": true, "pattern": "^[0-9]+%$",
                "anyOf": [{"type": "integer"}, {"type": "string"}],
            }),
            vec![json!(5), json!("5%"), json!("5")],
        ),
        ("anything", json!({"x-kubernetes-preserve-unknown-fields": true}), anything()),
    ]
}

fn formats() -> Vec<(&'static str, Value, Vec<Value>)> {
    let of = |format: &str, values: &[&str]| {
        let mut values: Vec<Value> = values.iter().map(|value| json!(value)).collect();
        values.push(json!(""));
        values.push(json!("nonsense"));
        (json!({"type": "string", "format": format}), values)
    };
    let rows = [
        (
            "dateTime",
            of(
                "date-time",
                &[
                    "2026-01-02T03:04:05Z",
                    "2026-01-02T03:04:05.123+02:00",
                    "2026-13-02T03:04:05Z",
                    "2026-01-02 03:04:05Z",
                    "2026-01-02T24:04:05Z",
                    "2026-01-02",
                    "2026-01-02t03:04:05z",
                ],
            ),
        ),
        ("date", of("date", &["2026-01-02", "2026-1-2", "2026-02-30", "+002026-01-02", "20260102"])),
        ("duration", of("duration", &["1h2m", "-1.5s", "3 days", "5", "1w", "0", "h"])),
        ("byte", of("byte", &["YQ==", "YQ", "YWJj", "a*bc"])),
        ("uuid", of("uuid", &["7d444840-9dc0-11d1-b245-5ffdce74fad2", "7D4448409DC011D1B2455FFDCE74FAD2", "7d44484"])),
        ("uuid4", of("uuid4", &["7d444840-9dc0-41d1-b245-5ffdce74fad2", "7d444840-9dc0-11d1-b245-5ffdce74fad2"])),
        ("ipv4", of("ipv4", &["127.0.0.1", "::1", "256.0.0.1"])),
        ("ipv6", of("ipv6", &["127.0.0.1", "::1", "fe80::1%eth0"])),
        ("cidr", of("cidr", &["10.0.0.0/8", "10.0.0.0/33", "::/0", "10.0.0.0"])),
        (
            "mac",
            of(
                "mac",
                &["00:00:5e:00:53:01", "0000.5e00.5301", "00-00-5e-00-53-01", "00:00:5e:00:53", "00:00-5e:00:53:01"],
            ),
        ),
        ("hexColor", of("hexcolor", &["#fff", "#ffff", "aabbcc"])),
        ("ssn", of("ssn", &["111-22-3333", "111-22-333"])),
        ("password", of("password", &["x"])),
        ("shortName", of("k8s-short-name", &["a-b", "A", "-a", "a.b"])),
        ("longName", of("k8s-long-name", &["a-b.c", "A", "a..b"])),
        ("unknownFormat", of("colour-of-the-day", &["x"])),
    ];
    rows.into_iter().map(|(name, (schema, values))| (name, schema, values)).collect()
}

fn nested() -> Vec<(&'static str, Value, Vec<Value>)> {
    let text = || json!({"type": "string"});
    vec![
        (
            "required",
            json!({
                "type": "object", "required": ["a", "b"],
                "properties": {"a": text(), "b": {"type": "integer", "default": 5}, "c": {"type": "string", "default": "x"}},
            }),
            vec![
                json!({}),
                json!({"a": "x"}),
                json!({"a": null}),
                json!({"a": "x", "b": null}),
                json!({"a": "x", "z": 1}),
                json!({"a": "x", "c": null}),
                json!({"b": 1}),
                json!({"a": 1}),
            ],
        ),
        (
            "nullableDefault",
            json!({"type": "object", "properties": {"a": {"type": "string", "nullable": true, "default": "x"}}}),
            vec![json!({}), json!({"a": null}), json!({"a": "y"})],
        ),
        (
            "deepDefault",
            json!({
                "type": "object", "default": {},
                "properties": {"a": {"type": "object", "default": {"b": 1}, "properties": {
                    "b": {"type": "integer"}, "c": {"type": "integer", "default": 2},
                }}},
            }),
            vec![json!(null), json!({}), json!({"a": {}}), json!({"a": null})],
        ),
        (
            "map",
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2}),
            vec![json!({}), json!({"a": 1}), json!({"a": "x"}), json!({"a": null}), json!({"a": 1, "b": 2, "c": 3})],
        ),
        (
            "anyMap",
            json!({"type": "object", "additionalProperties": true}),
            vec![json!({"a": 1, "b": {"c": 1}, "d": [{"e": 1}]})],
        ),
        (
            "preserved",
            json!({
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"a": {"type": "object", "properties": {"b": text()}}},
            }),
            vec![json!({"x": {"y": [1]}, "a": {"b": "x", "c": 1}}), json!({"a": 1}), json!({"x": null})],
        ),
        (
            "embedded",
            json!({
                "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
            }),
            vec![
                json!({}),
                json!({"apiVersion": "v1", "kind": "Pod", "spec": {"x": 1}}),
                json!({"apiVersion": "", "kind": "Pod"}),
                json!({"apiVersion": "v1", "kind": 1}),
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}),
            ],
        ),
        (
            "oneOf",
            json!({
                "type": "object", "properties": {"a": text(), "b": text()},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            }),
            vec![json!({}), json!({"a": "x"}), json!({"a": "x", "b": "y"}), json!({"c": 1})],
        ),
        (
            "allOf",
            json!({
                "type": "object", "properties": {"a": text(), "b": {"type": "integer"}},
                "allOf": [{"required": ["a"]}, {"properties": {"b": {"maximum": 5}}}],
                "anyOf": [{"properties": {"a": {"minLength": 2}}}, {"required": ["b"]}],
                "not": {"properties": {"a": {"enum": ["no"]}}, "required": ["a"]},
            }),
            vec![
                json!({}),
                json!({"a": "xx"}),
                json!({"a": "x"}),
                json!({"a": "x", "b": 6}),
                json!({"a": "no"}),
                json!({"a": "x", "b": 5}),
            ],
        ),
    ]
}

fn lists() -> Vec<(&'static str, Value, Vec<Value>)> {
    let text = || json!({"type": "string"});
    vec![
        (
            "list",
            json!({
                "type": "array", "minItems": 1, "maxItems": 2,
                "items": {"type": "object", "required": ["a"], "properties": {"a": text(), "b": {"type": "string", "default": "x"}}},
            }),
            vec![
                json!([]),
                json!([{"a": "x", "z": 1}]),
                json!([{}]),
                json!([null]),
                json!([{"a": "x"}, {"a": "y"}, {"a": "z"}]),
            ],
        ),
        (
            "set",
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": text()}),
            vec![json!(["a", "b"]), json!(["a", "a"]), json!([])],
        ),
        (
            "keyed",
            json!({
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "protocol"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": text(), "protocol": {"type": "string", "default": "TCP"}, "port": {"type": "integer"},
                }},
            }),
            vec![
                json!([{"name": "a"}, {"name": "b"}]),
                json!([{"name": "a"}, {"name": "a", "protocol": "UDP"}]),
                json!([{"name": "a"}, {"name": "a", "protocol": "TCP"}]),
                json!([{"port": 1}]),
            ],
        ),
    ]
}

fn rules() -> Vec<(&'static str, Value, Vec<Value>)> {
    let rule = |text: &str| json!([{"rule": text, "message": "no"}]);
    let sized = || json!({"type": "string", "maxLength": 20});
    let object = |properties: Value, text: &str| json!({"type": "object", "properties": properties, "x-kubernetes-validations": rule(text)});
    let number = || json!({"type": "integer"});
    vec![
        (
            "celRange",
            object(json!({"min": number(), "max": number()}), "!has(self.min) || self.min <= self.max"),
            vec![json!({}), json!({"min": 1, "max": 2}), json!({"min": 3, "max": 2}), json!({"min": 3})],
        ),
        (
            "celDouble",
            object(json!({"share": {"type": "number"}}), "self.share * 2.0 <= 1.0"),
            vec![json!({"share": 0}), json!({"share": 0.5}), json!({"share": 1}), json!({})],
        ),
        (
            "celNames",
            object(
                json!({"a-b": number(), "c.d": number(), "namespace": sized(), "e__f": number()}),
                "self.a__dash__b == self.c__dot__d && self.__namespace__ == 'x' && self.e__underscores__f > 0",
            ),
            vec![
                json!({"a-b": 1, "c.d": 1, "namespace": "x", "e__f": 1}),
                json!({"a-b": 1, "c.d": 2, "namespace": "x", "e__f": 1}),
            ],
        ),
        (
            "celList",
            json!({
                "type": "array", "maxItems": 5, "items": {"type": "object", "properties": {"name": sized(), "weight": number()}},
                "x-kubernetes-validations": rule("self.all(x, has(x.name)) && self.exists_one(x, x.name == 'main')"),
            }),
            vec![
                json!([{"name": "main"}]),
                json!([{"name": "main"}, {"name": "main"}]),
                json!([{"weight": 1}]),
                json!([]),
            ],
        ),
        (
            "celMap",
            json!({
                "type": "object", "maxProperties": 5, "additionalProperties": number(),
                "x-kubernetes-validations": rule("self.all(k, k.startsWith('a-') && self[k] > 0)"),
            }),
            vec![json!({"a-b": 1}), json!({"b": 1}), json!({"a-b": 0}), json!({})],
        ),
        (
            "celText",
            json!({"type": "string", "maxLength": 20,
                "x-kubernetes-validations": rule("self.matches('^[a-z]+$') && self.lowerAscii() == self && size(self) > 2")}),
            vec![json!("abc"), json!("ab"), json!("ABC"), json!(null)],
        ),
        (
            "celTime",
            object(
                json!({"at": {"type": "string", "format": "date-time"}, "every": {"type": "string", "format": "duration"}}),
                "self.at > timestamp('2026-01-01T00:00:00Z') && self.every < duration('1h')",
            ),
            vec![
                json!({"at": "2026-02-01T00:00:00Z", "every": "5m"}),
                json!({"at": "2025-02-01T00:00:00Z", "every": "5m"}),
                json!({"at": "2026-02-01T00:00:00Z", "every": "90m"}),
            ],
        ),
        (
            "celOptional",
            object(json!({"mode": sized(), "size": number()}), "self.?mode.orValue('none') in ['none', 'all']"),
            vec![json!({}), json!({"mode": "all"}), json!({"mode": "some"})],
        ),
        (
            "celError",
            object(json!({"a": number(), "b": number()}), "self.a / self.b > 1"),
            vec![json!({"a": 4, "b": 2}), json!({"a": 4, "b": 0}), json!({"a": 4})],
        ),
        (
            "celIntOrString",
            object(
                json!({"port": {"x-kubernetes-int-or-string": true}}),
                "type(self.port) == int ? int(self.port) < 100 : string(self.port) == 'http'",
            ),
            vec![json!({"port": 5}), json!({"port": 500}), json!({"port": "http"}), json!({"port": "x"})],
        ),
    ]
}

/// Numbers without a fraction where there is none.
fn as_go_writes(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() && number.as_f64().is_some_and(|number| number.fract() == 0.0) => {
            let text = number.as_f64().map(|number| number.to_string());
            text.and_then(|text| text.parse::<i64>().ok()).map_or_else(|| value.clone(), Value::from)
        }
        Value::Array(items) => items.iter().map(as_go_writes).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), as_go_writes(value))).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn objects_are_judged_and_kept_as_the_api_server_does() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "agreement").await?;
    let fields = fields();
    let properties = fields.iter().map(|(name, schema, _)| ((*name).to_owned(), schema.clone()));
    let spec = json!({"type": "object", "properties": Value::Object(properties.collect())});
    let wanted = group.crd("Case", &[("v1", spec)]);
    let schema = wanted.definition.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
    let validator = Validator::new(&schema).unwrap();
    assert_eq!(validator.unchecked(), &BTreeSet::new());
    group.install(&wanted, "someone").await?;

    let cases = fields.iter().flat_map(|(name, _, values)| values.iter().map(move |value| (*name, value)));
    let api = &group.objects("Case", "v1");
    let (group, validator) = (&group, &validator);
    let judged = futures::stream::iter(cases).map(|(name, value)| async move {
        let object = group.object("Case", "v1", "one", &json!({name: value}));
        let theirs = api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await;
        let mut ours = serde_json::to_value(&object)?;
        let verdict = validator.judge(&mut ours);
        anyhow::Ok((name, value, theirs, ours, verdict))
    });
    let judged: Vec<_> = judged.buffered(16).try_collect().await?;
    let (mut wrong, mut taken) = (Vec::new(), 0);
    for (name, value, theirs, ours, verdict) in &judged {
        if !verdict.unchecked.is_empty() {
            wrong.push(format!("{name} {value}: not checked: {:?}", verdict.unchecked));
        }
        let ours = &as_go_writes(&ours["spec"]);
        match theirs {
            Ok(kept) => {
                taken += 1;
                let kept = kept.data.get("spec").cloned().unwrap_or(Value::Null);
                if !verdict.violations.is_empty() {
                    wrong.push(format!("{name} {value}: the API server takes it, we do not: {:?}", verdict.violations));
                } else if kept != *ours {
                    wrong.push(format!("{name} {value}: the API server keeps {kept}, we {ours}"));
                }
            }
            Err(error) if verdict.violations.is_empty() => {
                wrong.push(format!("{name} {value}: we take it, the API server does not: {error}"));
            }
            Err(_) => {}
        }
    }
    println!("{} objects, of which the API server takes {taken}", judged.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(taken > 100 && judged.len() - taken > 100, "{taken} of {}", judged.len());
    Ok(())
}
