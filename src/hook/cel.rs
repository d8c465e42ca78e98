//! CEL expressions over objects and answers.
//!
//! An evaluation ends: CEL has no loops but those over lists and maps that exist, `api::expression` bounds how deep they
//! are in each other, and [`MOST_STEPS`] bounds what that makes of a large object. Regular expressions take linear time.

use std::collections::HashMap;
use std::fmt;

use cel::common::ast::{Expr, LiteralValue};
use cel::{Context, ExecutionError, IdedExpr, Program, Value as CelValue};
use jiff::Timestamp;
use serde_json::Value;

use crate::api::expression::{children, compile, depth, with_room};

/// How often the innermost part of an expression may be looked at: a second or so.
const MOST_STEPS: usize = 1_000_000;
/// The variable that is a time, whatever else it could be.
const NOW: &str = "now";

/// A compiled expression.
pub struct Expression {
    text: String,
    program: Program,
    depth: usize,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why an expression says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CelError {
    /// It cannot be compiled.
    #[error("'{expression}' {message}")]
    Compile {
        /// The expression.
        expression: String,
        /// What is wrong with it.
        message: String,
    },
    /// It asks for a field that is not there.
    #[error("{path}: no such key")]
    Missing {
        /// The field, from the variable on: `object.status.phase`.
        path: String,
    },
    /// It asks for a field of something that has none.
    #[error("{path}: no such key, because {parent} is {what}")]
    NoFields {
        /// The field.
        path: String,
        /// What it was looked for in.
        parent: String,
        /// What that is: `text`, `a number`, ...
        what: &'static str,
    },
    /// It gives something else than what is needed.
    #[error("'{expression}' is {found}, but must be {wanted}")]
    Type {
        /// The expression.
        expression: String,
        /// What it gives.
        found: String,
        /// What it should give.
        wanted: &'static str,
    },
    /// It goes over so many things that it would take too long.
    #[error("'{expression}' has to look at too much: a list has {longest} entries")]
    TooMuch {
        /// The expression.
        expression: String,
        /// The length of the longest list.
        longest: usize,
    },
    /// It cannot be evaluated for another reason.
    #[error("'{expression}' cannot be evaluated: {message}")]
    Evaluate {
        /// The expression.
        expression: String,
        /// Why not.
        message: String,
    },
}

impl Expression {
    /// Compiles `text`.
    ///
    /// # Errors
    /// [`CelError::Compile`] when it is no CEL expression.
    pub fn compile(text: &str) -> Result<Self, CelError> {
        let error = |message| CelError::Compile { expression: text.to_owned(), message };
        let program = compile(text).map_err(error)?;
        Ok(Self { text: text.to_owned(), depth: depth(program.expression()), program })
    }

    /// Whether it is true of these variables; text in RFC 3339 as `now` is a time.
    ///
    /// # Errors
    /// When a field is missing, when it gives no boolean, or when it cannot be evaluated.
    pub fn holds(&self, variables: &[(&str, &Value)]) -> Result<bool, CelError> {
        match self.evaluate(variables)? {
            CelValue::Bool(holds) => Ok(holds),
            other => Err(self.wrong_type(&other, "true or false")),
        }
    }

    /// The time that it gives for these variables: a timestamp, or text in RFC 3339.
    ///
    /// # Errors
    /// As for [`Expression::holds`], when it gives no time.
    pub fn time(&self, variables: &[(&str, &Value)]) -> Result<Timestamp, CelError> {
        let found = self.evaluate(variables)?;
        let time = match &found {
            CelValue::Timestamp(time) => {
                let nanoseconds = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0);
                Timestamp::new(time.timestamp(), nanoseconds).ok()
            }
            CelValue::String(text) => text.parse().ok(),
            _ => None,
        };
        time.ok_or_else(|| self.wrong_type(&found, "a time such as 2026-07-17T12:00:00Z"))
    }

    fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<CelValue, CelError> {
        let longest = variables.iter().map(|(_, value)| longest(value)).max().unwrap_or(0);
        let exponent = u32::try_from(self.depth).unwrap_or(u32::MAX);
        if longest.checked_pow(exponent).is_none_or(|steps| steps > MOST_STEPS) {
            return Err(CelError::TooMuch { expression: self.text.clone(), longest });
        }
        let mut context = Context::default();
        for (name, value) in variables {
            let value = if *name == NOW { time_of(value) } else { cel_value(value) };
            context.add_variable_from_value(*name, value);
        }
        with_room(|| self.program.execute(&context)).map_err(|error| self.told(&error, variables))
    }

    fn wrong_type(&self, found: &CelValue, wanted: &'static str) -> CelError {
        let found = match found {
            CelValue::String(text) => format!("the text '{text}'"),
            CelValue::Bool(value) => value.to_string(),
            CelValue::Int(number) => number.to_string(),
            CelValue::Null => "null".to_owned(),
            other => format!("a {}", other.type_of()),
        };
        CelError::Type { expression: self.text.clone(), found, wanted }
    }

