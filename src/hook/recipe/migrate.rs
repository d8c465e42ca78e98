//! What the Jobs need for the database: its URL, the time that migrations take, and what a migrator in another image
//! wants beside the guard.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};

use super::{Crds, Purpose, Recipe};
use crate::api::{DatabaseSpec, LOCK_WAIT, MigrationsSpec, STATEMENT_TIMEOUT, duration};

/// Where the URL of the database is, where the policy names no other variable.
const DATABASE_URL: &str = "DATABASE_URL";
/// The folder in which migrators may write: Python and `pg_dump` need one.
pub(super) const TEMPORARY_FOLDER: &str = "/tmp";

impl Recipe {
    fn database_spec(&self) -> Option<&DatabaseSpec> {
        self.policy.spec.database.as_deref()
    }

    /// How the policy says that the database is migrated.
    pub(super) fn migrations(&self) -> Option<&MigrationsSpec> {
        self.database_spec()?.migrations.as_ref()
    }

    /// How the Job of `purpose` migrates, if it does.
    pub(super) fn migrates(&self, purpose: Purpose) -> Option<&MigrationsSpec> {
        let here = purpose == Purpose::Presync && self.migrate_image.is_some();
        self.migrations().filter(|_| here)
    }

    fn url_variable(&self) -> &str {
        self.migrations().and_then(|migrations| migrations.url_variable.as_deref()).unwrap_or(DATABASE_URL)
    }

    /// The image that the Job of `purpose` runs in, where that is not the guard's own.
    pub(super) fn other_image(&self, purpose: Purpose) -> Option<&str> {
        let of_crds = match &self.crds {
            Some(Crds::Image { image, .. }) => Some(image),
            _ => None,
        };
        self.migrate_image.as_ref().or(of_crds).map(String::as_str).filter(|_| purpose == Purpose::Presync)
    }
}

/// What the program is told of the database where the policy says it.
pub(super) fn arguments(recipe: &Recipe, purpose: Purpose) -> Vec<String> {
    let mut arguments: Vec<&str> = Vec::new();
    if purpose == Purpose::Presync {
        let left_out = recipe.migrations().is_some() && recipe.migrates(purpose).is_none();
        return if left_out { vec!["--skip-migrations".to_owned()] } else { vec![] };
    }
    if recipe.url_variable() != DATABASE_URL {
        arguments.extend(["--database-url-env", recipe.url_variable()]);
    }
    if let Some(table) = recipe.database_spec().and_then(|database| database.revision_table.as_deref()) {
        arguments.extend(["--revision-table", table]);
    }
    arguments.into_iter().map(str::to_owned).collect()
}

/// The environment of the Job: the URL where it asks the database, and what keeps a migrator from writing elsewhere.
pub(super) fn environment(recipe: &Recipe, purpose: Purpose) -> Option<Vec<EnvVar>> {
    // Before an upgrade the database is looked at, or migrated where the migrations are, and otherwise left alone.
    let looks = recipe.database_spec().is_some_and(|database| database.migrations.is_none());
    let asks = purpose == Purpose::Verify || looks || recipe.migrates(purpose).is_some();
    let url = recipe.database.as_ref().filter(|_| asks).map(|secret| {
        let selector =
            SecretKeySelector { name: secret.name.clone(), key: secret.key.clone(), ..SecretKeySelector::default() };
        let value_from = Some(EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() });
        EnvVar { name: recipe.url_variable().to_owned(), value: None, value_from }
    });
    let of_migrator = [("HOME", TEMPORARY_FOLDER), ("PYTHONDONTWRITEBYTECODE", "1")];
    let of_migrator = of_migrator.into_iter().filter(|_| recipe.migrates(purpose).is_some());
    let of_migrator = of_migrator.map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    });
    let environment: Vec<EnvVar> = url.into_iter().chain(of_migrator).collect();
    Some(environment).filter(|environment| !environment.is_empty())
}

/// How much longer the Job may take for migrations, in minutes: the wait for another run, and the longest that one
/// statement may take, which thereby ends before the Job does.
pub(super) fn minutes(recipe: &Recipe, purpose: Purpose) -> i64 {
    let Some(migrations) = recipe.migrates(purpose) else { return 0 };
    let time = |text: &Option<String>, otherwise: SignedDuration| {
        let given = text.as_deref().and_then(|text| duration(text).ok());
        (given.unwrap_or(otherwise).as_secs() + 59) / 60
    };
    time(&migrations.lock_wait, LOCK_WAIT) + time(&migrations.statement_timeout, STATEMENT_TIMEOUT)
}

/// What a reader should know of the Job that could migrate.
pub(super) fn remarks(recipe: &Recipe, purpose: Purpose) -> Vec<String> {
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    if purpose == Purpose::Verify || recipe.migrations().is_none() {
        return vec![];
    }
    let Some(migrations) = recipe.migrates(purpose) else {
        return owned(&[
            "The policy says how the database is migrated, and this Job does not: give --migrate-image with the new image",
            "that has the migrations, and --database-secret.",
        ]);
    };
    let mut remarks = owned(&[
        "The container runs in the image that has the migrations; the init container puts the program beside it. Where",
        "the image's files are for its own user alone, make that one runAsUser, runAsGroup and fsGroup.",
        "The Secret has to be there before this Job is. Its URL has to lead to the database itself and to no pooler.",
    ]);
    if let Some(variable) = &migrations.shadow.url_variable {
        remarks.push(format!("Give the container {variable}, too: on that server migrations are tried (shadow)."));
    }
    remarks.push("A sync may run no hooks. Let pods wait for the schema themselves, in an init container:".to_owned());
    let components = recipe.database_spec().into_iter().flat_map(|database| &database.components);
    remarks.extend(components.map(|component| {
        format!("  upgrade-guard wait --release {} --for {component} -n {}", recipe.release, recipe.namespace)
    }));
    remarks
}
