//! `upgrade-guard crds reference`: every field of the guard's own custom resources, from their schemas.

use std::fmt::Write as _;
use std::io::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::api;
use crate::cli::{Outcome, Output};

/// Print the reference of every field of `UpgradePolicy`, `PlatformRelease` and Platform as a Markdown page.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print it as a Markdown page, which is what it is without this, too.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(_: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    out.write_all(markdown().as_bytes())?;
    Ok(Outcome::Done)
}

/// What only the guard writes is told in short: fields of this many levels.
const LEVELS_OF_STATUS: usize = 1;

/// The page `docs/policy.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "<!-- Written by `upgrade-guard crds reference --markdown`; a test compares. -->\n# Every field\n\n\
         The custom resources of `guard.gostoa.dev/v1alpha1`, from their schemas. **Bold** fields are required. A text, list \
         or\nmap has the limits in brackets. What the schema cannot say, the guard's webhook and `upgrade-guard check` say, \
         with the\npath of the field. [manifests/policies/stoa.yaml](../manifests/policies/stoa.yaml) is a whole policy with \
         comments.\n\n| kind | scope | short name | what it is |\n|---|---|---|---|\n",
    );
    let definitions = api::definitions();
    for crd in &definitions {
        let names = &crd.spec.names;
        let _ = writeln!(
            text,
            "| [{0}](#{1}) | {2} | `{3}` | {4} |",
            names.kind,
            names.kind.to_lowercase(),
            if crd.spec.scope == "Cluster" { "cluster" } else { "namespace" },
            names.short_names.iter().flatten().cloned().collect::<Vec<_>>().join("`, `"),
            schema(crd).and_then(|schema| schema.description.as_deref()).map(in_cell).unwrap_or_default()
        );
    }
    for crd in &definitions {
        let _ = write!(text, "\n## {}\n", crd.spec.names.kind);
        for (part, levels) in [("spec", usize::MAX), ("status", LEVELS_OF_STATUS)] {
            let properties = schema(crd).and_then(|schema| schema.properties.as_ref());
            if let Some(schema) = properties.and_then(|properties| properties.get(part)) {
                section(&mut text, &format!("{}.{part}", crd.spec.names.kind), schema, levels);
            }
        }
    }
    text
}

fn schema(crd: &CustomResourceDefinition) -> Option<&JSONSchemaProps> {
    crd.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// The fields of one object, then those of the objects in it.
fn section(text: &mut String, path: &str, schema: &JSONSchemaProps, levels: usize) {
    let Some(properties) = schema.properties.as_ref().filter(|_| levels > 0) else { return };
    let _ = write!(text, "\n### {path}\n\n");
    if let Some(description) = &schema.description {
        let _ = write!(text, "{description}\n\n");
    }
    text.push_str("| field | type | default | what it is |\n|---|---|---|---|\n");
    let is_required = |name: &String| schema.required.iter().flatten().any(|required| required == name);
    let (required, optional): (Vec<_>, Vec<_>) = properties.iter().partition(|(name, _)| is_required(name));
    let mut inner = Vec::new();
    for (name, field) in required.into_iter().chain(optional) {
        let shown = if is_required(name) { format!("**`{name}`**") } else { format!("`{name}`") };
        let below = object_in(&format!("{path}.{name}"), field);
        let kind = match below.as_ref().filter(|_| levels > 1) {
            Some((path, _)) => format!("[{}](#{})", kind_of(field), anchor(path)),
            None => kind_of(field),
        };
        let default = field.default.as_ref().map(|default| format!("`{}`", default.0)).unwrap_or_default();
        let _ = writeln!(text, "| {shown} | {kind} | {default} | {} |", said(field));
        inner.extend(below);
    }
    let rules: Vec<&str> = rules(schema);
    if !rules.is_empty() {
        text.push('\n');
        for rule in rules {
            let _ = writeln!(text, "- {}.", sentence(rule));
        }
    }
    for (path, schema) in inner {
        section(text, &path, schema, levels - 1);
    }
}

/// The object with fields of its own in a field: itself, what is in its list, or the values of its map.
fn object_in<'a>(path: &str, field: &'a JSONSchemaProps) -> Option<(String, &'a JSONSchemaProps)> {
    if field.properties.is_some() {
        return Some((path.to_owned(), field));
    }
    match (&field.items, &field.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(item)), _) => object_in(&format!("{path}[]"), item),
        (_, Some(JSONSchemaPropsOrBool::Schema(value))) => object_in(&format!("{path}.NAME"), value),
        _ => None,
    }
}

