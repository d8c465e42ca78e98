//! `upgrade-guard presync`: what has to be there before a sync, brought about or refused.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};

use super::input::governed::Governed;
use super::input::{live, standard_input_once, values};
use super::news::{Format, Printer};
use super::plan::target::{Asked, Target as Text};
use super::{Outcome, Output};
use crate::cluster::documents::Source;
use crate::cluster::files::{Install, Manifests};
use crate::crds::source::CrdSource;
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::version::Version;
use crate::hook::migrations::settings::{self, Settings};
use crate::hook::presync::target::Target;
use crate::hook::presync::{self, Database, Ended, Errand};
use crate::hook::{Exit, own_image, who};
use crate::report::{Report as _, Stage};

/// Look at every precondition of an upgrade and bring about its CRDs, before anything is synced.
///
/// Argo CD, Flux and Helm run it as a Job (see `upgrade-guard recipe`). What it found and did is recorded on the Platform,
/// where the webhook looks for it. It may be run again at any time, also after it was killed.
///
/// Exit code 0: done, or nothing to do. 1: it could not be tried. 2: a rule, a breaking change, a freeze window, an unsafe
/// change of a CRD or an unsafe migration stands against it. 3: a precondition does not hold. 4: what was given, or the
/// database and the image, are of different versions. 5: another run migrates the database; try again. 6: a migration
/// failed, and left nothing behind. 7: a migration failed half-way.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The `UpgradePolicy`; needed where several govern the namespace.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,

    /// The namespace of the install; that of the kubeconfig or the Job where it is left out.
    #[arg(short, long)]
    namespace: Option<String>,

    #[command(flatten)]
    goal: Goal,

    /// The CRDs of the target: a file, a folder (of this container: CRDs inside an image), '-' for standard input, or
    /// `configmap:[NAMESPACE/]NAME`.
    #[arg(long, value_name = "SOURCE")]
    crds: Vec<CrdSource>,

    /// Take over fields of CRDs that another field manager owns, such as those that Helm once created.
    #[arg(long)]
    take_over: bool,

    #[command(flatten)]
    migrations: Migrations,

    /// Show what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// How long all of it may take, for example 15m.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = crate::api::duration)]
    timeout: SignedDuration,

    /// How to print what it does.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What is done with the database, where the policy says how it is migrated.
#[derive(Debug, clap::Args)]
struct Migrations {
    /// Do not migrate the database, although the policy says how: something else does, such as `upgrade-guard migrate`.
    #[arg(long)]
    skip_migrations: bool,

    /// Undo migrations, down to the revision that the target needs. Only where the policy allows it
    /// (spec.database.migrations.downgrade), in an image that has them, after the preconditions of an upgrade.
    #[arg(long, conflicts_with = "skip_migrations")]
    rollback: bool,
}

/// Where the upgrade goes. What is given in several ways must be the same.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Goal {
    /// A `PlatformRelease`, by its name or its version.
    #[arg(long, value_name = "NAME")]
    release: Option<String>,

    /// COMPONENT=VERSION, or a version for all components of its major.
    #[arg(long, value_name = "TARGET", num_args = 1..)]
    to: Vec<Text>,

    /// The versions that these manifests ask for: a file, a folder or '-' for standard input.
    #[arg(short = 'f', long, value_name = "PATH")]
    manifests: Vec<Source>,

    /// The versions that the images in these values of a Helm chart ask for.
    #[arg(long, value_name = "PATH")]
    values: Vec<Source>,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let mut printer = Printer::new(out, args.output);
    let ended = match prepared(args, &mut printer) {
        Ok(ended) => ended,
        Err(error) => {
            let (exit, message) = match error.downcast_ref::<Different>() {
                Some(different) => (Exit::Versions, different.to_string()),
                None => (Exit::CouldNot, format!("{error:#}")),
            };
            let stage = if exit == Exit::Versions { Stage::Refused } else { Stage::Failed };
            printer.say("target", stage, message.replace('\n', "; "));
            Ended { exit, message: "not prepared: nothing was changed".to_owned() }
        }
    };
    printer.result(ended.exit, &ended.message)?;
    Ok(Outcome::Hook(ended.exit))
}

/// What was asked for in several ways is of different versions.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Different(String);

