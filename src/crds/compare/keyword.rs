//! The keywords of one schema: what each of them demands before and after.

use serde_json::Value;

use super::super::check::Check;
use super::schema::{Walk, is_int_or_string, preserves};
use super::text::{list, short, value};
use super::{Object, is, string};

/// A pair of keywords that limit a value from below and from above.
struct Bounds {
    least: (&'static str, Check),
    most: (&'static str, Check),
    /// Whether it counts something: at least none is no limit.
    counts: bool,
}

const BOUNDS: [Bounds; 4] = [
    Bounds { least: ("minimum", Check::Minimum), most: ("maximum", Check::Maximum), counts: false },
    Bounds { least: ("minLength", Check::MinLength), most: ("maxLength", Check::MaxLength), counts: true },
    Bounds { least: ("minItems", Check::MinItems), most: ("maxItems", Check::MaxItems), counts: true },
    Bounds {
        least: ("minProperties", Check::MinProperties),
        most: ("maxProperties", Check::MaxProperties),
        counts: true,
    },
];

impl Walk<'_> {
    /// Compares a keyword that is not the same in both.
    pub(super) fn keyword(&mut self, key: &str, path: &str, old: &Object, new: &Object) {
        let (was, becomes) = (old.get(key), new.get(key));
        match key {
            "nullable" if is(old, "nullable") => {
                self.tell(Check::Nullable, path, self.between.changed("nullable", "not nullable"));
            }
            // Compared with their neighbours: types, fields, bounds; or allowed from now on: null.
            "type"
            | "x-kubernetes-int-or-string"
            | "properties"
            | "additionalProperties"
            | "required"
            | "nullable"
            | "minimum"
            | "maximum"
            | "exclusiveMinimum"
            | "exclusiveMaximum"
            | "minLength"
            | "maxLength"
            | "minItems"
            | "maxItems"
            | "minProperties"
            | "maxProperties" => {}
            "items" => self.items(path, was, becomes),
            "enum" => self.values(path, was, becomes),
            "pattern" => self.unless_gone(Check::Pattern, key, path, was, becomes),
            "format" if is_wider(was, becomes) => {}
            "format" => self.unless_gone(Check::Format, key, path, was, becomes),
            "multipleOf" if divides(becomes, was) => {}
            "multipleOf" => self.unless_gone(Check::MultipleOf, key, path, was, becomes),
            "default" => self.changed(Check::Default, key, path, was, becomes),
            "x-kubernetes-list-type" | "x-kubernetes-list-map-keys" => self.list_type(key, path, old, new),
            "x-kubernetes-map-type" => self.effective(Check::MapType, "granular", key, path, old, new),
            "x-kubernetes-preserve-unknown-fields" => {
                if preserves(old) && !new.contains_key("additionalProperties") {
                    let message = self.between.changed("keeping unknown fields", "dropping them");
                    self.tell(Check::Pruning, path, message);
                }
            }
            "x-kubernetes-embedded-resource" => self.changed(Check::EmbeddedResource, key, path, was, becomes),
            "x-kubernetes-validations" => self.rules(path, was, becomes),
            "description" | "title" | "example" | "externalDocs" => {
                self.tell(Check::Description, path, self.between.differs(key));
            }
            "allOf" | "anyOf" | "oneOf" | "not" if allows_more(key, old, new) => {}
            _ => self.tell(Check::Unhandled, path, self.between.differs(key)),
        }
    }

    fn changed(&mut self, check: Check, key: &str, path: &str, was: Option<&Value>, becomes: Option<&Value>) {
        self.tell(check, path, self.between.changed_in(key, &value(was), &value(becomes)));
    }

    /// Tells a demand that is added or changed; one that is gone allows more.
    fn unless_gone(&mut self, check: Check, key: &str, path: &str, was: Option<&Value>, becomes: Option<&Value>) {
        if becomes.is_some() {
            self.changed(check, key, path, was, becomes);
        }
    }

    fn items(&mut self, path: &str, was: Option<&Value>, becomes: Option<&Value>) {
        let (path, anything) = (format!("{path}[*]"), Object::new());
        match (was, becomes) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => self.schema(&path, old, new),
            (None, Some(Value::Object(new))) => self.schema(&path, &anything, new),
            (_, None) => {}
            _ => self.tell(Check::Unhandled, &path, self.between.differs("items")),
        }
    }

    /// The values that are allowed.
    fn values(&mut self, path: &str, was: Option<&Value>, becomes: Option<&Value>) {
        let of = |listed: Option<&Value>| listed.and_then(Value::as_array).cloned();
        let texts = |values: &[Value]| list(&values.iter().map(|one| value(Some(one))).collect::<Vec<_>>());
        match (of(was), of(becomes)) {
            (_, None) => {}
            (None, Some(new)) => {
                let message = self.between.changed("any value", &format!("one of {}", texts(&new)));
                self.tell(Check::Enum, path, message);
            }
            (Some(old), Some(new)) => {
                let gone: Vec<Value> = old.into_iter().filter(|value| !new.contains(value)).collect();
                if !gone.is_empty() {
                    let what = if gone.len() == 1 { "the value" } else { "the values" };
                    self.tell(Check::Enum, path, self.between.gone(&format!("{what} {}", texts(&gone))));
                }
            }
        }
    }

