//! `upgrade-guard webhook`: the webhook configurations as YAML.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::{Outcome, Output};
use crate::admission::registration::{Endpoint, MUTATE, VALIDATE, mutating, validating};

/// Print the webhook configurations: for the service in the cluster, or for a guard at a URL.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the API server finds the guard, for example <https://127.0.0.1:9443>, instead of by its service.
    #[arg(long)]
    url: Option<String>,

    /// A file with the CA certificates that the guard's certificate is verified with.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// The YAML of both configurations.
///
/// # Errors
/// When the CA file cannot be read.
pub fn document(args: &Args) -> anyhow::Result<String> {
    let endpoint = args.url.clone().map_or(Endpoint::Service, Endpoint::Url);
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let ca = args.ca_file.as_ref().map(read).transpose()?;
    let at = |path| endpoint.client_config(path, ca.as_deref());
    let [validating, mutating] =
        [serde_saphyr::to_string(&validating(&at(VALIDATE))), serde_saphyr::to_string(&mutating(&at(MUTATE)))]
            .map(|yaml| yaml.context("cannot write the webhook configuration as YAML"));
    Ok(format!("{}---\n{}", validating?, mutating?))
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    write!(out, "{}", document(args)?)?;
    Ok(Outcome::Done)
}
