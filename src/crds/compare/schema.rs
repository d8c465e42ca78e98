//! Two schemas, walked side by side. What is new or gone as a whole is told once, not leaf by leaf.

use serde_json::Value;

use super::super::check::Check;
use super::text::Between;
use super::{Finding, Object, is, keys, string};

/// Fields of every object: the API server knows them whatever a schema says.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The differences from `old` to `new`, the schemas of whole objects; `version` is whose they are.
pub(super) fn compare(between: &Between<'_>, version: Option<&str>, old: &Object, new: &Object) -> Vec<Finding> {
    let mut walk = Walk { between, version, found: Vec::new() };
    walk.schema("", old, new);
    walk.found
}

/// The way through two schemas.
pub(super) struct Walk<'a> {
    pub(super) between: &'a Between<'a>,
    version: Option<&'a str>,
    found: Vec<Finding>,
}

impl Walk<'_> {
    pub(super) fn tell(&mut self, check: Check, path: &str, message: String) {
        let path = if path.is_empty() { "the object" } else { path }.to_owned();
        self.found.push(Finding { check, version: self.version.map(str::to_owned), path, message });
    }

    pub(super) fn schema(&mut self, path: &str, old: &Object, new: &Object) {
        if old == new {
            return;
        }
        let (was, becomes) = (type_of(old), type_of(new));
        if was != becomes {
            // Nothing below a field of another type can be compared.
            return self.tell(Check::Type, path, self.between.changed(was, becomes));
        }
        for key in keys(old, new).filter(|key| old.get(*key) != new.get(*key)) {
            self.keyword(key, path, old, new);
        }
        self.bounds(path, old, new);
        self.required(path, old, new);
        self.fields(path, old, new);
    }

    /// Fields that have to be there from now on.
    fn required(&mut self, path: &str, old: &Object, new: &Object) {
        let names = |schema: &Object| -> Vec<String> {
            let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let before = names(old);
        for name in names(new).into_iter().filter(|name| !before.contains(name)) {
            let path = &below(path, &name);
            // A default is filled in before it is looked whether a field is there.
            let has_default = field(new, &name).is_some_and(|schema| schema.contains_key("default"));
            if !has_default && !is_of_every_object(path, new, &name) {
                self.tell(Check::Required, path, self.between.becomes("required"));
            }
        }
    }

    /// The fields of an object, and what its other keys may hold.
    fn fields(&mut self, path: &str, old: &Object, new: &Object) {
        let (was, becomes, anything) = (Others::of(old), Others::of(new), Object::new());
        for (name, schema) in fields(old) {
            let path = &below(path, name);
            match (field(new, name), &becomes) {
                (Some(wanted), _) => self.schema(path, schema, wanted),
                (None, _) if is_of_every_object(path, old, name) => {}
                (None, Others::Are(wanted)) => self.schema(path, schema, wanted),
                // It is kept, and nobody looks at it.
                (None, Others::Kept) => {}
                (None, Others::Dropped) => self.tell(Check::ExistingFieldRemoval, path, self.between.gone("the field")),
            }
        }
        let beside = |(name, _): &(&str, &Object)| field(old, name).is_none();
        for (name, schema) in fields(new).filter(beside) {
            let path = &below(path, name);
            match &was {
                _ if is_of_every_object(path, new, name) => {}
                // A new field that may be left out harms nobody.
                Others::Dropped => {}
                // What objects hold there was looked at as one of many, or not at all.
                Others::Are(others) => self.schema(path, others, schema),
                Others::Kept => self.schema(path, &anything, schema),
            }
        }
        let path = &below(path, "*");
        match (was, becomes) {
            (Others::Are(old), Others::Are(new)) => self.schema(path, old, new),
            (Others::Are(_), Others::Dropped) => {
                self.tell(Check::ExistingFieldRemoval, path, self.between.gone("room for any key"));
            }
            (Others::Kept, Others::Are(new)) => self.schema(path, &anything, new),
            // Whether unknown fields are kept is a keyword of its own.
            (Others::Kept, Others::Dropped) | (_, Others::Kept) | (Others::Dropped, _) => {}
        }
    }
}

/// What becomes of keys that are no known fields.
enum Others<'a> {
    /// They are dropped.
    Dropped,
    /// They are kept, whatever they hold.
    Kept,
    /// They are values of a map.
    Are(&'a Object),
}

impl<'a> Others<'a> {
    fn of(schema: &'a Object) -> Self {
        match schema.get("additionalProperties") {
            Some(Value::Object(values)) => Self::Are(values),
            Some(Value::Bool(true)) => Self::Kept,
            _ if preserves(schema) => Self::Kept,
            _ => Self::Dropped,
        }
    }
}

/// Whether unknown fields are kept.
pub(super) fn preserves(schema: &Object) -> bool {
    is(schema, "x-kubernetes-preserve-unknown-fields")
}

/// Whether a value may be a whole number or a text.
pub(super) fn is_int_or_string(schema: &Object) -> bool {
    is(schema, "x-kubernetes-int-or-string")
}

fn type_of(schema: &Object) -> &str {
    match string(schema, "type") {
        _ if is_int_or_string(schema) => "integer or string",
        "" => "anything",
        stated => stated,
    }
}

/// The fields that a schema names.
fn fields(schema: &Object) -> impl Iterator<Item = (&str, &Object)> {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.filter_map(|(name, schema)| Some((name.as_str(), schema.as_object()?)))
}

fn field<'a>(schema: &'a Object, name: &str) -> Option<&'a Object> {
    schema.get("properties")?.get(name)?.as_object()
}

/// Whether `path`, which ends with `name`, is a field that every Kubernetes object has: at the top, and in `schema` if
/// it is that of an embedded one.
fn is_of_every_object(path: &str, schema: &Object, name: &str) -> bool {
    OF_EVERY_OBJECT.contains(&name) && (path == name || is(schema, "x-kubernetes-embedded-resource"))
}

pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
