//! How a policy says that its database is migrated, with everything that it leaves out.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;

use crate::api::{DatabaseSpec, LOCK_TIMEOUT, LOCK_WAIT, MigrationsSpec, STATEMENT_TIMEOUT, duration};
use crate::database::address::Address;
use crate::database::migrator::{Migrator, Timeouts};
use crate::database::revision::Noted;

/// The environment variable with the URL of the database, where the policy names no other.
pub const URL_VARIABLE: &str = "DATABASE_URL";

/// Everything that is needed to migrate a database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As the policy says it.
    pub spec: MigrationsSpec,
    /// Where the revision is noted.
    pub noted: Noted,
    /// The program that migrates.
    pub migrator: Migrator,
    /// Whether that is Alembic.
    pub alembic: bool,
    /// The database.
    pub address: Address,
    /// Another server for the copy of its schema.
    pub shadow_server: Option<Address>,
    /// What the migrator's statements may take.
    pub timeouts: Timeouts,
    /// How long to wait for another run.
    pub lock_wait: Duration,
}

/// Why migrations cannot be run at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A text in the policy is no duration.
    #[error("spec.database.migrations.{field} of the policy: {message}")]
    Duration {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The environment names no database, or one that cannot be read.
    #[error("{variable}: {message}")]
    Address {
        /// The environment variable.
        variable: String,
        /// What is wrong.
        message: String,
    },
}

/// Where the policy says that the revision is noted.
#[must_use]
pub fn noted(spec: &DatabaseSpec) -> Noted {
    match (&spec.revision_query, &spec.revision_table) {
        (Some(query), _) => Noted::Query(query.clone()),
        (None, Some(table)) => Noted::Table(table.clone()),
        (None, None) => Noted::default(),
    }
}

/// The environment variable in which the policy says that the database's URL is.
#[must_use]
pub fn url_variable(spec: &DatabaseSpec) -> &str {
    spec.migrations.as_ref().and_then(|migrations| migrations.url_variable.as_deref()).unwrap_or(URL_VARIABLE)
}

/// The database that `environment` names for this policy; `None` when it names none.
///
/// # Errors
/// When what it names cannot be read.
pub fn address(
    spec: &DatabaseSpec,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Address>, SettingsError> {
    let variable = url_variable(spec);
    Address::of_environment(variable, environment)
        .map_err(|error| SettingsError::Address { variable: variable.to_owned(), message: error.to_string() })
}

impl Settings {
    /// Reads what the policy says of migrations, which it has to; `keeper` is this very program.
    ///
    /// # Errors
    /// When a text of the policy cannot be read, or the environment names no database.
    pub fn read(
        database: &DatabaseSpec,
        spec: &MigrationsSpec,
        keeper: Option<PathBuf>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let variable = url_variable(database).to_owned();
        let missing = || SettingsError::Address {
            variable: variable.clone(),
            message: "names no database, and neither does PGHOST: give it from the Secret that has its URL".to_owned(),
        };
        let address = address(database, &environment)?.ok_or_else(missing)?;
        let shadow_server = match &spec.shadow.url_variable {
            // libpq's variables are those of the database itself.
            Some(name) => Address::of_environment(name, |asked| if asked == name { environment(asked) } else { None })
                .map_err(|error| SettingsError::Address { variable: name.clone(), message: error.to_string() })?,
            None => None,
        };
        let alembic = spec.command.is_empty();
        let command = match (&spec.command, &spec.alembic) {
            (command, _) if !alembic => command.clone(),
            (_, own) if own.is_empty() => vec!["alembic".to_owned()],
            (_, own) => own.clone(),
        };
        let time = |field, text: &Option<String>, otherwise: SignedDuration| match text {
            None => Ok(otherwise.unsigned_abs()),
            Some(text) => duration(text)
                .map(SignedDuration::unsigned_abs)
                .map_err(|message| SettingsError::Duration { field, message }),
        };
        Ok(Self {
            noted: noted(database),
            migrator: Migrator {
                command,
                directory: spec.directory.as_ref().map(PathBuf::from),
                url_variable: variable.clone(),
                keeper,
            },
            alembic,
            address,
            shadow_server,
            timeouts: Timeouts {
                lock: time("lockTimeout", &spec.lock_timeout, LOCK_TIMEOUT)?,
                statement: time("statementTimeout", &spec.statement_timeout, STATEMENT_TIMEOUT)?,
            },
            lock_wait: time("lockWait", &spec.lock_wait, LOCK_WAIT)?,
            spec: spec.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: &MigrationsSpec, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let environment =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(
            &DatabaseSpec { migrations: Some(spec.clone()), ..DatabaseSpec::default() },
            spec,
            None,
            environment,
        )
    }

    const URL: (&str, &str) = ("DATABASE_URL", "postgresql+asyncpg://u:geheim@db/stoa?ssl=require");

    #[test]
    fn what_the_policy_leaves_out_is_alembic_with_short_locks() {
        let settings = read(&MigrationsSpec::default(), &[URL]).unwrap();
        assert_eq!((settings.migrator.command.as_slice(), settings.alembic), (&["alembic".to_owned()][..], true));
        let defaults = (LOCK_TIMEOUT.unsigned_abs(), LOCK_WAIT.unsigned_abs());
        assert_eq!((settings.timeouts.lock, settings.lock_wait), defaults);
        assert_eq!((settings.noted.clone(), settings.shadow_server.clone()), (Noted::default(), None));
        assert!(!format!("{settings:?}").contains("geheim"));
    }

    #[test]
    fn what_the_policy_says_counts() {
        let shadow = crate::api::ShadowSpec { url_variable: Some("SHADOW".to_owned()), ..Default::default() };
        let spec = MigrationsSpec {
            command: vec!["flyway".to_owned(), "migrate".to_owned()],
            url_variable: Some("DB".to_owned()),
            lock_timeout: Some("2s".to_owned()),
            shadow,
            ..MigrationsSpec::default()
        };
        let known = [("DB", "postgres://u@db/stoa"), ("SHADOW", "postgres://u@scratch/x"), ("PGHOST", "elsewhere")];
        let settings = read(&spec, &known).unwrap();
        assert_eq!((settings.migrator.called(&[]).as_str(), settings.alembic), ("flyway migrate", false));
        assert_eq!(settings.timeouts.lock, Duration::from_secs(2));
        assert_eq!(settings.shadow_server.unwrap().to_string(), "postgresql://u@scratch:5432/x");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let wrong = MigrationsSpec { lock_wait: Some("soon".to_owned()), ..MigrationsSpec::default() };
        for (spec, variables, expected) in [
            (MigrationsSpec::default(), &[][..], "DATABASE_URL: names no database"),
            (
                MigrationsSpec::default(),
                &[("DATABASE_URL", "mysql://u:geheim@db/x")],
                "DATABASE_URL: the database URL must begin",
            ),
            (wrong, &[URL], "spec.database.migrations.lockWait of the policy: "),
        ] {
            let error = read(&spec, variables).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains("geheim"), "{error}");
        }
    }
}
