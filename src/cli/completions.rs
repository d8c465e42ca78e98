//! `upgrade-guard completions`: what a shell needs to complete this command line.

use super::{Outcome, Output};

/// Print the completions of a shell, to be sourced by it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(required_unless_present = "markdown")]
    shell: Option<clap_complete::Shell>,

    /// Print all commands with their options as a Markdown page instead.
    #[arg(long, conflicts_with = "shell")]
    markdown: bool,
}

pub(super) fn run(args: &Args, command: &mut clap::Command, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let Some(shell) = args.shell.filter(|_| !args.markdown) else {
        std::io::Write::write_all(out, super::reference::markdown().as_bytes())?;
        return Ok(Outcome::Done);
    };
    // The generator panics when it cannot write: it writes to memory, and a closed pipe is an error like any other.
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "upgrade-guard", &mut script);
    std::io::Write::write_all(out, &script)?;
    Ok(Outcome::Done)
}
