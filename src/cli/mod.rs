//! The command line: one file per subcommand.
//!
//! To add one: a module with `Args` (clap) and `run(&Args, &mut Output)`, a variant of [`Command`] and an arm in
//! [`Cli::run`].

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod certs;
pub mod check;
mod ci;
mod completions;
pub mod crds;
mod demo;
mod exec;
mod init;
mod input;
mod install;
pub mod lint;
pub mod metrics;
mod migrate;
mod news;
mod output;
pub mod plan;
mod preset;
mod presync;
mod reasons;
pub mod recipe;
pub mod reference;
mod release;
pub mod rules;
mod serve;
pub mod status;
pub mod verify;
mod wait;
pub mod webhook;

use output::UntilClosed;
pub use output::{Output, Paint};

use crate::hook::Exit;

/// Keeps a platform of several workloads from being upgraded in the wrong order or too far apart.
#[derive(Debug, Parser)]
#[command(name = "upgrade-guard", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Presync(presync::Args),
    Migrate(migrate::Args),
    Verify(verify::Args),
    Wait(wait::Args),
    Init(init::Args),
    Check(check::Args),
    Plan(plan::Args),
    Lint(lint::Args),
    Status(status::Args),
    Release(release::Args),
    Demo(demo::Args),
    Rules(rules::Args),
    Metrics(metrics::Args),
    Crds(crds::Args),
    Preset(preset::Args),
    Recipe(recipe::Args),
    Install(install::Args),
    Webhook(webhook::Args),
    Certs(certs::Args),
    Exec(exec::Args),
    Completions(completions::Args),
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked for, or the change is allowed: exit code 0.
    Done,
    /// The change is refused, or has no legal way: exit code 1.
    Refused,
    /// What a command of the hook came to: its own exit codes.
    Hook(Exit),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Refused => Self::from(REFUSED),
            Outcome::Hook(exit) => Self::from(exit as u8),
        }
    }
}

const REFUSED: u8 = 1;
/// clap leaves with the same code when it cannot read the command line.
const COULD_NOT_TELL: u8 = 2;

impl Cli {
    /// Runs the command and writes what it has to say to `out`.
    ///
    /// # Errors
    /// When it could not do what it was asked for.
    pub fn run(self, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Serve(args) => serve::run(&args, out),
            Command::Presync(args) => presync::run(&args, out),
            Command::Migrate(args) => migrate::run(&args, out),
            Command::Verify(args) => verify::run(&args, out),
            Command::Wait(args) => wait::run(&args, out),
            Command::Init(args) => init::run(&args, out),
            Command::Check(args) => check::run(&args, out),
            Command::Plan(args) => plan::run(&args, out),
            Command::Lint(args) => lint::run(&args, out),
            Command::Status(args) => status::run(&args, out),
            Command::Release(args) => release::run(&args, out),
            Command::Demo(args) => demo::run(&args, out),
            Command::Rules(args) => rules::run(&args, out),
            Command::Metrics(args) => metrics::run(&args, out),
            Command::Crds(args) => crds::run(&args, out),
            Command::Preset(args) => preset::run(&args, out),
            Command::Recipe(args) => recipe::run(&args, out),
            Command::Install(args) => install::run(&args, out),
            Command::Webhook(args) => webhook::run(&args, out),
            Command::Certs(args) => certs::run(&args, out),
            Command::Exec(args) => exec::run(&args, out),
            Command::Completions(args) => completions::run(&args, &mut Self::command(), out),
        }
    }
}

/// Tells what clap has to say. A command of the hook that cannot be read is not a policy that refuses, and both would be 2.
fn misread(error: &clap::Error) -> ExitCode {
    // Where not even that can be printed, the exit code is what is left.
    let _ = error.print();
    let is_hook =
        std::env::args().nth(1).is_some_and(|name| ["presync", "migrate", "verify", "wait"].contains(&name.as_str()));
    match (error.use_stderr(), is_hook) {
        (false, _) => ExitCode::SUCCESS,
        (true, true) => Outcome::Hook(Exit::CouldNot).into(),
        (true, false) => ExitCode::from(COULD_NOT_TELL),
    }
}

/// Reads the command line, runs what it says and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    // Two TLS providers could be compiled in by feature unification; the choice is made here. An error only says
    // that one was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    let stdout = io::stdout();
    let paint = Paint::for_terminal(&stdout);
    let mut writer = io::BufWriter::new(UntilClosed::new(stdout.lock()));
    let result = cli.run(&mut Output::new(&mut writer, paint));
    match result.and_then(|outcome| writer.flush().map(|()| outcome).map_err(Into::into)) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            for (number, line) in format!("{error:#}").lines().enumerate() {
                eprintln!("{}{line}", if number == 0 { "error: " } else { "       " });
            }
            ExitCode::from(COULD_NOT_TELL)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