/// The type as people say it, with its limits.
fn kind_of(field: &JSONSchemaProps) -> String {
    if field.x_kubernetes_int_or_string == Some(true) {
        return "number or text".to_owned();
    }
    let plural = |schema: &JSONSchemaProps| match schema.type_.as_deref() {
        Some("string") => "texts".to_owned(),
        Some("object") => "objects".to_owned(),
        Some("integer") => "numbers".to_owned(),
        _ => kind_of(schema),
    };
    let kind = match (field.type_.as_deref(), &field.items, &field.additional_properties) {
        (_, Some(JSONSchemaPropsOrArray::Schema(item)), _) => format!("list of {}", plural(item)),
        (_, _, Some(JSONSchemaPropsOrBool::Schema(value))) => format!("map of {}", plural(value)),
        (Some("string"), ..) if field.format.as_deref() == Some("date-time") => "time".to_owned(),
        (Some("string"), ..) => "text".to_owned(),
        (Some("integer"), ..) => "number".to_owned(),
        (Some("boolean"), ..) => "true or false".to_owned(),
        (Some(other), ..) => other.to_owned(),
        (None, ..) => "anything".to_owned(),
    };
    match limits(field) {
        Some(limits) => format!("{kind} ({limits})"),
        None => kind,
    }
}

/// From where to where a number, or the length of a text, list or map, may go.
fn limits(field: &JSONSchemaProps) -> Option<String> {
    let number = |limit: Option<f64>| limit.map(|limit| format!("{limit}"));
    let length = |limit: Option<i64>| limit.map(|limit| limit.to_string());
    let bounds = [
        (number(field.minimum), number(field.maximum)),
        (length(field.min_length), length(field.max_length)),
        (length(field.min_items), length(field.max_items)),
        (length(field.min_properties), length(field.max_properties)),
    ];
    bounds.into_iter().find_map(|bounds| match bounds {
        (Some(least), Some(most)) => Some(format!("{least}-{most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    })
}

/// Everything that is said of a field beside its type.
fn said(field: &JSONSchemaProps) -> String {
    let mut said = field.description.as_deref().map(in_cell).unwrap_or_default();
    let inner = match (&field.items, &field.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(inner)), _) | (_, Some(JSONSchemaPropsOrBool::Schema(inner))) => {
            Some(&**inner)
        }
        _ => None,
    };
    for schema in [Some(field), inner].into_iter().flatten() {
        let values: Vec<String> = schema.enum_.iter().flatten().map(|value| format!("`{}`", plain(&value.0))).collect();
        if !values.is_empty() {
            let _ = write!(said, " One of {}.", values.join(", "));
        }
        if let Some(pattern) = &schema.pattern {
            let _ = write!(said, " Pattern: `{}`.", pattern.replace('|', "\\|"));
        }
    }
    if let Some(keys) = &field.x_kubernetes_list_map_keys {
        let _ = write!(said, " Each with another `{}`.", keys.join("`, `"));
    }
    // Those of an object are below its table.
    if field.properties.is_none() {
        for rule in rules(field) {
            let _ = write!(said, " {}.", sentence(rule));
        }
    }
    if let Some(each) = inner.filter(|inner| inner.type_.as_deref() == Some("string")).and_then(limits) {
        let _ = write!(said, " Each has {each} characters.");
    }
    said.trim_start().to_owned()
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What the rules of a schema say to whoever breaks them.
fn rules(schema: &JSONSchemaProps) -> Vec<&str> {
    schema.x_kubernetes_validations.iter().flatten().filter_map(|rule| rule.message.as_deref()).collect()
}

/// What a rule says, as the beginning of a sentence; what begins with a field stays as it is.
fn sentence(rule: &str) -> String {
    let text = in_cell(rule.trim_end_matches('.'));
    let is_word =
        ["every ", "must ", "a ", "at ", "either ", "only ", "each "].iter().any(|word| text.starts_with(word));
    let mut letters = text.chars();
    match letters.next().filter(|_| is_word) {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => text,
    }
}

/// A text in one cell of a table.
fn in_cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}
