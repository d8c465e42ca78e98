//! What is to be run: from where the database is to where the new version needs it, or to where it has to stop.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Graph, Migration, sha256};
use super::revision::Revision;
use crate::api::RevisionSpec;

#[cfg(test)]
mod tests;

/// How many characters Alembic gives the column in which it notes revisions, when it makes the table
/// (`MigrationContext._version` in `alembic/runtime/migration.py`).
pub const COLUMN: usize = 32;

/// The migrations that are to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the database notes now.
    pub from: Vec<String>,
    /// What it will note then. Several are no sound schema.
    pub to: Vec<String>,
    /// The revisions in between, in an order in which they can be run.
    pub steps: Vec<String>,
    /// The revisions before which it stops, and why: none of them is among the steps, nor what comes after them.
    pub stops: Vec<Stop>,
    /// The revisions of which the policy says something and which this image does not have: a wrong id holds nothing.
    pub unknown: Vec<String>,
    /// The digest of the steps and of what their files hold: `sha256:` and 64 hex digits.
    pub digest: String,
}

/// A revision before which migrations stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The revision.
    pub revision: String,
    /// Why, in one line.
    pub why: String,
}

/// Why nothing can be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Something else made the tables.
    #[error(
        "the database has tables, and none that notes a revision: name the table in database.revisionTable if it has another \
         name or schema; if the schema is that of a revision, note it by 'alembic stamp REVISION'"
    )]
    Untracked,
    /// The image has no migrations.
    #[error("this image has no migrations: run this in the image that has them, and look at migrations.directory")]
    NoMigrations,
    /// The database is ahead of the image, or of another line.
    #[error(
        "the database is at {revision}, which this image does not have: a newer version migrated it, or another one. Take \
         an image that has {revision}"
    )]
    NotInImage {
        /// What the database notes.
        revision: String,
    },
    /// The database has several heads, and what is wanted does not merge them.
    #[error(
        "the database has several heads, {}, and {goal} does not come after all of them: want the revision that merges them; \
         if there is none, make one ('alembic merge -m \"merge heads\" {}') and build the image again", .heads.join(", "), .heads.join(" ")
    )]
    SeveralNoted {
        /// What the database notes.
        heads: Vec<String>,
        /// What is wanted.
        goal: String,
    },
    /// The image has several heads.
    #[error(
        "this image has {} heads, and which one it needs cannot be told: {}. Merge them ('alembic merge -m \"merge heads\" \
         {}') and build the image again", .places.len(), .places.join(", "), .heads.join(" ")
    )]
    SeveralHeads {
        /// Their ids.
        heads: Vec<String>,
        /// Their ids with their files.
        places: Vec<String>,
    },
    /// What is wanted is not there.
    #[error(
        "this image has no revision {wanted}, which is wanted: correct the revision, or take the image that has it"
    )]
    NotThere {
        /// What is wanted.
        wanted: String,
    },
    /// The database is further than what is wanted: nothing has to run.
    #[error("the database is at {current}, which comes after {wanted}: nothing has to be run. It also has {}", .ahead.join(", "))]
    Ahead {
        /// What the database notes.
        current: String,
        /// What is wanted.
        wanted: String,
        /// The revisions that it has beyond that, in the order in which they were run.
        ahead: Vec<String>,
    },
    /// Neither comes after the other.
    #[error(
        "the database is at {current}, and {wanted} comes neither before nor after it: they are on different branches. Want a \
         revision that merges them"
    )]
    Apart {
        /// What the database notes.
        current: String,
        /// What is wanted.
        wanted: String,
    },
    /// What is wanted is held.
    #[error(
        "{wanted} is wanted, and migrations stop before {}: {}. Nothing was run; want a revision before it, or settle that \
         first", .stop.revision, .stop.why
    )]
    Held {
        /// What is wanted.
        wanted: String,
        /// What it is, or comes after.
        stop: Stop,
    },
    /// The stops would leave several heads.
    #[error(
        "migrations stop before {}, which would leave the database with several heads, {}: nothing was run. Settle what it \
         stops for, or want one of these revisions by name", told(.stops), .heads.join(", ")
    )]
    Branches {
        /// What the database would note.
        heads: Vec<String>,
        /// What it stops before.
        stops: Vec<Stop>,
    },
    /// An id is longer than the column.
    #[error(
        "revision {place} has an id of {length} characters, and the column version_num takes {width}: the migration would \
         fail when it is noted. Before it, widen the column (ALTER TABLE alembic_version ALTER COLUMN version_num TYPE \
         varchar(255)), or give it a shorter id. Whether an earlier revision of this plan widens it cannot be known: none \
         has version_num in its own file"
    )]
    TooLong {
        /// The revision, with its file.
        place: String,
        /// How long it is, in characters.
        length: usize,
        /// How many characters the column takes.
        width: usize,
    },
}

fn told(stops: &[Stop]) -> String {
    let each: Vec<String> = stops.iter().map(|stop| format!("{} ({})", stop.revision, stop.why)).collect();
    each.join(" and before ")
}

