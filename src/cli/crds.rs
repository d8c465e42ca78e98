//! `upgrade-guard crds`: the custom resource definitions as YAML.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::{Outcome, Output};
use crate::api;

/// Print the custom resource definitions, or write each to a file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one file for each into this folder instead of printing them.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Each definition's file name and YAML.
///
/// # Errors
/// When a definition cannot be written as YAML.
pub fn documents() -> anyhow::Result<Vec<(String, String)>> {
    let documents = api::definitions().into_iter().map(|crd| {
        let yaml =
            serde_saphyr::to_string(&crd).with_context(|| format!("cannot write {} as YAML", crd.spec.names.kind))?;
        Ok((format!("{}.yaml", crd.spec.names.plural), yaml))
    });
    documents.collect()
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let documents = documents()?;
    let Some(dir) = &args.dir else {
        for (_, yaml) in documents {
            write!(out, "---\n{yaml}")?;
        }
        return Ok(Outcome::Done);
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for (name, yaml) in documents {
        let path = dir.join(name);
        std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    Ok(Outcome::Done)
}
