//! `upgrade-guard exec`: becomes another program that ends when its parent does.

use std::os::unix::process::{CommandExt as _, parent_id};
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{Outcome, Output};

/// Become another program, which the kernel kills when the process that called this one is gone.
///
/// For the hook: a migration must not go on after the process that holds its lock was killed.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// The process that has to be there.
    #[arg(long)]
    parent: u32,

    /// The program and its arguments.
    #[arg(required = true, last = true)]
    command: Vec<std::ffi::OsString>,
}

pub(super) fn run(args: &Args, _: &mut Output<'_>) -> anyhow::Result<Outcome> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask the kernel to end this with its parent")?;
    // The parent may have gone before the kernel knew.
    if parent_id() != args.parent {
        bail!("the process {} that called this is gone", args.parent);
    }
    let (program, arguments) = args.command.split_first().context("names no program")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run '{}'", program.display()))
}
