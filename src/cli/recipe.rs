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
use crate::hook::recipe::{Crds, Engine, Recipe, SecretKey, render};

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

    /// The `PlatformRelease` to prepare and to verify, by name.
    #[arg(long, value_name = "NAME")]
    release: String,

    /// An image that holds the CRDs, such as the new one of a component: the Job runs in it.
    #[arg(long, value_name = "IMAGE", requires = "crds_path", conflicts_with = "crds_config_map")]
    crds_image: Option<String>,

    /// The file or folder with CRDs in that image.
    #[arg(long, value_name = "PATH", requires = "crds_image")]
    crds_path: Option<String>,

    /// A `ConfigMap` of the namespace that holds the CRDs.
    #[arg(long, value_name = "NAME")]
    crds_config_map: Option<String>,

    /// The new image of the component that has the migrations, for a policy that says how the database is migrated
    /// (spec.database.migrations): the Job before the upgrade runs in it.
    #[arg(long, value_name = "IMAGE", requires = "database_secret")]
    migrate_image: Option<String>,

    /// A Secret of the namespace that holds the URL of the database, for releases that name a schemaRevision and to
    /// migrate.
    #[arg(long, value_name = "NAME")]
    database_secret: Option<String>,

    /// The key of the URL in that Secret.
    #[arg(long, value_name = "KEY", default_value = "DATABASE_URL", requires = "database_secret")]
    database_key: String,

    /// Write the files into this folder instead of printing them.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EngineName {
    /// `PreSync` and `PostSync` hooks.
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
    let database = args.database_secret.clone().map(|name| SecretKey { name, key: args.database_key.clone() });
    let migrate_image = args.migrate_image.clone();
    Ok(Recipe { policy, namespace, image, release, crds, crd_names, database, migrate_image })
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::hook::recipe::arguments;

    fn args(more: &[&str]) -> Args {
        let start = ["upgrade-guard", "recipe", "argocd", "--image", "guard:1", "--release", "stoa-2.3"];
        match Cli::try_parse_from(start.iter().chain(more)).unwrap().command {
            Command::Recipe(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn stoa(more: &[&str]) -> Vec<String> {
        let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/policies/stoa.yaml");
        ["--policy", policy].iter().chain(more).map(|text| (*text).to_owned()).collect()
    }

    fn made(more: &[&str]) -> anyhow::Result<Recipe> {
        let more = stoa(more);
        recipe(&args(&more.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    #[test]
    fn the_jobs_give_options_that_exist() {
        let image = Crds::Image { image: "api:2".to_owned(), path: "/crds".to_owned() };
        for crds in [None, Some(image), Some(Crds::ConfigMap("crds".to_owned()))] {
            let mut recipe = Recipe { crds, ..made(&[]).unwrap() };
            recipe.policy.spec.database = serde_json::from_value(serde_json::json!({
                "components": ["control-plane-api"], "revisionTable": "a.b", "migrations": {"urlVariable": "URL"},
            }))
            .unwrap();
            for arguments in arguments(&recipe) {
                let line = ["upgrade-guard".to_owned()].into_iter().chain(arguments.clone());
                Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            }
        }
        Cli::try_parse_from(["upgrade-guard", "install", "/guard-bin/upgrade-guard"]).unwrap();
    }

    #[test]
    fn a_policy_in_a_file_says_the_rest() {
        let recipe = made(&["--crds-config-map", "stoa-crds"]).unwrap();
        assert_eq!((name_of(&recipe.policy), &*recipe.namespace), ("stoa", "stoa-system"));
        assert_eq!(recipe.crds, Some(Crds::ConfigMap("stoa-crds".to_owned())));
        let of_policy = recipe.policy.spec.components.iter().flat_map(|component| component.crds.iter().cloned());
        assert_eq!(recipe.crd_names, of_policy.collect());
    }

    #[test]
    fn crds_of_the_release_count_too() {
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        let release = "apiVersion: guard.gostoa.dev/v1alpha1\nkind: PlatformRelease\nmetadata: {name: NAME}\nspec:\n  \
                       policy: stoa\n  version: '2.3'\n  components: [{name: portal, version: 2.3.0}]\n  \
                       crds: [{name: NAME.gostoa.dev}]\n";
        let stoa =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/policies/stoa.yaml")).unwrap();
        let releases = ["stoa-2.2", "stoa-2.3"].map(|name| release.replace("NAME", name));
        write!(file, "{stoa}\n---\n{}---\n{}", releases[0], releases[1]).unwrap();
        let recipe = recipe(&args(&["--policy", file.path().to_str().unwrap()])).unwrap();
        assert!(recipe.crd_names.contains("stoa-2.3.gostoa.dev"), "{:?}", recipe.crd_names);
        assert!(!recipe.crd_names.contains("stoa-2.2.gostoa.dev"), "{:?}", recipe.crd_names);
    }

    #[test]
    fn what_cannot_be_meant_says_so() {
        let told = |more: &[&str]| {
            let error = format!("{:#}", made(more).unwrap_err());
            error.replace(concat!(env!("CARGO_MANIFEST_DIR"), "/"), "")
        };
        assert_eq!(
            told(&["-n", "other"]),
            "manifests/policies/stoa.yaml has no UpgradePolicy for namespace other. It has: stoa"
        );
    }

    #[test]
    fn options_that_belong_together_are_asked_for() {
        let start = ["upgrade-guard", "recipe", "helm", "--image", "guard:1", "--release", "stoa-2.3"];
        for more in [
            &[][..],
            &["--policy", "a", "--crds-image", "api:2"],
            &["--policy", "a", "--crds-path", "/crds"],
            &["--policy", "a", "--migrate-image", "api:2"],
            &["--policy", "a", "--crds-image", "api:2", "--crds-path", "/crds", "--crds-config-map", "crds"],
        ] {
            assert!(Cli::try_parse_from(start.iter().chain(more)).is_err(), "{more:?}");
        }
    }
}
