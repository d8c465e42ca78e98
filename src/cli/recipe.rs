//! `upgrade-guard recipe`: the manifests that run the hook, for Argo CD, Flux or Helm.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};

use super::input::live;
use super::{Outcome, Output};
use crate::api::{PlatformRelease, UpgradePolicy};
use crate::cluster::files::{Manifests, Source};
use crate::domain::policy::Policy;
use crate::hook::recipe::{Crds, Engine, Recipe, render};

/// Print the manifests of the Jobs that run before and after an upgrade, with the rights that they need and no others.
///
/// The Job before it runs `upgrade-guard presync`, the one after it `upgrade-guard verify --wait`. Both are told the
/// policy and the release by name, and read them in the cluster.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What applies the manifests.
    #[arg(value_enum)]
    engine: EngineName,

    /// The policy, and its releases where they are at hand: a file, a folder or '-' for standard input. With --live
    /// the name of a policy in the cluster, which may be left out where one governs the namespace.
    #[arg(long, value_name = "PATH|NAME", required_unless_present = "live")]
    policy: Option<String>,

    /// Take the policy and the release from the cluster that the kubeconfig names.
    #[arg(long)]
    live: bool,

    /// The namespace of the install; needed where the policy governs several.
    #[arg(short, long)]
    namespace: Option<String>,

    /// The image of the guard; its entrypoint is this program.
    #[arg(long)]
    image: String,

    /// The PlatformRelease to prepare and to verify, by name.
    #[arg(long, value_name = "NAME")]
    release: String,

    /// An image that holds the CRDs, such as the new one of a component: the Job runs in it.
    #[arg(long, value_name = "IMAGE", requires = "crds_path", conflicts_with = "crds_config_map")]
    crds_image: Option<String>,

    /// The file or folder with CRDs in that image.
    #[arg(long, value_name = "PATH", requires = "crds_image")]
    crds_path: Option<String>,

    /// A ConfigMap of the namespace that holds the CRDs.
    #[arg(long, value_name = "NAME")]
    crds_config_map: Option<String>,

    /// Write the files into this folder instead of printing them.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EngineName {
    /// PreSync and PostSync hooks.
    Argocd,
    /// Kustomizations, one after the other.
    Flux,
    /// Hooks for a chart's templates.
    Helm,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Argocd => Self::ArgoCd,
            EngineName::Flux => Self::Flux,
            EngineName::Helm => Self::Helm,
        }
    }
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let files = render(&recipe(args)?, args.engine.into())?;
    for file in files {
        let Some(dir) = &args.dir else {
            write!(out, "---\n# {}\n{}", file.path, file.yaml)?;
            continue;
        };
        let path = dir.join(file.path);
        let folder = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        std::fs::write(&path, file.yaml).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    Ok(Outcome::Done)
}

/// What is asked for, from files or from the cluster.
fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    let (policies, releases) = given(args)?;
    let policy = chosen(args, policies)?;
    if let Err(problems) = Policy::try_from(&policy) {
        bail!("UpgradePolicy {} cannot be used: {problems}", name_of(&policy));
    }
    let namespace = match (&args.namespace, policy.spec.namespaces.as_slice()) {
        (Some(namespace), governed) if governed.contains(namespace) => namespace.clone(),
        (None, [only]) => only.clone(),
        (Some(namespace), governed) => {
            let (name, governed) = (name_of(&policy), governed.join(", "));
            bail!("policy {name} does not govern namespace {namespace}. It governs {governed}");
        }
        (None, governed) => {
            let (name, governed) = (name_of(&policy), governed.join(", "));
            bail!("policy {name} governs several namespaces, {governed}: name one with -n");
        }
    };
    let crds = match (&args.crds_image, &args.crds_path, &args.crds_config_map) {
        (Some(image), Some(path), _) => Some(Crds::Image { image: image.clone(), path: path.clone() }),
        (_, _, Some(name)) => Some(Crds::ConfigMap(name.clone())),
        _ => None,
    };
    let of_policy = policy.spec.components.iter().flat_map(|component| component.crds.iter().cloned());
    let meant = releases.iter().filter(|release| release.metadata.name.as_ref() == Some(&args.release));
    let of_release = meant.flat_map(|release| release.spec.crds.iter().map(|crd| crd.name.clone()));
    let crd_names: BTreeSet<String> = of_policy.chain(of_release).collect();
    let (image, release) = (args.image.clone(), args.release.clone());
    Ok(Recipe { namespace, image, release, crds, crd_names, policy })
}

fn given(args: &Args) -> anyhow::Result<(Vec<UpgradePolicy>, Vec<PlatformRelease>)> {
    if args.live {
        let cluster = live::Cluster::connect()?;
        return Ok((cluster.policies()?, cluster.releases()?));
    }
    let source: Source = args.policy.as_deref().unwrap_or_default().parse()?;
    let files = Manifests::load(&[source], Some("default"))?;
    let policies = files.policies.into_iter().map(|found| found.object).collect();
    Ok((policies, files.releases.into_iter().map(|found| found.object).collect()))
}

/// The one policy that is meant: by its name in the cluster, or the one that governs the namespace.
fn chosen(args: &Args, policies: Vec<UpgradePolicy>) -> anyhow::Result<UpgradePolicy> {
    let place = if args.live { "the cluster" } else { args.policy.as_deref().unwrap_or_default() };
    let named = args.policy.as_ref().filter(|_| args.live);
    let known: Vec<&str> = policies.iter().map(name_of).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let meant = |policy: &UpgradePolicy| match (named, &args.namespace) {
        (Some(name), _) => name_of(policy) == name,
        (None, Some(namespace)) => policy.spec.namespaces.contains(namespace),
        (None, None) => true,
    };
    let mut found: Vec<UpgradePolicy> = policies.into_iter().filter(meant).collect();
    match (found.len(), named, &args.namespace) {
        (1, ..) => Ok(found.swap_remove(0)),
        (0, Some(name), _) => bail!("{place} has no UpgradePolicy {name}. It has: {known}"),
        (0, None, Some(namespace)) => bail!("{place} has no UpgradePolicy for namespace {namespace}. It has: {known}"),
        (0, None, None) => bail!("{place} holds no UpgradePolicy"),
        _ if args.live => bail!("several policies could be meant, {known}: name one with --policy"),
        _ => bail!("several policies could be meant, {known}: give a file with one of them"),
    }
}

fn name_of(policy: &UpgradePolicy) -> &str {
    policy.metadata.name.as_deref().unwrap_or_default()
}