    pub(super) fn bounds(&mut self, path: &str, old: &Object, new: &Object) {
        for Bounds { least, most, counts } in BOUNDS {
            let none = counts.then_some((0.0, false));
            let limit = |schema: &Object, key: &str, exclusive: &str| {
                let limit = schema.get(key).and_then(Value::as_f64);
                limit.map(|limit| (limit, is(schema, exclusive)))
            };
            let pair = |key: &str, exclusive: &str| (limit(old, key, exclusive), limit(new, key, exclusive));
            let (was, becomes) = pair(least.0, "exclusiveMinimum");
            let raised = becomes.is_some_and(|new| was.or(none).is_none_or(|old| new > old));
            let (was, becomes) = pair(most.0, "exclusiveMaximum");
            let lowered =
                becomes.is_some_and(|new| was.is_none_or(|old| new.0 < old.0 || (new.0 <= old.0 && new.1 && !old.1)));
            for ((key, check), stricter, exclusive) in
                [(least, raised, "exclusiveMinimum"), (most, lowered, "exclusiveMaximum")]
            {
                if stricter {
                    let text = |schema: &Object| {
                        let excluded = if is(schema, exclusive) && !counts { " (not itself)" } else { "" };
                        format!("{}{excluded}", value(schema.get(key)))
                    };
                    self.tell(check, path, self.between.changed_in(key, &text(old), &text(new)));
                }
            }
        }
    }

    /// What makes items of a list the same. A list of which nothing is said is atomic.
    fn list_type(&mut self, key: &str, path: &str, old: &Object, new: &Object) {
        const TYPE: &str = "x-kubernetes-list-type";
        if key == TYPE {
            return self.effective(Check::ListType, "atomic", key, path, old, new);
        }
        let keys = |schema: &Object| {
            let names = schema.get(key).and_then(Value::as_array).into_iter().flatten();
            let mut names: Vec<String> = names.filter_map(Value::as_str).map(str::to_owned).collect();
            names.sort();
            names
        };
        let (was, becomes) = (keys(old), keys(new));
        if string(old, TYPE) == string(new, TYPE) && was != becomes {
            let message = self.between.changed_in(key, &list(&was), &list(&becomes));
            self.tell(Check::ListType, path, message);
        }
    }

    /// Compares a keyword that means `default` where it is left out.
    fn effective(&mut self, check: Check, default: &'static str, key: &str, path: &str, old: &Object, new: &Object) {
        let of = |schema: &Object| schema.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
        let (was, becomes) = (of(old), of(new));
        if was != becomes {
            self.tell(check, path, self.between.changed_in(key, &short(&was), &short(&becomes)));
        }
    }

    /// CEL rules; their messages are for people.
    fn rules(&mut self, path: &str, was: Option<&Value>, becomes: Option<&Value>) {
        let of = |rules: Option<&Value>| -> Vec<(String, Value)> {
            let rules = rules.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
            let optional = |rule: &Object| rule.get("optionalOldSelf").cloned().unwrap_or(Value::Bool(false));
            rules.map(|rule| (string(rule, "rule").to_owned(), optional(rule))).collect()
        };
        let before = of(was);
        for (rule, _) in of(becomes).into_iter().filter(|rule| !before.contains(rule)) {
            let compares = rule.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "oldSelf");
            let check = if compares { Check::TransitionRule } else { Check::ValidationRule };
            self.tell(check, path, self.between.demanded(&short(&rule)));
        }
    }
}

/// Whether everything of the first format is also of the second.
fn is_wider(was: Option<&Value>, becomes: Option<&Value>) -> bool {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    matches!((text(was).as_str(), text(becomes).as_str()), ("int32", "int64") | ("float", "double"))
}

/// Whether every multiple of `whole` is one of `part`.
fn divides(part: Option<&Value>, whole: Option<&Value>) -> bool {
    let (part, whole) = (part.and_then(Value::as_i64), whole.and_then(Value::as_i64));
    part.zip(whole).is_some_and(|(part, whole)| whole.checked_rem(part) == Some(0))
}

/// Whether `allOf`, `anyOf`, `oneOf` or `not` only asks for less than before.
fn allows_more(key: &str, old: &Object, new: &Object) -> bool {
    let usual = serde_json::json!([{"type": "integer"}, {"type": "string"}]);
    // What every value that may be a whole number or a text fulfils.
    let of = |schema: &Object| {
        schema.get(key).filter(|value| !(key == "anyOf" && is_int_or_string(schema) && **value == usual)).cloned()
    };
    let all_of = |some: &[Value], other: &[Value]| some.iter().all(|branch| other.contains(branch));
    match (of(old), of(new)) {
        (_, None) => true,
        (Some(Value::Array(old)), Some(Value::Array(new))) if key == "allOf" => all_of(&new, &old),
        (Some(Value::Array(old)), Some(Value::Array(new))) if key == "anyOf" => all_of(&old, &new),
        (old, new) => old == new,
    }
}