/// Plans the way from what the database notes, `from`, to `wanted`, or to the image's only head. `specs` are what the
/// policy says of revisions, and `may` tells whether one may run now, or why not; it is asked only of those that would.
///
/// Several heads in the database are what is left when a run over branches was stopped: they are taken where the goal
/// comes after all of them, so that running again ends well, and refused otherwise.
///
/// # Errors
/// When there is no way, or it cannot be told which: nothing may be run then.
pub fn plan(
    graph: &Graph,
    from: &Revision,
    wanted: Option<&str>,
    specs: &[RevisionSpec],
    may: &dyn Fn(&RevisionSpec) -> Result<(), String>,
) -> Result<Plan, PlanError> {
    if *from == Revision::Untracked {
        return Err(PlanError::Untracked);
    }
    let from = from.heads();
    if graph.heads().is_empty() {
        return Err(PlanError::NoMigrations);
    }
    if let Some(revision) = from.iter().find(|revision| graph.get(revision).is_none()) {
        return Err(PlanError::NotInImage { revision: revision.clone() });
    }
    let goal = goal(graph, wanted)?;
    reachable(graph, &from, &goal)?;
    let pending = graph.between(&from, std::slice::from_ref(&goal));
    let (steps, held) = stopped(&pending, specs, may);
    if let (Some(wanted), Some(stop)) = (wanted, held.first()) {
        return Err(PlanError::Held { wanted: wanted.to_owned(), stop: stop.clone() });
    }
    let mut ran = graph.ancestors(&from);
    ran.extend(steps.iter().map(|step| step.id.as_str()));
    let to = graph.noted(&ran);
    if to.len() > 1 {
        return Err(PlanError::Branches { heads: to, stops: held });
    }
    let digest = digest(&steps);
    // A policy is for several installs, and may speak of revisions that come with a later image.
    let unknown = specs.iter().map(|spec| &spec.revision).filter(|revision| graph.get(revision).is_none());
    let unknown = unknown.cloned().collect();
    Ok(Plan { unknown, from, to, steps: steps.iter().map(|step| step.id.clone()).collect(), stops: held, digest })
}

/// Where to.
fn goal(graph: &Graph, wanted: Option<&str>) -> Result<String, PlanError> {
    if let Some(wanted) = wanted {
        let found = graph.get(wanted).map(|migration| migration.id.clone());
        return found.ok_or_else(|| PlanError::NotThere { wanted: wanted.to_owned() });
    }
    let heads = graph.heads();
    if let [only] = heads.as_slice() {
        return Ok(only.clone());
    }
    let places = heads.iter().filter_map(|head| graph.get(head)).map(Migration::place).collect();
    Err(PlanError::SeveralHeads { heads, places })
}

/// Whether the goal comes after all that the database notes.
fn reachable(graph: &Graph, from: &[String], goal: &str) -> Result<(), PlanError> {
    let before = graph.ancestors(&[goal.to_owned()]);
    if from.iter().all(|revision| before.contains(revision.as_str())) {
        return Ok(());
    }
    let [current] = from else {
        return Err(PlanError::SeveralNoted { heads: from.to_vec(), goal: goal.to_owned() });
    };
    let (current, wanted) = (current.clone(), goal.to_owned());
    Err(match ahead(graph, &current, &wanted) {
        Some(ahead) => PlanError::Ahead { current, wanted, ahead },
        None => PlanError::Apart { current, wanted },
    })
}

/// Those of `pending` that may run, and those before which it stops. What comes after a stop does not run either, and is
/// not asked about.
fn stopped<'g>(
    pending: &[&'g Migration],
    specs: &[RevisionSpec],
    may: &dyn Fn(&RevisionSpec) -> Result<(), String>,
) -> (Vec<&'g Migration>, Vec<Stop>) {
    let specs: BTreeMap<&str, &RevisionSpec> = specs.iter().map(|spec| (spec.revision.as_str(), spec)).collect();
    let (mut steps, mut held, mut left) = (vec![], vec![], BTreeSet::new());
    for migration in pending {
        let id = migration.id.as_str();
        if migration.parents().any(|parent| left.contains(parent)) {
            left.insert(id);
            continue;
        }
        let why = specs.get(id).and_then(|spec| match &spec.hold {
            Some(reason) => Some(format!("it is on hold: {reason}")),
            None => may(spec).err(),
        });
        match why {
            Some(why) => {
                left.insert(id);
                held.push(Stop { revision: id.to_owned(), why });
            }
            None => steps.push(*migration),
        }
    }
    (steps, held)
}

/// The digest of a plan: of each step its id and the digest of its file, in their order.
#[must_use]
pub fn digest(steps: &[&Migration]) -> String {
    let line = |step: &&Migration| format!("{} {}\n", step.id, step.digest.as_deref().unwrap_or("unknown"));
    sha256(steps.iter().map(line).collect::<String>().as_bytes())
}

/// Whether the ids of all steps can be noted in a column of `column` characters: `COLUMN` where the table is not there yet,
/// `None` where any length fits. Behind a step whose file speaks of the column itself its width is not known, and nothing
/// is refused.
///
/// # Errors
/// Which id is too long.
pub fn fits(graph: &Graph, plan: &Plan, column: Option<usize>) -> Result<(), PlanError> {
    let Some(width) = column else { return Ok(()) };
    for step in plan.steps.iter().filter_map(|step| graph.get(step)) {
        // A step is noted after it has run.
        if step.version_column {
            return Ok(());
        }
        let length = step.id.chars().count();
        if length > width {
            return Err(PlanError::TooLong { place: step.place(), length, width });
        }
    }
    Ok(())
}

/// The revisions that a database at `current` has beyond `wanted`, in the order in which they were run; none when both are
/// the same, `None` when `wanted` does not come before `current`, or one of them is not in the graph.
#[must_use]
pub fn ahead(graph: &Graph, current: &str, wanted: &str) -> Option<Vec<String>> {
    let (current, wanted) = ([current.to_owned()], [wanted.to_owned()]);
    if !graph.ancestors(&current).contains(wanted[0].as_str()) {
        return None;
    }
    Some(graph.between(&wanted, &current).into_iter().map(|migration| migration.id.clone()).collect())
}
