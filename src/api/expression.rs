//! CEL expressions of a policy, checked when it is read.

use std::collections::BTreeSet;

use cel::common::ast::{EntryExpr, Expr};
use cel::{IdedExpr, Program};

/// The longest expression, in bytes: what the schema of the policy allows.
const LONGEST: usize = 1024;
/// Memory for what parses and evaluates. It calls itself for each bracket, up to 96 times, and a development build takes 160 KB
/// of stack each time, where a worker has two megabytes. Of it only what is touched is taken from the system.
const ROOM: usize = 32 << 20;
/// How deep `all`, `exists`, `map` and their like may be in each other. CEL has no other loops, so this and the length
/// of the longest list bound the steps of an evaluation.
const DEEPEST: usize = 3;
/// Names of types, which look like variables.
const TYPES: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "google",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "uint",
];

/// Compiles a CEL expression.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn compile(text: &str) -> Result<Program, String> {
    if text.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    let program = with_room(|| Program::compile(text)).map_err(|errors| {
        let errors = errors.errors.iter().map(|error| format!("column {}: {}", error.pos.1, error.msg));
        format!("is no CEL expression: {}", errors.collect::<Vec<_>>().join("; ").replace('\n', " "))
    })?;
    if depth(program.expression()) > DEEPEST {
        return Err(format!("has more than {DEEPEST} of all, exists, exists_one, map and filter in each other"));
    }
    Ok(program)
}

/// Runs `work`, which parses or evaluates an expression, with a stack that the deepest one does not overflow: that would
/// end the process.
pub fn with_room<T>(work: impl FnOnce() -> T) -> T {
    stacker::grow(ROOM, work)
}

/// Whether `text` compiles and knows no other variables than `variables`.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn check(text: &str, variables: &[&str]) -> Result<(), String> {
    let program = compile(text)?;
    let mut free = BTreeSet::new();
    free_names(program.expression(), &mut Vec::new(), &mut free);
    match free.into_iter().find(|name| !variables.contains(name) && !TYPES.contains(name)) {
        Some(name) => Err(format!("knows no '{name}': the variables are {}", variables.join(", "))),
        None => Ok(()),
    }
}

/// How deep the loops of `expression` are in each other.
#[must_use]
pub fn depth(expression: &IdedExpr) -> usize {
    let own = usize::from(matches!(expression.expr, Expr::Comprehension(_)));
    own + children(expression).into_iter().map(depth).max().unwrap_or(0)
}

/// The parts of an expression, in the order in which they are written.
#[must_use]
pub fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => vec![],
        Expr::Call(call) => call.target.iter().map(AsRef::as_ref).chain(&call.args).collect(),
        Expr::Comprehension(of) => {
            vec![&of.iter_range, &of.accu_init, &of.loop_cond, &of.loop_step, &of.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Struct(of) => of.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// The names in `expression` that no loop around them binds.
fn free_names<'a>(expression: &'a IdedExpr, bound: &mut Vec<&'a str>, free: &mut BTreeSet<&'a str>) {
    match &expression.expr {
        Expr::Ident(name) => {
            // Names with @ are the macros' own.
            if !name.starts_with('@') && !bound.contains(&name.as_str()) {
                free.insert(name);
            }
        }
        Expr::Comprehension(of) => {
            free_names(&of.iter_range, bound, free);
            free_names(&of.accu_init, bound, free);
            let before = bound.len();
            bound.extend([of.iter_var.as_str(), of.accu_var.as_str()]);
            bound.extend(of.iter_var2.as_deref());
            for part in [&of.loop_cond, &of.loop_step, &of.result] {
                free_names(part, bound, free);
            }
            bound.truncate(before);
        }
        _ => children(expression).into_iter().for_each(|part| free_names(part, bound, free)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: [&str; 2] = ["object", "now"];

    #[test]
    fn what_can_be_read_is_taken() {
        for text in [
            "true",
            "object.status.phase == 'Completed'",
            "object.status.conditions.exists(c, c.type == 'Ready' && c.status == \"True\")",
            "has(object.status.error) && object.status.error == ''",
            "now - timestamp(object.metadata.creationTimestamp) < duration('24h')",
            "type(object.status.count) == int",
            "object.spec.items.map(x, x.name).all(name, name.matches('^[a-z]+$'))",
            "object.status.a[0].b['c.d'] in [1, 2u, 3.0]",
        ] {
            assert_eq!(check(text, &OBJECT), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_in_one_line() {
        let deep = "object.a.all(a, object.a.all(b, object.a.all(c, object.a.all(d, true))))";
        let long = format!("'{}' == ''", "x".repeat(1024));
        for (text, part) in [
            ("", "is no CEL expression: column"),
            ("object.status.phase = 'x'", "is no CEL expression: column"),
            ("object.status.", "is no CEL expression: column"),
            ("object.a.all(1, true)", "is no CEL expression: column"),
            ("\"", "is no CEL expression: column"),
            ("objekt.status.phase == 'x'", "knows no 'objekt': the variables are object, now"),
            ("body.status == 'ok'", "knows no 'body'"),
            ("object.a.all(x, y)", "knows no 'y'"),
            ("object.a.all(x, true) && x", "knows no 'x'"),
            (deep, "has more than 3 of all, exists"),
            (&long, "is longer than 1024 bytes"),
        ] {
            let error = check(text, &OBJECT).unwrap_err();
            assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn the_deepest_text_fits_the_stack_of_a_worker() {
        for (open, close) in [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("{1:", "}"), ("size(", ")"), ("a?b:", "c")]
        {
            let times = (LONGEST - 1) / (open.len() + close.len());
            let text = format!("{}1{}", open.repeat(times), close.repeat(times));
            // Two mebibytes, as tokio's workers have.
            let worker = std::thread::Builder::new().stack_size(2 << 20);
            worker.spawn(move || drop(check(&text, &OBJECT))).unwrap().join().unwrap();
        }
    }

    proptest::proptest! {
        /// The parser is given what users write: whatever that is, it answers.
        #[test]
        fn nothing_makes_the_parser_fail(
            text in "([-+*/%!?:.,<>=&|(){}@\\[\\]\"'\\\\ \n0-9eExXuUrRbBz_]|object|now|true|null|in|has\\(|\\.all\\(|x,|é|\u{0}|9223372036854775808|\"\"\"){0,40}"
        ) {
            drop(check(&text, &OBJECT));
        }
    }
}
