//! How a database is migrated, read from a policy in a file.

use anyhow::{Context as _, anyhow, bail};
use kube::ResourceExt;

use crate::api::UpgradePolicy;
use crate::cluster::documents::Source;
use crate::cluster::files::Manifests;
use crate::domain::policy::Policy;
use crate::hook::migrations::settings::Settings;

/// The policy that says how the database is migrated.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PolicyFile {
    /// The file with the `UpgradePolicy` that says how (spec.database), or '-' for standard input.
    #[arg(long, value_name = "PATH")]
    policy_file: Source,

    /// Its name, where the file holds several.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
}

impl PolicyFile {
    /// The only one with a database in `policy_file`.
    pub(in crate::cli) fn of(policy_file: Source) -> Self {
        Self { policy_file, policy: None }
    }

    /// What the policy says, for the database that the environment names.
    pub(in crate::cli) fn settings(&self) -> anyhow::Result<Settings> {
        let files = Manifests::load(std::slice::from_ref(&self.policy_file), Some("default"))?;
        let policies = files.policies.into_iter().map(|found| found.object);
        let policies: Vec<UpgradePolicy> = policies
            .filter(|policy| self.policy.as_ref().is_none_or(|name| policy.name_any() == *name))
            .filter(|policy| policy.spec.database.is_some())
            .collect();
        let source = &self.policy_file;
        let policy = match policies.as_slice() {
            [only] => only,
            [] => bail!("{source} holds no such UpgradePolicy with a database (spec.database)"),
            several => {
                let names: Vec<String> = several.iter().map(ResourceExt::name_any).collect();
                bail!("{source} holds several; name one with --policy: {}", names.join(", "));
            }
        };
        let name = policy.name_any();
        // Everything that is wrong with the policy is told, not only what is in the way here.
        Policy::try_from(policy).map_err(|error| anyhow!(error)).with_context(|| format!("UpgradePolicy {name}"))?;
        let migrations =
            policy.spec.database.as_deref().and_then(|database| Some((database, database.migrations.as_ref()?)));
        let Some((database, migrations)) = migrations else {
            bail!("UpgradePolicy {name} does not say how its database is migrated (spec.database.migrations)");
        };
        let keeper = std::env::current_exe().context("cannot tell where this program is")?;
        Ok(Settings::read(database, migrations, Some(keeper), |name| std::env::var(name).ok())?)
    }
}
