//! Rules in CEL (`x-kubernetes-validations`), as far as they can be evaluated on an object at rest.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cel::objects::Key;
use cel::{Context, Env, ExecutionError, Program};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use serde_json::Value;

use super::node::{Additional, Kind, Node};
use super::{Verdict, Violation};
use crate::api::expression::with_room;

/// One rule of a schema.
pub(super) struct Rule {
    program: Program,
    text: String,
    message: String,
}

/// What expressions may use: the standard, and strings as Kubernetes has them.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    // What cannot be declared is unknown to the rules that use it, and they count as not checked.
    let _ = cel::extensions::strings(&mut environment);
    Arc::new(environment)
});

impl Rule {
    /// Reads a rule of the field at `path`; `None`, told in `unchecked`, when it cannot be evaluated here.
    pub(super) fn new(rule: &ValidationRule, path: &str, unchecked: &mut BTreeSet<String>) -> Option<Self> {
        let program = match with_room(|| ENVIRONMENT.compile(&rule.rule)) {
            Ok(program) if program.references().has_variable("oldSelf") => Err("it compares with an earlier state"),
            Ok(program) => Ok(program),
            Err(_) => Err("this program cannot read it"),
        };
        let message = match rule.message.as_deref().map(str::trim) {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => format!("breaks the rule {}", rule.rule.trim()),
        };
        match program {
            Ok(program) => Some(Self { program, text: rule.rule.clone(), message }),
            Err(why) => {
                unchecked.insert(not_checked(&rule.rule, path, why));
                None
            }
        }
    }
}

fn not_checked(rule: &str, path: &str, why: &str) -> String {
    let place = if path.is_empty() { "the object" } else { path };
    format!("rule of {place}: {why}: {}", rule.trim())
}

/// Adds to `verdict` which rules of `node` do not hold for `value`, which is at `path` and not null.
pub(super) fn check(node: &Node, value: &Value, path: &str, verdict: &mut Verdict) {
    if node.rules.is_empty() {
        return;
    }
    let itself = convert(Some(node), value);
    for rule in &node.rules {
        evaluate(rule, itself.clone(), path, verdict);
    }
}

fn evaluate(rule: &Rule, itself: cel::Value, path: &str, verdict: &mut Verdict) {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.add_variable_from_value("self", itself);
    let message = match with_room(|| rule.program.execute(&context)) {
        Ok(cel::Value::Bool(true)) => return,
        Ok(cel::Value::Bool(false)) => rule.message.clone(),
        // Of these the API server says the same, and refuses the object.
        Err(
            error @ (ExecutionError::NoSuchKey(_)
            | ExecutionError::IndexOutOfBounds(_)
            | ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..)),
        ) => format!("the rule {} ends with an error: {error}", rule.text.trim()),
        Ok(_) | Err(_) => {
            verdict.unchecked.insert(not_checked(&rule.text, path, "it needs what this program does not have"));
            return;
        }
    };
    verdict.violations.push(Violation { path: path.to_owned(), message });
}

/// `value` as CEL sees it: only what the schema describes, numbers and times as it says, names that can be written.
fn convert(node: Option<&Node>, value: &Value) -> cel::Value {
    let kind = node.map_or(Kind::Plain, |node| node.kind);
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) if kind != Kind::Number => cel::Value::Int(number),
            _ => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text_value(kind, text),
        Value::Array(items) => {
            let inside = node.and_then(|node| node.items.as_deref());
            items.iter().map(|item| convert(inside, item)).collect::<Vec<_>>().into()
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter_map(|(name, value)| field(node, name, value));
            fields.collect::<HashMap<Key, cel::Value>>().into()
        }
    }
}

/// The field `name` under the name that rules use, where they can see it.
fn field(node: Option<&Node>, name: &str, value: &Value) -> Option<(Key, cel::Value)> {
    let Some(node) = node else { return Some((name.into(), convert(None, value))) };
    if let Some(inside) = node.properties.get(name) {
        return Some((escaped(name).into(), convert(Some(inside), value)));
    }
    match &node.additional {
        Additional::Like(inside) => Some((name.into(), convert(Some(inside), value))),
        _ if node.embedded && matches!(name, "apiVersion" | "kind" | "metadata") => {
            Some((name.into(), convert(None, value)))
        }
        _ => None,
    }
}

/// An expression of this file over `text`; CEL's own functions know best how it writes times.
type Made = LazyLock<Option<Program>>;

static DAY: Made = LazyLock::new(|| ENVIRONMENT.compile("timestamp(text + 'T00:00:00Z')").ok());
static TIMESTAMP: Made = LazyLock::new(|| ENVIRONMENT.compile("timestamp(text)").ok());
static DURATION: Made = LazyLock::new(|| ENVIRONMENT.compile("duration(text)").ok());
static BYTES: Made = LazyLock::new(|| ENVIRONMENT.compile("bytes(text)").ok());

/// `text` as what its format says; as text when it is not of its format, which is told elsewhere.
fn text_value(kind: Kind, text: &str) -> cel::Value {
    let program = match kind {
        Kind::Timestamp if text.len() == 10 => DAY.as_ref(),
        Kind::Timestamp => TIMESTAMP.as_ref(),
        Kind::Duration => DURATION.as_ref(),
        Kind::Bytes => BYTES.as_ref(),
        Kind::Plain | Kind::Number => None,
    };
    let made = program.and_then(|program| {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_from_value("text", cel::Value::from(text));
        program.execute(&context).ok()
    });
    made.unwrap_or_else(|| cel::Value::from(text))
}

/// Words of CEL that no field can be called by.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A property's name as rules write it (`k8s.io/apiserver/pkg/cel/escaping.go`).
fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let name = name.replace("__", "__underscores__");
    name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}
