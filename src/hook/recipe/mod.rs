//! The manifests of the hook's Jobs, for Argo CD, Flux and Helm, from one source.
//!
//! `objects` builds the Jobs with their accounts and rights, the same for every engine; `engine` adds what an engine
//! wants: its annotations, its files and what a reader should know of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::UpgradePolicy;

mod engine;
mod migrate;
mod objects;
mod rights;
#[cfg(test)]
mod tests;

/// Whose manifests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `PreSync` and `PostSync` hooks of an Application.
    ArgoCd,
    /// Kustomizations that depend on each other.
    Flux,
    /// Hooks of a chart.
    Helm,
}

/// What the Jobs are made for.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The policy; its name, its components' CRDs and its preconditions matter.
    pub policy: UpgradePolicy,
    /// The namespace of the install, in which the Jobs run.
    pub namespace: String,
    /// The image of the guard; its entrypoint is the program.
    pub image: String,
    /// The name of the `PlatformRelease` to prepare and to verify.
    pub release: String,
    /// Where the Job finds the CRDs, if it has any to apply.
    pub crds: Option<Crds>,
    /// The names of all CRDs that the Job may look at and apply.
    pub crd_names: BTreeSet<String>,
    /// Where the URL of the database is, for releases that name a revision of its schema, and to migrate it.
    pub database: Option<SecretKey>,
    /// The new image of the component that has the migrations: the Job runs in it, with the guard's program put beside.
    pub migrate_image: Option<String>,
}

/// A key of a Secret in the install's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The Secret.
    pub name: String,
    /// The key.
    pub key: String,
}

/// Where the Job finds the CRDs of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Crds {
    /// In an image, such as the new one of a component: the Job runs in it, with the guard's program put beside.
    Image {
        /// The image.
        image: String,
        /// The file or folder in it.
        path: String,
    },
    /// In a `ConfigMap` of the install's namespace.
    ConfigMap(String),
}

/// A file of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path below the recipe's folder.
    pub path: &'static str,
    /// Its documents, with comments.
    pub yaml: String,
}

/// Why a recipe cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecipeError {
    /// The policy has no name.
    #[error("the UpgradePolicy has no metadata.name: the Jobs are told their policy by name")]
    Nameless,
    /// CRDs are given, and nothing says which they are.
    #[error(
        "cannot tell which CRDs the Job may apply: neither the components of policy {policy} (spec.components[].crds) \
         nor PlatformRelease {release} (spec.crds) name any. Name them there; a right to apply any CRD is not given"
    )]
    NoCrds {
        /// The policy.
        policy: String,
        /// The release.
        release: String,
    },
    /// There is nothing to migrate.
    #[error(
        "policy {policy} does not say how its database is migrated (spec.database.migrations), so nothing would be run in \
         {image}: say it there, or leave --migrate-image out"
    )]
    NoMigrations {
        /// The policy.
        policy: String,
        /// The image with the migrations.
        image: String,
    },
    /// Nothing says which database to migrate.
    #[error("cannot migrate from {image} without the URL of the database: name the Secret with --database-secret")]
    NoDatabase {
        /// The image with the migrations.
        image: String,
    },
    /// CRDs and migrations are in two images.
    #[error(
        "the Job runs in one image, and the CRDs are in {crds}, the migrations in {migrations}: put the CRDs into a \
         ConfigMap and give --crds-config-map instead of --crds-image"
    )]
    TwoImages {
        /// The image with the CRDs.
        crds: String,
        /// The image with the migrations.
        migrations: String,
    },
    /// An object cannot be written.
    #[error("cannot write {object} as YAML: {message}")]
    Yaml {
        /// Kind and name.
        object: String,
        /// What the writer says.
        message: String,
    },
}

impl Recipe {
    fn policy_name(&self) -> &str {
        self.policy.metadata.name.as_deref().unwrap_or_default()
    }
}

/// Which of the two Jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Before anything moves.
    Presync,
    /// After everything moved.
    Verify,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Presync => "presync",
            Self::Verify => "verify",
        }
    }
}

/// What has to be there before what. Helm orders hooks of one weight by name, and Argo CD does not wait for each object
/// of a wave, so none of these may be in one wave with the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Account and roles.
    Account,
    /// What gives the roles to the account.
    Binding,
    /// The Job.
    Job,
}

/// One object of a recipe.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    stage: Stage,
    /// What a reader should know of it, a line each.
    remarks: Vec<String>,
    object: Value,
}

/// The files of `recipe` for `engine`, in the order in which they are applied.
///
/// # Errors
/// When the policy has no name, when CRDs are given that nobody names, or when what is to migrate cannot.
pub fn render(recipe: &Recipe, engine: Engine) -> Result<Vec<File>, RecipeError> {
    if recipe.policy_name().is_empty() {
        return Err(RecipeError::Nameless);
    }
    if recipe.crds.is_some() && recipe.crd_names.is_empty() {
        let (policy, release) = (recipe.policy_name().to_owned(), recipe.release.clone());
        return Err(RecipeError::NoCrds { policy, release });
    }
    if let Some(image) = recipe.migrate_image.clone() {
        if recipe.migrations().is_none() {
            return Err(RecipeError::NoMigrations { policy: recipe.policy_name().to_owned(), image });
        }
        if recipe.database.is_none() {
            return Err(RecipeError::NoDatabase { image });
        }
        match &recipe.crds {
            Some(Crds::Image { image: crds, .. }) if *crds != image => {
                return Err(RecipeError::TwoImages { crds: crds.clone(), migrations: image });
            }
            _ => {}
        }
    }
    engine::files(recipe, engine)
}

/// The arguments that the Jobs give to the program: those of the one before, and those of the one after.
#[must_use]
pub fn arguments(recipe: &Recipe) -> [Vec<String>; 2] {
    [Purpose::Presync, Purpose::Verify].map(|purpose| objects::arguments(recipe, purpose))
}