    /// The error with the whole path of the field where one is missing; the evaluator knows its last part only.
    fn told(&self, error: &ExecutionError, variables: &[(&str, &Value)]) -> CelError {
        let key = match error {
            ExecutionError::NoSuchKey(key) => Some(key.as_str()),
            ExecutionError::NoSuchOverload(overload) if matches!(overload.function(), "_._" | "_[_]") => None,
            ExecutionError::IndexOutOfBounds(_) => None,
            other => {
                let message = other.to_string();
                return CelError::Evaluate { expression: self.text.clone(), message };
            }
        };
        let fits = |error: &CelError| match (key, error) {
            (None, _) => true,
            (Some(key), CelError::Missing { path }) => ends_in(path, key),
            (Some(_), _) => false,
        };
        let found = broken(self.program.expression(), variables).into_iter().find(fits);
        found.unwrap_or_else(|| match key {
            Some(key) => CelError::Missing { path: self.written(self.program.expression(), key) },
            None => CelError::Evaluate { expression: self.text.clone(), message: error.to_string() },
        })
    }

    /// The first place in the expression that asks for `key`, as it is written there: in a loop, where no path of the
    /// whole object says which of its entries it was.
    fn written(&self, expression: &IdedExpr, key: &str) -> String {
        let found = find(expression, &|part| path_of(part).is_some_and(|path| ends_in(&path.text(), key)));
        found.and_then(path_of).map_or_else(|| format!("'{}': {key}", self.text), |path| path.text())
    }
}

/// Whether the last step of `path` is `key`.
fn ends_in(path: &str, key: &str) -> bool {
    [format!(".{key}"), format!("[\"{key}\"]"), format!("[{key}]")].iter().any(|end| path.ends_with(end))
}

/// A path as an expression writes it: a variable, and what it goes on with.
struct Path<'a> {
    root: &'a str,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Field(&'a str),
    Entry(&'a str),
    Index(i64),
}

impl Path<'_> {
    fn text(&self) -> String {
        self.until(self.steps.len())
    }

    fn until(&self, length: usize) -> String {
        let mut text = self.root.to_owned();
        for step in &self.steps[..length] {
            let part = match step {
                Step::Field(name) => format!(".{name}"),
                Step::Entry(name) => format!("[\"{name}\"]"),
                Step::Index(index) => format!("[{index}]"),
            };
            text.push_str(&part);
        }
        text
    }

    /// Where the path ends in `value` before it should.
    fn broken(&self, value: &Value) -> Option<CelError> {
        let mut at = value;
        for (index, step) in self.steps.iter().enumerate() {
            let next = match (step, at) {
                (Step::Field(name) | Step::Entry(name), Value::Object(fields)) => fields.get(*name),
                (Step::Index(index), Value::Array(items)) => usize::try_from(*index).ok().and_then(|i| items.get(i)),
                _ => {
                    let (path, parent) = (self.until(index + 1), self.until(index));
                    return Some(CelError::NoFields { path, parent, what: kind(at) });
                }
            };
            match next {
                Some(next) => at = next,
                None => return Some(CelError::Missing { path: self.until(index + 1) }),
            }
        }
        None
    }
}

/// The path that `expression` is, if it is one.
fn path_of(expression: &IdedExpr) -> Option<Path<'_>> {
    match &expression.expr {
        Expr::Ident(root) => Some(Path { root, steps: vec![] }),
        Expr::Select(select) if !select.test => {
            let mut path = path_of(&select.operand)?;
            path.steps.push(Step::Field(&select.field));
            Some(path)
        }
        Expr::Call(call) if call.func_name == "_[_]" => {
            let [operand, index] = call.args.as_slice() else { return None };
            let mut path = path_of(operand)?;
            path.steps.push(match &index.expr {
                Expr::Literal(LiteralValue::String(name)) => Step::Entry(name.inner()),
                Expr::Literal(LiteralValue::Int(index)) => Step::Index(*index.inner()),
                _ => return None,
            });
            Some(path)
        }
        _ => None,
    }
}

/// Every path of `expression` that the variables do not have, in the order in which they are written.
fn broken(expression: &IdedExpr, variables: &[(&str, &Value)]) -> Vec<CelError> {
    if let Some(path) = path_of(expression) {
        let value = variables.iter().find(|(name, _)| *name == path.root);
        return value.and_then(|(_, value)| path.broken(value)).into_iter().collect();
    }
    children(expression).into_iter().flat_map(|part| broken(part, variables)).collect()
}

/// The first part of `expression`, itself included, of which `is` is true.
fn find<'a>(expression: &'a IdedExpr, is: &impl Fn(&IdedExpr) -> bool) -> Option<&'a IdedExpr> {
    if is(expression) {
        return Some(expression);
    }
    children(expression).into_iter().find_map(|part| find(part, is))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The length of the longest list or object in `value`, itself included.
fn longest(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(longest).fold(items.len(), usize::max),
        Value::Object(fields) => fields.values().map(longest).fold(fields.len(), usize::max),
        _ => 0,
    }
}

/// Whole numbers are `int`, as in Kubernetes' own expressions.
fn cel_value(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => CelValue::Int(number),
            (None, Some(number)) => CelValue::UInt(number),
            (None, None) => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(cel_value).collect::<Vec<CelValue>>().into(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), cel_value(value)));
            fields.collect::<HashMap<String, CelValue>>().into()
        }
    }
}

/// `value` as a time where it is text in RFC 3339, else as it is.
fn time_of(value: &Value) -> CelValue {
    let text = cel_value(value);
    // The evaluator makes its own times; the crate that they are of is no dependency of this one.
    let Ok(program) = Program::compile("timestamp(text)") else { return text };
    let mut context = Context::default();
    context.add_variable_from_value("text", text.clone());
    program.execute(&context).unwrap_or(text)
}

#[cfg(test)]
mod tests;
