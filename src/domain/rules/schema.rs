//! `UG-SCHEMA`: the database is at a revision that the new version accepts.

use crate::domain::change::SchemaState;
use crate::domain::decision::{Case, Finding, Verdict};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    if !case.policy.component(case.step.component).uses_database {
        return vec![];
    }
    let Some(state) = case.change.schema else {
        return vec![];
    };
    let (verdict, what, facts, remedy) = match state {
        SchemaState::Same | SchemaState::AheadAdditive => return vec![],
        SchemaState::Behind => (
            Verdict::NotYet,
            "must wait for the database migrations",
            "the schema is behind the revision that this version needs",
            "Run the migrations, then retry.",
        ),
        SchemaState::Unknown => (
            Verdict::NotYet,
            "must wait until the database revision is known",
            "the schema revision cannot be told",
            "Run the migration Job, which records it, then retry.",
        ),
        SchemaState::AheadBreaking => (
            Verdict::Never,
            "cannot start on this database",
            "the schema is ahead by a revision that is not additive",
            "Stay on a version that accepts the schema, or restore the backup first.",
        ),
    };
    vec![Finding::new(verdict, what, facts, remedy)]
}
