//! `upgrade-guard crds`: the guard's own custom resource definitions as YAML, and what it can tell of others.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;

use super::{Outcome, Output};
use crate::api;
use crate::cluster::files::{Found, Manifests, Source};

mod apply;
mod checks;
mod diff;
mod digest;

pub use checks::markdown;

/// Print the guard's own custom resource definitions, write each to a file or apply them; compare others.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,

    /// Write one file for each into this folder instead of printing them.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    Apply(apply::Args),
    Diff(diff::Args),
    Checks(checks::Args),
    Digest(digest::Args),
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
    match &args.action {
        Some(Action::Apply(args)) => return apply::run(args, out),
        Some(Action::Diff(args)) => return diff::run(args, out),
        Some(Action::Checks(args)) => return checks::run(args, out),
        Some(Action::Digest(args)) => return digest::run(args, out),
        None => {}
    }
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

/// The CRDs in `sources`, each of another name; at least one.
fn wanted(sources: &[Source]) -> anyhow::Result<Vec<Found<CustomResourceDefinition>>> {
    let found = read(sources)?;
    if found.is_empty() {
        let named: Vec<String> = sources.iter().map(ToString::to_string).collect();
        bail!("no CustomResourceDefinition of apiextensions.k8s.io/v1 in {}: nothing to look at", named.join(", "));
    }
    Ok(found)
}

/// The CRDs in `sources`, each of another name.
fn read(sources: &[Source]) -> anyhow::Result<Vec<Found<CustomResourceDefinition>>> {
    // Namespaced objects beside the CRDs are of no interest here, so any namespace will do.
    let found = Manifests::load(sources, Some("default"))?.crds;
    for (index, Found { origin, object }) in found.iter().enumerate() {
        let name = object.name_any();
        if name.is_empty() {
            bail!("{origin}: CustomResourceDefinition without metadata.name: give it one");
        }
        if let Some(earlier) = found[..index].iter().find(|earlier| earlier.object.name_any() == name) {
            bail!(
                "{origin} is CustomResourceDefinition {name} once more, after {}: remove one of them",
                earlier.origin
            );
        }
    }
    Ok(found)
}
