//! `upgrade-guard migrate`: the database's part of the hook, without a cluster.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};

use super::input::migrations::PolicyFile;
use super::news::{Format, Printer};
use super::{Outcome, Output};
use crate::database::run::on_signals;
use crate::hook::Exit;
use crate::hook::migrations::look::{Look, Refusal, STEP, counted};
use crate::hook::migrations::pods::unseen;
use crate::hook::migrations::run::{self, run as run_plan};
use crate::report::{Report as _, Stage};

/// Migrate a database as `presync` does, without a cluster: for other setups, and for a developer's machine.
///
/// The policy says how (spec.database); the environment variable that it names, or `DATABASE_URL`, says where. What stands
/// against the pending migrations is told before anything runs. Revisions that wait for pods are stopped before, because
/// nobody can tell which pods run. Nothing is recorded.
///
/// Exit code 0: done, or nothing to do. 1: it could not be tried. 2: the policy refuses it. 4: database and image are of
/// different versions. 5: another run is at work; try again. 6: it failed, and left nothing behind. 7: it failed half-way.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    policy: PolicyFile,

    /// The revision to migrate to; the image's only head where it is left out.
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,

    /// Tell what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// How long all of it may take, for example 30m.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = crate::api::duration)]
    timeout: SignedDuration,

    /// How to print what it does.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let mut printer = Printer::new(out, args.output);
    let (exit, message) = match migrated(args, &mut printer) {
        Ok(Ok(message)) => (Exit::Done, message),
        Ok(Err(Refusal { exit, lines })) => {
            let stage = if exit == Exit::CouldNot { Stage::Failed } else { Stage::Refused };
            for line in lines {
                printer.say(STEP, stage, line);
            }
            (exit, "not migrated: see above".to_owned())
        }
        Err(error) => {
            printer.say(STEP, Stage::Failed, format!("{error:#}").replace('\n', "; "));
            (Exit::CouldNot, "not migrated: nothing was changed".to_owned())
        }
    };
    printer.result(exit, &message)?;
    Ok(Outcome::Hook(exit))
}

fn migrated(args: &Args, printer: &mut Printer<'_, '_>) -> anyhow::Result<Result<String, Refusal>> {
    let settings = args.policy.settings()?;
    let limit = args.timeout.unsigned_abs();
    if limit < Duration::from_secs(1) {
        bail!("--timeout leaves no time");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime")?.block_on(async {
        let began = std::time::Instant::now();
        let (wanted, now) = (args.to.as_deref(), Timestamp::now());
        // Nothing is recorded here that could tell what came after this image.
        let look = Look { settings: &settings, wanted, may: &unseen, beyond: &|_| false, now, limit };
        let outlook = match look.look(printer).await {
            Ok(outlook) => outlook,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(plan) = &outlook.plan else { return Ok(Ok("nothing to migrate".to_owned())) };
        if args.dry_run {
            let steps = if plan.steps.is_empty() { String::new() } else { format!(": {}", plan.steps.join(", ")) };
            printer.say(run::STEP, Stage::WouldDo, format!("run {}{steps}", counted(plan.steps.len())));
            return Ok(Ok("this was a dry run, and nothing was changed".to_owned()));
        }
        let stop = on_signals().context("cannot listen to signals")?;
        let ran = run_plan(&settings, &outlook, plan, limit.saturating_sub(began.elapsed()), stop, printer).await;
        let told = Refusal { exit: ran.exit, lines: vec![] };
        Ok(if ran.exit == Exit::Done { Ok(ran.message) } else { Err(told) })
    })
}
