//! Where a database is, in the form in which other programs are told it.

use std::collections::BTreeMap;
use std::fmt;

use super::url::{DatabaseUrl, DatabaseUrlError, VARIABLES};

/// Where a database is, as the environment says it. Shown, it never tells the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The URL as it was written; `None` where the environment variables of libpq say it all.
    raw: Option<String>,
    /// The environment variables of libpq.
    variables: BTreeMap<String, String>,
    url: DatabaseUrl,
}

impl Address {
    /// Reads the address from the URL in the environment variable `variable`, and libpq's own variables; `None` when neither
    /// names a database.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn of_environment(
        variable: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, DatabaseUrlError> {
        let variables: BTreeMap<String, String> =
            VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), environment(name)?))).collect();
        let raw = environment(variable).map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
        let url = match &raw {
            Some(raw) => Some(DatabaseUrl::parse(raw, &variables)?),
            None => DatabaseUrl::of_environment(&variables)?,
        };
        Ok(url.map(|url| Self { raw, variables, url }))
    }

    /// The same server and user, another database.
    ///
    /// # Errors
    /// When what comes of it cannot be read.
    pub fn with_database(&self, name: &str) -> Result<Self, DatabaseUrlError> {
        let mut variables = self.variables.clone();
        variables.insert("PGDATABASE".to_owned(), name.to_owned());
        let raw = self.raw.as_deref().map(|raw| renamed(raw, name));
        let url = match &raw {
            Some(raw) => DatabaseUrl::parse(raw, &variables)?,
            None => DatabaseUrl::of_environment(&variables)?.ok_or(DatabaseUrlError::Empty)?,
        };
        Ok(Self { raw, variables, url })
    }

    /// Where it is, for our own connections.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The environment in which another program finds the database: its URL in `variable`, and libpq's variables.
    #[must_use]
    pub fn environment(&self, variable: &str) -> Vec<(String, String)> {
        let url = self.raw.iter().map(|raw| (variable.to_owned(), raw.clone()));
        url.chain(self.variables.clone()).collect()
    }
}

/// The URL with another database in its path; a database among its parameters goes.
fn renamed(raw: &str, name: &str) -> String {
    let (scheme, rest) = raw.split_once("://").unwrap_or(("postgresql", raw));
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let query = rest.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let kept =
        query.split('&').filter(|pair| !matches!(pair.split('=').next(), None | Some("" | "dbname" | "database")));
    let kept = kept.collect::<Vec<_>>().join("&");
    format!("{scheme}://{authority}/{name}{}{kept}", if kept.is_empty() { "" } else { "?" })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.url).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(variables: &[(&str, &str)]) -> Option<Address> {
        let known: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Address::of_environment("DATABASE_URL", |name| known.get(name).map(|value| (*value).to_owned())).unwrap()
    }

    #[test]
    fn another_database_of_the_same_server_is_told_in_the_same_form() {
        for (url, expected) in [
            (
                "postgresql+asyncpg://u:p%40@db:5433/stoa?ssl=require",
                "postgresql+asyncpg://u:p%40@db:5433/copy?ssl=require",
            ),
            ("postgres://u@db", "postgres://u@db/copy"),
            ("postgresql://u@/stoa?host=/run/pg&dbname=stoa", "postgresql://u@/copy?host=/run/pg"),
        ] {
            let copy = address(&[("DATABASE_URL", url)]).unwrap().with_database("copy").unwrap();
            let told = copy.environment("DATABASE_URL");
            assert_eq!(told[0], ("DATABASE_URL".to_owned(), expected.to_owned()));
            assert!(copy.to_string().ends_with("/copy"), "{copy}");
        }
        let copy = address(&[("PGHOST", "db"), ("PGUSER", "u"), ("PGDATABASE", "stoa")]).unwrap();
        assert!(copy.with_database("copy").unwrap().to_string().ends_with("/copy"));
        assert_eq!(address(&[]), None);
    }

    #[test]
    fn the_password_is_not_shown() {
        let address = address(&[("DATABASE_URL", "postgresql://u:geheim@db/stoa"), ("PGPASSWORD", "geheim")]).unwrap();
        assert!(!format!("{address} {address:?}").contains("geheim"));
    }
}