fn prepared(args: &Args, printer: &mut Printer<'_, '_>) -> anyhow::Result<Ended> {
    standard_input_once(args.goal.manifests.iter().chain(&args.goal.values))?;
    let cluster = live::Cluster::connect()?;
    cluster.block_on(async |client| {
        let governed = Governed::read(&cluster, args.policy.as_deref(), args.namespace.as_deref()).await?;
        let target = args.goal.target(&governed)?;
        let release = args.goal.release.as_deref().and_then(|name| governed.release(name));
        let releases = governed.policy.lines.releases();
        let errand = Errand {
            policy: &governed.policy,
            spec: &governed.spec,
            namespace: &governed.namespace,
            inventory: &governed.install.inventory,
            release: release.and_then(|release| releases.iter().find(|known| known.name == release.spec.version)),
            schema_revision: release.and_then(|release| release.spec.schema_revision.clone()),
            database: args.database(&governed)?,
            rollback: args.migrations.rollback,
            image: own_image(&client).await,
            target,
            crds: &args.crds,
            take_over: args.take_over,
            dry_run: args.dry_run,
            by: who(&client).await,
            deadline: args.timeout.unsigned_abs(),
        };
        Ok(Box::pin(presync::run(&client, &errand, printer)).await?)
    })
}

impl Args {
    /// What is to be done with the database.
    fn database(&self, governed: &Governed) -> anyhow::Result<Database> {
        let Some(spec) = &governed.spec.database else { return Ok(Database::None) };
        let environment = |name: &str| std::env::var(name).ok();
        if let Some(migrations) = spec.migrations.as_ref().filter(|_| !self.migrations.skip_migrations) {
            let keeper = std::env::current_exe().context("cannot tell where this program is")?;
            let settings = Settings::read(spec, migrations, Some(keeper), environment);
            let settings = settings.context("the database cannot be migrated (--skip-migrations leaves that out)")?;
            return Ok(Database::Migrate(Box::new(settings)));
        }
        let address = settings::address(spec, environment)?;
        Ok(address.map_or(Database::None, |address| Database::Look(Box::new((address, settings::noted(spec))))))
    }
}

type Versions = BTreeMap<ComponentId, Version>;

impl Goal {
    /// The target that all of it means.
    fn target(&self, governed: &Governed) -> anyhow::Result<Target> {
        let Governed { policy, namespace, .. } = governed;
        let view = governed.install.inventory.view(policy, Timestamp::now());
        let asked = |texts: &[Text], manifests: Option<&Install>| {
            let asked = Asked { texts, manifests, releases: &governed.releases };
            asked.versions(policy, &view).map_err(anyhow::Error::msg)
        };
        let mut given: Vec<(String, Versions)> = Vec::new();
        if let Some(name) = &self.release {
            if governed.release(name).is_none() {
                bail!("policy {} has no PlatformRelease {name}", policy.name);
            }
            given.push((format!("release {name}"), asked(&[Text::All(name.clone())], None)?));
        }
        if !self.to.is_empty() {
            given.push(("--to".to_owned(), asked(&self.to, None)?));
        }
        if !self.manifests.is_empty() {
            let manifests = Manifests::load(&self.manifests, Some(namespace.as_str()))?;
            let install = manifests.namespaces.get(namespace);
            let install = install.with_context(|| format!("the manifests hold nothing of namespace {namespace}"))?;
            given.push(("the manifests".to_owned(), asked(&[], Some(install))?));
        }
        if !self.values.is_empty() {
            given.push(("the values".to_owned(), self.of_values(policy)?));
        }
        self.agreed(policy, given)
    }

    fn of_values(&self, policy: &Policy) -> anyhow::Result<Versions> {
        let mut all = Versions::new();
        // Like Helm: what comes later wins.
        for source in &self.values {
            all.extend(values::versions(policy, &values::read(source)?).map_err(anyhow::Error::msg)?);
        }
        if all.is_empty() {
            bail!("the values hold no image of a component of policy {}", policy.name);
        }
        Ok(all)
    }

    /// All versions, where no two ways to say them differ.
    fn agreed(&self, policy: &Policy, given: Vec<(String, Versions)>) -> anyhow::Result<Target> {
        let mut all: BTreeMap<ComponentId, (Version, String)> = BTreeMap::new();
        let mut different = Vec::new();
        for (by, versions) in given {
            for (id, version) in versions {
                match all.get(&id) {
                    Some((other, earlier)) if *other != version => {
                        let name = &policy.component(id).name;
                        different.push(format!("{earlier} says {name} {other}, {by} {version}"));
                    }
                    Some(_) => {}
                    None => _ = all.insert(id, (version, by.clone())),
                }
            }
        }
        if !different.is_empty() {
            return Err(Different(different.join("; ")).into());
        }
        let versions: Versions = all.into_iter().map(|(id, (version, _))| (id, version)).collect();
        let listed = || {
            let each = versions.iter().map(|(id, version)| format!("{} {version}", policy.component(*id).name));
            each.collect::<Vec<_>>().join(", ")
        };
        let name = self.release.clone().unwrap_or_else(listed);
        Ok(Target { name, versions })
    }
}
