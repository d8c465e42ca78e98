//! `upgrade-guard crds apply`: brings the guard's own CRDs about, as the chart's hook does before an upgrade.

use anyhow::Context as _;
use jiff::SignedDuration;
use kube::ResourceExt as _;

use super::api;
use crate::cli::input::live;
use crate::cli::news::{Format, Printer};
use crate::cli::{Outcome, Output};
use crate::crds::apply::{self, Action, Applied, CrdError, Options};
use crate::crds::check::{Check, Severities, Severity};
use crate::crds::source::Wanted;
use crate::hook::Exit;
use crate::report::{Report as _, Stage};

/// Bring the guard's own custom resource definitions up to date in the cluster.
///
/// They are compared with what is installed, the objects in the cluster are held against them, and only what is safe is
/// applied; nothing is ever deleted. This may be run again at any time. Fields that others own, such as Helm from a first
/// install, are taken over.
///
/// Exit code 0: they are in place. 1: a check stands against them, and nothing was changed. 2: it could not be done.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Take a check as a warning, by the name that the refusal tells, after a look at what it found; see
    /// `upgrade-guard crds checks`.
    #[arg(long, value_name = "CHECK", value_parser = check)]
    accept: Vec<&'static str>,

    /// Show what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// How long the CRDs may take to be served, for example 2m.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = crate::api::duration)]
    timeout: SignedDuration,
}

fn check(name: &str) -> Result<&'static str, String> {
    let known = Check::named(name).map(|check| check.row().name);
    known.ok_or_else(|| format!("{name} is no check of CRDs; 'upgrade-guard crds checks' lists them"))
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let accepted = args.accept.iter().map(|name| ((*name).to_owned(), Severity::Warn));
    let options = Options {
        severities: Severities(accepted.collect()),
        take_over: true,
        dry_run: args.dry_run,
        deadline: args.timeout.unsigned_abs(),
    };
    let cluster = live::Cluster::connect()?;
    let mut printer = Printer::new(out, Format::Text);
    let wanted = own();
    let applied = cluster.block_on(async |client| apply::apply(&client, &wanted, &options, &mut printer).await);
    match applied {
        Ok(applied) => {
            printer.result(Exit::Done, &summary(&applied, args.dry_run))?;
            Ok(Outcome::Done)
        }
        Err(CrdError::Refused(refusals)) => {
            let many = refusals.len();
            let message = format!(
                "{many} found against them, and nothing was changed. `--accept CHECK` (in the chart: crds.accept) takes one as a \
                 warning"
            );
            printer.result(Exit::Policy, &message)?;
            Ok(Outcome::Refused)
        }
        Err(error) => {
            printer.say("crds", Stage::Failed, error.to_string());
            Err(error).context("the guard's CRDs are not in place")
        }
    }
}

/// The definitions of this program.
fn own() -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = api::definitions()
        .into_iter()
        .map(|definition| Wanted {
            definition,
            origin: concat!("upgrade-guard ", env!("CARGO_PKG_VERSION")).to_owned(),
        })
        .collect();
    wanted.sort_by_key(|wanted| wanted.definition.name_any());
    wanted
}

fn summary(applied: &Applied, dry_run: bool) -> String {
    let count = |action| applied.crds.iter().filter(|crd| crd.action == action).count();
    let (created, updated, unchanged) = (count(Action::Created), count(Action::Updated), count(Action::Unchanged));
    let would = if dry_run { "would be: " } else { "" };
    format!("{would}{created} created, {updated} updated, {unchanged} unchanged")
}
