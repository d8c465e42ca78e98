//! `upgrade-guard release`: let go what the guard holds, also where the guard is gone.

use std::io::{self, Write};

use anyhow::{Context, bail};
use kube::Client;

use super::reasons::counted;
use super::{Outcome, Output};
use crate::controller::holds::{self, Held, Tried};

/// Let go the rollouts that the guard holds.
///
/// A running guard judges each as the rollout it is, and lets it go by itself when the rules allow it; so this is for
/// where it is gone. Exit code 0: nothing named is held any more. 1: something stays held. 2: that could not be told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The namespace to look in, instead of the one of the kubeconfig.
    #[arg(short, long, conflicts_with = "all_namespaces")]
    namespace: Option<String>,

    /// Look in all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Only show what is held.
    #[arg(long)]
    dry_run: bool,

    /// The workloads to let go; all that are held where none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime")?.block_on(release(args, out))
}

async fn release(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let client = Client::try_default().await.context("cannot tell which cluster is meant: is there a kubeconfig?")?;
    let namespace = args.namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let scope = (!args.all_namespaces).then_some(namespace);
    let mut found = holds::list(&client, scope).await?;
    if let Some(missing) = args.names.iter().find(|name| !found.iter().any(|held| held.name == **name)) {
        bail!("nothing named '{missing}' is held{}", scope.map(|name| format!(" in {name}")).unwrap_or_default());
    }
    found.retain(|held| args.names.is_empty() || args.names.contains(&held.name));
    let mut told = Vec::with_capacity(found.len());
    for held in found {
        let tried = if args.dry_run { None } else { Some(holds::release(&client, &held).await?) };
        told.push((held, tried));
    }
    print(&told, out)?;
    let stays = told.iter().any(|(_, tried)| tried.as_ref().is_some_and(|tried| *tried != Tried::LetGo));
    Ok(if stays { Outcome::Refused } else { Outcome::Done })
}

/// Prints each workload with what became of it; `None` where nothing was tried.
fn print(told: &[(Held, Option<Tried>)], out: &mut Output<'_>) -> io::Result<()> {
    if told.is_empty() {
        return writeln!(out, "nothing is held");
    }
    let paint = out.paint;
    let name = |held: &Held| format!("{} {}", held.namespace, held.id());
    let width = told.iter().map(|(held, _)| name(held).len()).max().unwrap_or_default();
    for (held, tried) in told {
        let holds = |hold: &crate::cluster::hold::Hold| format!("[{}] {}", hold.rule, hold.waits_for);
        let said = match tried {
            None => format!("{}: {}", paint.caution("held"), holds(&held.hold)),
            Some(Tried::LetGo) => paint.good("let go"),
            Some(Tried::HeldAgain(hold)) => format!("{}: {}", paint.caution("stays held"), holds(hold)),
            Some(Tried::Refused(text)) => format!("{}: {text}", paint.bad("refused")),
            Some(Tried::Changed) => format!("{}: it was changed at the same time, try again", paint.caution("held")),
        };
        writeln!(out, "{:width$}  {said}", name(held))?;
    }
    let stays = told.iter().filter(|(_, tried)| tried.as_ref().is_some_and(|tried| *tried != Tried::LetGo)).count();
    if stays > 0 {
        let whom = if stays == 1 { "it" } else { "them" };
        writeln!(
            out,
            "\n{} still held: a guard runs, and lets {whom} go when the rules allow it",
            counted(stays, "workload")
        )?;
    }
    Ok(())
}
