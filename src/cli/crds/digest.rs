//! `upgrade-guard crds digest`: what a release says of its CRDs.

use std::io::Write as _;

use kube::ResourceExt as _;

use crate::cli::input::standard_input_once;
use crate::cli::{Outcome, Output};
use crate::cluster::files::Source;
use crate::crds::content;

/// Print the name and the digest of each CRD, for `spec.crds` of a release.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// CRDs: files, folders or '-' for standard input.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<Source>,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    standard_input_once(args.paths.iter())?;
    let definitions = super::wanted(&args.paths)?;
    let width = definitions.iter().map(|found| found.object.name_any().len()).max().unwrap_or_default();
    for found in &definitions {
        writeln!(out, "{:width$}  {}", found.object.name_any(), content::digest(&found.object))?;
    }
    Ok(Outcome::Done)
}
