//! Which database is meant.

use std::collections::BTreeMap;

use crate::database::revision::{Noted, TABLE};
use crate::database::url::{DatabaseUrl, VARIABLES};

/// Where the revision of the schema is read.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Database {
    /// The environment variable with the URL of the database, such as `postgresql+asyncpg://user:password@host/name`.
    /// Where it is empty, PGHOST and its like count. A URL on the command line could be read by anyone on the node.
    #[arg(long, value_name = "NAME", default_value = "DATABASE_URL")]
    database_url_env: String,

    /// The table in which Alembic notes the revision, also as SCHEMA.TABLE.
    #[arg(long, value_name = "TABLE", default_value = TABLE)]
    revision_table: String,
}

impl Database {
    /// The database that the environment names; `None` when it names none.
    pub(in crate::cli) fn url(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        let read = |name: &&str| std::env::var(name).ok().map(|value| ((*name).to_owned(), value));
        let environment: BTreeMap<String, String> = VARIABLES.iter().filter_map(read).collect();
        let url = std::env::var(&self.database_url_env).unwrap_or_default();
        let found = match url.trim() {
            "" => DatabaseUrl::of_environment(&environment),
            url => DatabaseUrl::parse(url, &environment).map(Some),
        };
        found.map_err(|error| anyhow::anyhow!(error).context(format!("{} cannot be read", self.database_url_env)))
    }

    /// Where its revision is noted.
    pub(in crate::cli) fn noted(&self) -> Noted {
        Noted::Table(self.revision_table.clone())
    }

    /// How to name the database, where none is.
    pub(in crate::cli) fn remedy(&self) -> String {
        format!("{} is empty and PGHOST is too", self.database_url_env)
    }
}
