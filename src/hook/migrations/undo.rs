//! `presync --rollback`: undoing migrations, which only a policy may ask for. The way back is old code on the new schema;
//! this is for where old code cannot start on it.

use std::time::Duration;

use jiff::Timestamp;

use super::look::{Refusal, STEP};
use super::settings::Settings;
use crate::api::{Downgrade, PlatformStatus};
use crate::database::connection::Connection;
use crate::database::graph;
use crate::database::plan::{self, Plan, PlanError};
use crate::database::revision;
use crate::domain::policy::Policy;
use crate::domain::view::View;
use crate::hook::Exit;
use crate::hook::presync::target::Target;
use crate::report::{Report, Stage};

const ANSWER: Duration = Duration::from_mins(1);

/// The revision that the target needs: what its release says, else what the hook recorded for its versions.
///
/// # Errors
/// When nobody knows, or the versions need different ones.
pub fn needed(
    policy: &Policy,
    status: Option<&PlatformStatus>,
    target: &Target,
    wanted: Option<&str>,
) -> Result<String, Refusal> {
    if let Some(wanted) = wanted {
        return Ok(wanted.to_owned());
    }
    let known = status.and_then(|status| status.database.as_ref()).map(|database| database.needs.as_slice());
    let of_target = known.unwrap_or_default().iter().filter(|need| {
        target
            .versions
            .iter()
            .any(|(id, version)| policy.component(*id).name == need.component && version.to_string() == need.version)
    });
    let mut revisions: Vec<&str> = of_target.map(|need| need.revision.as_str()).collect();
    revisions.sort_unstable();
    revisions.dedup();
    match revisions.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(refused(
            Exit::Versions,
            format!(
                "which revision {} needs is not known: the hook never ran for it, and no PlatformRelease says it \
                 (schemaRevision)",
                target.name
            ),
        )),
        several => Err(refused(
            Exit::Versions,
            format!("the versions of {} need different revisions: {}", target.name, several.join(", ")),
        )),
    }
}

/// What is to be undone: from where the database is down to `needed`. The image has to have both.
///
/// # Errors
/// When the policy forbids it, or this image cannot do it.
pub async fn look(settings: &Settings, needed: &str, report: &mut dyn Report) -> Result<Plan, Refusal> {
    if settings.spec.downgrade == Downgrade::Forbid {
        let message = "the policy forbids to undo migrations (spec.database.migrations.downgrade): the way back is the \
                       older version on the newer schema, or a restored backup";
        return Err(refused(Exit::Policy, message.to_owned()));
    }
    if !settings.alembic {
        return Err(refused(Exit::Policy, "only Alembic's migrations can be undone by this".to_owned()));
    }
    let connection = Connection::open(settings.address.url(), "upgrade-guard", ANSWER).await?;
    let found = revision::read(&connection, &settings.noted).await?;
    let graph = graph::alembic::read(&settings.migrator, ANSWER).await?;
    report.say(STEP, Stage::Progress, format!("{found}, and has to go back to {needed}"));
    let from = found.heads();
    let [current] = from.as_slice() else {
        return Err(refused(Exit::Versions, format!("{found}: only from one revision can be gone back")));
    };
    if graph.get(current).is_none() {
        return Err(PlanError::NotInImage { revision: current.clone() }.into());
    }
    let Some(mut steps) = plan::ahead(&graph, current, needed) else {
        let message = format!("{needed} does not come before {current} in this image: there is no way back to it");
        return Err(refused(Exit::Versions, message));
    };
    steps.reverse();
    let digest = plan::digest(&steps.iter().filter_map(|step| graph.get(step)).collect::<Vec<_>>());
    Ok(Plan { from: from.clone(), to: vec![needed.to_owned()], steps, digest, ..Plan::default() })
}

/// Whether nothing runs, or is asked for, that needs more than `needed`: it would break under its feet.
///
/// # Errors
/// What runs.
pub fn nobody_uses(
    policy: &Policy,
    view: &View,
    status: Option<&PlatformStatus>,
    needed: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let known = status.and_then(|status| status.database.as_ref()).map(|database| database.needs.as_slice());
    let known = known.unwrap_or_default();
    for id in policy.ids().filter(|id| policy.component(*id).uses_database) {
        let name = &policy.component(id).name;
        // A workload at zero pods asks for a version that nobody runs.
        let running = view.component(id).running();
        let live = running.iter().filter(|(_, pods)| **pods > 0).map(|(version, _)| *version);
        let intended = view.component(id).live(now).filter(|_| view.component(id).has_pods());
        for version in live.chain(intended) {
            let is_fine = known
                .iter()
                .any(|need| need.component == *name && need.version == version.to_string() && need.revision == needed);
            if !is_fine {
                let message = format!(
                    "{name} {version} runs, and needs what would be undone: scale {name} to 0 first, and roll it back \
                     after this"
                );
                return Err(refused(Exit::Policy, message));
            }
        }
    }
    Ok(())
}

fn refused(exit: Exit, line: String) -> Refusal {
    Refusal { exit, lines: vec![line] }
}
