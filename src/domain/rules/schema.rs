//! `UG-SCHEMA`: the database is at a revision that the new version accepts.
//!
//! Equal is fine, and ahead by revisions that are recorded as additive: that is the way back after an upgrade. The same
//! on both ways. A move that finds in its way only what stands against the version before it too is let pass with a
//! warning: from such a state it may be the only way out.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::domain::decision::{Case, Finding, Verdict};
use crate::domain::schema::{Against, Asked, Needed, REVISION_ANNOTATION, Schema, Standing, standing};
use crate::domain::version::Version;

/// More revisions than this are counted.
const MOST_NAMES: usize = 3;
const MIGRATE: &str =
    "Run the migrations: upgrade-guard presync (the hook Job) does where the policy says how. Then retry.";
const LOOK: &str = "Run upgrade-guard presync (the hook Job), which reads and records it, then retry.";

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let own = case.step.component;
    // What nobody looked at is not judged.
    let schema = case.view.schema.as_ref().filter(|_| case.policy.component(own).uses_database);
    let Some(schema) = schema else { return vec![] };
    // Of a version that cannot be read UG-VERSION tells.
    if case.step.to.known().is_none() && case.step.schema.is_none() {
        return vec![];
    }
    let Some(mut found) = fault(case, schema) else { return vec![] };
    if schema.hook_comes && found.verdict == Verdict::NotYet {
        return vec![];
    }
    // The law does not enforce it on a first install.
    if case.is_first_install() {
        found.verdict = Verdict::Allow;
    }
    vec![found]
}

/// What is wrong, if anything.
fn fault(case: &Case<'_>, schema: &Schema) -> Option<Finding> {
    let not_yet = |what: &str, facts: String, remedy: &str| Some(Finding::new(Verdict::NotYet, what, facts, remedy));
    let to = &case.step.to;
    let (revision, source) = match asked(case, schema) {
        Needed::At { revision, source } => (revision, source),
        Needed::Untold => {
            let remedy = format!(
                "Say it by schemaRevision in a PlatformRelease or by annotation {REVISION_ANNOTATION} on the pod \
                 template, or run upgrade-guard presync (the hook Job), which reads it from the image."
            );
            let what = "must wait until it is known which database revision it needs";
            return not_yet(what, format!("nothing tells that of {to}"), &remedy);
        }
        Needed::Disputed(told) => {
            let told: Vec<String> = told.iter().map(|(revision, source)| format!("{revision} ({source})")).collect();
            let what = "must wait until it is known which database revision it needs";
            let facts = format!("sources differ: {}", told.join(", "));
            return not_yet(what, facts, "Correct the one that is wrong, then retry.");
        }
    };
    let needs = format!("{to} needs {revision} ({source})");
    let found = match standing(schema, &revision) {
        Standing::Same | Standing::AheadAdditive => return None,
        Standing::Behind => {
            let at = schema.at.as_ref().ok().and_then(|heads| heads.first()).map_or("no revision", String::as_str);
            not_yet("must wait for the database migrations", format!("the database is at {at}, {needs}"), MIGRATE)
        }
        Standing::Several => {
            let heads = schema.at.as_ref().map(|heads| heads.join(", ")).unwrap_or_default();
            let remedy = "Bring the branches together (alembic merge), run the migrations, then retry.";
            let what = "must wait until the database has one revision";
            not_yet(what, format!("it has several heads: {heads}; {needs}"), remedy)
        }
        Standing::Unknown(why) => {
            let what = "must wait until the database revision is known";
            not_yet(what, format!("{}; {needs}", why.trim_end_matches('.')), LOOK)
        }
        Standing::AheadBreaking(against) => Some(cannot_start(case, schema, &against, &revision, &needs)),
    }?;
    Some(if was_so_before(case, schema, &revision) {
        let what = format!("{}, as the version before it", found.what);
        Finding { verdict: Verdict::Allow, what, ..found }
    } else {
        found
    })
}

fn asked(case: &Case<'_>, schema: &Schema) -> Needed {
    let step = case.step;
    let (stated, image) = (step.schema.as_deref(), step.image.as_deref());
    let asked = Asked { component: step.component, version: &step.to, stated, image };
    schema.needed(case.policy, &asked)
}

/// Whether the version before the move needs the same revision, or has more against it.
fn was_so_before(case: &Case<'_>, schema: &Schema, revision: &str) -> bool {
    let Some(before) = case.before().filter(|_| case.own().has_pods()) else { return false };
    let asked = Asked { component: case.step.component, version: before, stated: None, image: None };
    let Needed::At { revision: old, .. } = schema.needed(case.policy, &asked) else { return false };
    match (standing(schema, &old), standing(schema, revision)) {
        (Standing::AheadBreaking(old), Standing::AheadBreaking(new)) => new.is_within(&old),
        _ => old == revision,
    }
}

fn cannot_start(case: &Case<'_>, schema: &Schema, against: &Against, revision: &str, needs: &str) -> Finding {
    let at = schema.at.as_ref().map(|heads| heads.join(", ")).unwrap_or_default();
    let noun = |count: usize| if count == 1 { "revision" } else { "revisions" };
    let named = |of: &BTreeSet<String>| listed(&schema.first(of));
    let (breaking, unknown) = (&against.breaking, &against.unknown);
    let facts = if breaking.is_empty() {
        format!(
            "the database is at {at}, {needs}, and nobody recorded whether {} {} in between only adds",
            noun(schema.first(unknown).len()),
            named(unknown)
        )
    } else {
        let (first, them) = (schema.first(breaking), named(breaking));
        format!("the database is at {at}, {needs}, and breaking {} {them} came in between", noun(first.len()))
    };
    Finding::new(Verdict::Never, "cannot start on this database", facts, way_out(case, schema, revision))
}

/// Where to go instead, and what it would take to go where was asked.
fn way_out(case: &Case<'_>, schema: &Schema, revision: &str) -> String {
    let (policy, own, to) = (case.policy, case.step.component, &case.step.to);
    let before = case.before().and_then(Version::known);
    let back = before.filter(|_| case.direction() == Some(Ordering::Less));
    let safe = schema.safe_version(policy, own, |version| {
        let is_it = to.known().is_some_and(|to| to.cmp_precedence(version).is_eq());
        !is_it && back.is_none_or(|before| version.cmp_precedence(before).is_lt())
    });
    let instead = match (safe, back) {
        (Some(safe), Some(_)) => format!("Go back to {safe} at most, which this database accepts"),
        (Some(safe), None) => format!("Choose {safe}, which this database accepts"),
        (None, Some(before)) => format!("Stay on {before}: no earlier version is known that this database accepts"),
        (None, None) => "No version is known that this database accepts".to_owned(),
    };
    let may = policy.database.as_ref().is_some_and(|database| database.downgrade);
    let policy = if may {
        "which the policy allows by upgrade-guard presync --rollback"
    } else {
        "which the policy forbids (spec.database.migrations.downgrade)"
    };
    format!("{instead}. For {to} alembic downgrade {revision} would be needed, {policy}.")
}

fn listed(names: &[&str]) -> String {
    if names.len() <= MOST_NAMES {
        return names.join(", ");
    }
    let (shown, more) = names.split_at(MOST_NAMES);
    format!("{} and {} more", shown.join(", "), more.len())
}
