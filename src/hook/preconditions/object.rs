//! Any object, judged by expressions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::Limit;
use super::fields::{created, name};
use super::proof::{Candidate, Proof, newest};
use super::read::Reader;
use crate::api::ObjectSpec;
use crate::hook::cel::{CelError, Expression};

pub(super) async fn look(reader: &Reader<'_>, spec: &ObjectSpec, now: Timestamp) -> Result<Proof, String> {
    let judge = Judge::read(spec)?;
    let kind = reader.kind(&spec.api_version, &spec.kind).await?;
    let namespace = reader.namespace(spec.namespace.as_deref());
    let objects = match &spec.name {
        Some(name) => vec![reader.get(&kind, namespace, name).await?],
        None => reader.list(&kind, namespace, &spec.selector).await?,
    };
    let labels: Vec<String> = spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let what = format!("{} with {}{}", spec.kind, labels.join(","), kind.place(namespace));
    newest(&what, objects.iter().map(|object| judge.candidate(object, now)).collect())
}

/// The expressions and the limit of a precondition.
struct Judge {
    ready: Expression,
    time: Option<(Expression, Limit)>,
}

impl Judge {
    fn read(spec: &ObjectSpec) -> Result<Self, String> {
        let compiled = |text: &str| Expression::compile(text).map_err(|error| error.to_string());
        let time = match (&spec.timestamp, &spec.max_age) {
            (Some(timestamp), Some(max_age)) => Some((compiled(timestamp)?, Limit::read(max_age)?)),
            _ => None,
        };
        Ok(Self { ready: compiled(&spec.ready)?, time })
    }

    fn candidate(&self, object: &Value, now: Timestamp) -> Candidate {
        Candidate { name: name(object).to_owned(), made: created(object), judged: self.judge(object, now) }
    }

    fn judge(&self, object: &Value, now: Timestamp) -> Result<Proof, String> {
        let at_now = json!(now.to_string());
        let variables = [("object", object), ("now", &at_now)];
        let is_ready = self.ready.holds(&variables).map_err(|error| told("not ready", &error))?;
        if !is_ready {
            return Err(format!("is not ready: '{}' is false", self.ready));
        }
        let Some((time, limit)) = &self.time else {
            return Ok(Proof { at: None, message: "is ready".to_owned() });
        };
        let at = time.time(&variables).map_err(|error| told("of no known age", &error))?;
        match limit.check(at, now) {
            Ok(age) => Ok(Proof { at: Some(at), message: format!("is ready and {age}") }),
            Err(age) => Err(format!("is {age}")),
        }
    }
}

/// What is missing is no fault of the expression.
fn told(what: &str, error: &CelError) -> String {
    format!("is {what}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_what_its_expressions_say() {
        let now = "2026-07-17T12:00:00Z".parse().unwrap();
        let object = |status: Value| json!({"metadata": {"name": "backup"}, "status": status});
        let done = json!({"phase": "Completed", "ended": "2026-07-17T09:30:00Z"});
        for (status, ready, max_age, expected) in [
            (done.clone(), "object.status.phase == 'Completed'", None, Ok("is ready")),
            (done.clone(), "object.status.phase == 'Completed'", Some("24h"), Ok("is ready and 2 h old, at most 24 h")),
            (done.clone(), "object.status.phase == 'Completed'", Some("2h"), Err("is 3 h old, at most 2 h")),
            (
                done.clone(),
                "object.status.phase == 'Failed'",
                Some("24h"),
                Err("is not ready: 'object.status.phase == 'Failed'' is false"),
            ),
            (done.clone(), "object.status.errors == 0", None, Err("is not ready: object.status.errors: no such key")),
            (done.clone(), "object.status.errors != 0", None, Err("is not ready: object.status.errors: no such key")),
            (
                done,
                "object.status.phase",
                None,
                Err("is not ready: 'object.status.phase' is the text 'Completed', but must be true or false"),
            ),
            (
                json!({"phase": "Completed"}),
                "object.status.phase == 'Completed'",
                Some("24h"),
                Err("is of no known age: object.status.ended: no such key"),
            ),
            (
                json!({"phase": "Completed", "ended": "yesterday"}),
                "true",
                Some("24h"),
                Err(
                    "is of no known age: 'object.status.ended' is the text 'yesterday', but must be a time such as 2026-07-17T12:00:00Z",
                ),
            ),
        ] {
            let spec = ObjectSpec {
                ready: ready.to_owned(),
                max_age: max_age.map(str::to_owned),
                timestamp: max_age.map(|_| "object.status.ended".to_owned()),
                ..ObjectSpec::default()
            };
            let found = Judge::read(&spec).unwrap().judge(&object(status), now).map(|proof| proof.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{ready}");
        }
    }
}
