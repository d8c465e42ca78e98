//! A structural schema as a JSON schema.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value, json};

use super::{append, formats, patterns};

/// `schema` in the words of JSON Schema draft 7: what both know, they mean the same by.
pub(super) fn translate(schema: &JSONSchemaProps, path: &str, unchecked: &mut BTreeSet<String>) -> Value {
    let mut into = Map::new();
    types(schema, &mut into);
    limits(schema, &mut into);
    pattern(schema, path, &mut into, unchecked);
    format(schema, path, &mut into, unchecked);
    nested(schema, path, &mut into, unchecked);
    combined(schema, path, &mut into, unchecked);
    Value::Object(into)
}

/// Sets `key` where there is something to set.
fn set(into: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        into.insert(key.to_owned(), value.into());
    }
}

fn types(schema: &JSONSchemaProps, into: &mut Map<String, Value>) {
    let mut types: Vec<&str> = match (schema.x_kubernetes_int_or_string, schema.type_.as_deref()) {
        (Some(true), _) => vec!["integer", "string"],
        (_, Some(kind)) if !kind.is_empty() => vec![kind],
        _ => vec![],
    };
    if schema.nullable == Some(true) && !types.is_empty() {
        types.push("null");
    }
    set(into, "type", (!types.is_empty()).then_some(types));
    // The API server takes null for none of the values, even where it is listed.
    let values = schema.enum_.as_ref().filter(|values| !values.is_empty());
    set(
        into,
        "enum",
        values.map(|values| -> Vec<Value> {
            values.iter().map(|value| value.0.clone()).filter(|value| !value.is_null()).collect()
        }),
    );
}

/// A bound as people write it: without a fraction where there is none.
fn number(bound: f64) -> Value {
    let text = bound.to_string();
    text.parse::<i64>().map_or_else(|_| bound.into(), Value::from)
}

fn limits(schema: &JSONSchemaProps, into: &mut Map<String, Value>) {
    let bound = |exclusive: Option<bool>, inclusive_name, exclusive_name| {
        if exclusive == Some(true) { exclusive_name } else { inclusive_name }
    };
    set(into, bound(schema.exclusive_minimum, "minimum", "exclusiveMinimum"), schema.minimum.map(number));
    set(into, bound(schema.exclusive_maximum, "maximum", "exclusiveMaximum"), schema.maximum.map(number));
    set(into, "multipleOf", schema.multiple_of);
    set(into, "minLength", schema.min_length);
    set(into, "maxLength", schema.max_length);
    set(into, "minItems", schema.min_items);
    set(into, "maxItems", schema.max_items);
    set(into, "minProperties", schema.min_properties);
    set(into, "maxProperties", schema.max_properties);
    set(into, "uniqueItems", schema.unique_items);
    set(into, "required", schema.required.clone().filter(|names| !names.is_empty()));
}

fn pattern(schema: &JSONSchemaProps, path: &str, into: &mut Map<String, Value>, unchecked: &mut BTreeSet<String>) {
    let Some(pattern) = schema.pattern.as_deref().filter(|pattern| !pattern.is_empty()) else { return };
    if patterns::read(pattern).is_some() {
        set(into, patterns::KEYWORD, Some(pattern));
    } else {
        unchecked.insert(format!("pattern of {path}: this program cannot read it: {pattern}"));
    }
}

fn format(schema: &JSONSchemaProps, path: &str, into: &mut Map<String, Value>, unchecked: &mut BTreeSet<String>) {
    let Some(format) = schema.format.as_deref() else { return };
    match schema.type_.as_deref() {
        None | Some("" | "string") => match formats::known(format) {
            formats::Known::Checked(name) => set(into, "format", Some(name)),
            formats::Known::Unchecked => {
                unchecked.insert(format!("format {format} of {path}"));
            }
            formats::Known::Ignored => {}
        },
        Some("integer") if format == "int32" => {
            let range = json!({"minimum": i32::MIN, "maximum": i32::MAX});
            into.insert("allOf".to_owned(), json!([range]));
        }
        Some("number") if format == "float" => {
            let range = json!({"minimum": f32::MIN, "maximum": f32::MAX});
            into.insert("allOf".to_owned(), json!([range]));
        }
        _ => {}
    }
}

fn nested(schema: &JSONSchemaProps, path: &str, into: &mut Map<String, Value>, unchecked: &mut BTreeSet<String>) {
    let mut child = |schema: &JSONSchemaProps, name: &str| {
        let mut path = path.to_owned();
        append(&mut path, name);
        translate(schema, &path, unchecked)
    };
    if let Some(properties) = &schema.properties {
        let properties = properties.iter().map(|(name, schema)| (name.clone(), child(schema, name)));
        let properties: Map<String, Value> = properties.collect();
        into.insert("properties".to_owned(), properties.into());
    }
    if let Some(JSONSchemaPropsOrBool::Schema(schema)) = &schema.additional_properties {
        into.insert("additionalProperties".to_owned(), child(schema, "*"));
    }
    if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
        into.insert("items".to_owned(), child(schema, "*"));
    }
}

fn combined(schema: &JSONSchemaProps, path: &str, into: &mut Map<String, Value>, unchecked: &mut BTreeSet<String>) {
    let mut combinations = Map::new();
    for (key, schemas) in [("allOf", &schema.all_of), ("anyOf", &schema.any_of), ("oneOf", &schema.one_of)] {
        let translated = schemas.iter().flatten().map(|schema| translate(schema, path, unchecked));
        let translated: Vec<Value> = translated.collect();
        if !translated.is_empty() {
            combinations.insert(key.to_owned(), translated.into());
        }
    }
    if let Some(schema) = &schema.not {
        combinations.insert("not".to_owned(), translate(schema, path, unchecked));
    }
    if combinations.is_empty() {
        return;
    }
    let combinations = if schema.nullable == Some(true) {
        // Of null only the type is asked.
        json!({"anyOf": [{"type": "null"}, combinations]})
    } else {
        combinations.into()
    };
    let all = into.entry("allOf").or_insert_with(|| json!([]));
    if let Some(all) = all.as_array_mut() {
        all.push(combinations);
    }
}
