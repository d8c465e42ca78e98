//! `upgrade-guard completions`: what a shell needs to complete this command line.

use super::{Outcome, Output};

/// Print the completions of a shell, to be sourced by it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args, command: &mut clap::Command, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    // The generator panics when it cannot write: it writes to memory, and a closed pipe is an error like any other.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "upgrade-guard", &mut script);
    std::io::Write::write_all(out, &script)?;
    Ok(Outcome::Done)
}
