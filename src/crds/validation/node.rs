//! What a schema says of pruning, defaults, lists and rules, in a form that is quick to walk beside an object.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use super::append;
use super::rules::Rule;

/// One level of a structural schema.
#[derive(Default)]
pub(super) struct Node {
    pub(super) properties: BTreeMap<String, Self>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Self>>,
    pub(super) default: Option<Value>,
    pub(super) nullable: bool,
    /// Unknown fields are kept.
    pub(super) preserve: bool,
    /// It has an `apiVersion`, a `kind` and `metadata`.
    pub(super) embedded: bool,
    pub(super) list: ListType,
    pub(super) kind: Kind,
    /// In `allOf` and the like a structural schema has none.
    pub(super) rules: Vec<Rule>,
}

/// What is known of fields without a name of their own.
#[derive(Default)]
pub(super) enum Additional {
    /// There are none.
    #[default]
    None,
    /// `additionalProperties: true`: they may be there, and of what is inside them nothing is kept.
    Any,
    Like(Box<Node>),
}

/// How the elements of a list are told apart.
#[derive(Default)]
pub(super) enum ListType {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

/// What a value is to CEL.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// What its JSON says.
    #[default]
    Plain,
    /// Always a `double`.
    Number,
    Timestamp,
    Duration,
    Bytes,
}

impl Node {
    /// The schema of a whole object.
    pub(super) fn root(schema: &JSONSchemaProps, unchecked: &mut BTreeSet<String>) -> Self {
        Self { embedded: true, ..Self::of(schema, "", unchecked) }
    }

    fn of(schema: &JSONSchemaProps, path: &str, unchecked: &mut BTreeSet<String>) -> Self {
        let mut child = |schema: &JSONSchemaProps, name: &str| {
            let mut path = path.to_owned();
            append(&mut path, name);
            Self::of(schema, &path, unchecked)
        };
        let properties = schema.properties.iter().flatten();
        let properties = properties.map(|(name, schema)| (name.clone(), child(schema, name))).collect();
        let additional = match &schema.additional_properties {
            None | Some(JSONSchemaPropsOrBool::Bool(false)) => Additional::None,
            Some(JSONSchemaPropsOrBool::Bool(true)) => Additional::Any,
            Some(JSONSchemaPropsOrBool::Schema(schema)) => Additional::Like(Box::new(child(schema, "*"))),
        };
        let items = match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(Box::new(child(schema, "*"))),
            _ => None,
        };
        let rules = schema.x_kubernetes_validations.iter().flatten();
        Self {
            properties,
            additional,
            items,
            default: schema.default.as_ref().map(|default| default.0.clone()),
            nullable: schema.nullable == Some(true),
            preserve: schema.x_kubernetes_preserve_unknown_fields == Some(true),
            embedded: schema.x_kubernetes_embedded_resource == Some(true),
            list: list_type(schema),
            kind: kind(schema),
            rules: rules.filter_map(|rule| Rule::new(rule, path, unchecked)).collect(),
        }
    }

    /// What is known of the field `name`.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        match (self.properties.get(name), &self.additional) {
            (Some(node), _) => Some(node),
            (None, Additional::Like(node)) => Some(node),
            (None, _) => None,
        }
    }
}

fn list_type(schema: &JSONSchemaProps) -> ListType {
    match schema.x_kubernetes_list_type.as_deref() {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(schema.x_kubernetes_list_map_keys.clone().unwrap_or_default()),
        _ => ListType::Atomic,
    }
}

/// As `SchemaDeclType` of `k8s.io/apiserver/pkg/cel/common` has it.
fn kind(schema: &JSONSchemaProps) -> Kind {
    match (schema.type_.as_deref(), schema.format.as_deref()) {
        (Some("number"), _) => Kind::Number,
        (Some("string"), Some("date-time" | "date")) => Kind::Timestamp,
        (Some("string"), Some("duration")) => Kind::Duration,
        (Some("string"), Some("byte")) => Kind::Bytes,
        _ => Kind::Plain,
    }
}
