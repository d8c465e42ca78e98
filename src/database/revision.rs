//! Which revision a database's schema has, as Alembic notes it: a table with a row for each head.

use std::fmt;
use std::time::Duration;

use tokio_postgres::SimpleQueryRow;

use super::connection::{Connection, DatabaseError, literal, quoted};
use super::url::DatabaseUrl;

/// Where Alembic notes the revision, unless it was told another name.
pub const TABLE: &str = "alembic_version";
/// How long an id may be in the table that Alembic makes.
const ALEMBICS_WIDTH: usize = 32;
/// How many heads are read at most; a sound schema has one.
const MOST_HEADS: usize = 16;

/// What a database says of the revision of its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    /// It holds no table at all: nothing was ever migrated.
    Empty,
    /// It holds tables, and not the one in which revisions are noted: something else made them.
    Untracked,
    /// It notes no revision: every migration was undone.
    Base,
    /// It has this one.
    One(String),
    /// It has several heads, in the order of their names: branches that nobody merged.
    Several(Vec<String>),
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the database is empty"),
            Self::Untracked => f.write_str("the database has tables, and none that notes a revision"),
            Self::Base => f.write_str("the database is at no revision"),
            Self::One(revision) => write!(f, "the database is at {revision}"),
            Self::Several(heads) => write!(f, "the database has several heads: {}", heads.join(", ")),
        }
    }
}

/// Where a database notes its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// In the column `version_num` of a table: a name, or `schema.name`.
    Table(String),
    /// In the first column of what a query gives.
    Query(String),
}

impl Default for Noted {
    fn default() -> Self {
        Self::Table(TABLE.to_owned())
    }
}

/// Why the revision could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// The table's name is none.
    #[error("'{0}' is no name of a table: write alembic_version or schema.alembic_version")]
    Table(String),
    /// The database does not answer, or refuses the question.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Reads the revision that the database at `url` notes. Nothing is written, and no statement is prepared, so that a
/// connection pool in between does not mind.
///
/// # Errors
/// When there is no answer within `timeout`, or none that says it.
pub async fn revision(url: &DatabaseUrl, noted: &Noted, timeout: Duration) -> Result<Revision, RevisionError> {
    let asked = async { read(&Connection::open(url, "upgrade-guard", timeout).await?, noted).await };
    match tokio::time::timeout(timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(DatabaseError::Timeout { url: url.to_string(), after: timeout }.into()),
    }
}

/// Whether there is any table that a person made, and not an extension.
const ANY_TABLE: &str = "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND n.nspname !~ '^pg_(toast|temp)' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'))";

/// Reads the revision on an open connection.
///
/// # Errors
/// When the database refuses, or the table's name is none.
pub async fn read(connection: &Connection, noted: &Noted) -> Result<Revision, RevisionError> {
    let table = match noted {
        Noted::Table(table) => table,
        Noted::Query(query) => {
            let answer = connection.rows("answer the policy's revisionQuery", query).await?;
            return Ok(heads(&answer));
        }
    };
    let name = qualified(table).ok_or_else(|| RevisionError::Table(table.clone()))?;
    let what = format!("read the revision in {table}");
    let question = format!("SELECT pg_catalog.to_regclass({}) IS NOT NULL, {ANY_TABLE}", literal(&name));
    let answer = connection.rows(&what, &question).await?;
    let says = |column| answer.first().and_then(|row| row.get(column)) == Some("t");
    match (says(0), says(1)) {
        (false, false) => return Ok(Revision::Empty),
        (false, true) => return Ok(Revision::Untracked),
        (true, _) => {}
    }
    let question = format!("SELECT version_num FROM {name} ORDER BY version_num LIMIT {MOST_HEADS}");
    Ok(heads(&connection.rows(&what, &question).await?))
}

fn heads(answer: &[SimpleQueryRow]) -> Revision {
    let mut heads: Vec<String> = answer.iter().filter_map(|row| row.get(0).map(str::to_owned)).collect();
    heads.sort();
    match (heads.len(), heads.pop()) {
        (1, Some(only)) => Revision::One(only),
        (_, Some(last)) => Revision::Several(heads.into_iter().chain([last]).collect()),
        (_, None) => Revision::Base,
    }
}

impl Revision {
    /// The revisions that are noted: none, one or several.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        match self {
            Self::Empty | Self::Untracked | Self::Base => vec![],
            Self::One(only) => vec![only.clone()],
            Self::Several(heads) => heads.clone(),
        }
    }
}

/// How long an id may be that the database at hand can note: the width of `version_num`. Alembic makes the table with 32
/// where there is none yet (`alembic.ddl.impl.DefaultImpl.version_table_impl`); `None` where any length fits, or nothing is
/// known of it.
///
/// # Errors
/// When the database refuses, or the table's name is none.
pub async fn width(connection: &Connection, noted: &Noted) -> Result<Option<usize>, RevisionError> {
    let Noted::Table(table) = noted else { return Ok(None) };
    let name = qualified(table).ok_or_else(|| RevisionError::Table(table.clone()))?;
    let question = format!(
        "SELECT CASE WHEN a.atttypid = 'pg_catalog.varchar'::pg_catalog.regtype AND a.atttypmod > 4 THEN a.atttypmod - 4 END, \
         t.oid IS NOT NULL FROM (SELECT pg_catalog.to_regclass({}) AS oid) t \
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attname = 'version_num'",
        literal(&name)
    );
    let answer = connection.rows(&format!("read the width of version_num in {table}"), &question).await?;
    let row = answer.first();
    let there = row.and_then(|row| row.get(1)) == Some("t");
    let width = row.and_then(|row| row.get(0)).and_then(|width| width.parse().ok());
    Ok(if there { width } else { Some(ALEMBICS_WIDTH) })
}

/// `schema.table` as SQL writes names that may hold anything; `None` when a part is empty, or there are too many.
fn qualified(table: &str) -> Option<String> {
    let parts: Vec<&str> = table.split('.').collect();
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty() || part.contains('\0')) {
        return None;
    }
    let parts: Vec<String> = parts.into_iter().map(quoted).collect();
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_are_quoted() {
        assert_eq!(qualified("alembic_version").as_deref(), Some("\"alembic_version\""));
        assert_eq!(qualified("stoa.alembic_version").as_deref(), Some("\"stoa\".\"alembic_version\""));
        assert_eq!(qualified("a\"; DROP TABLE x; --").as_deref(), Some("\"a\"\"; DROP TABLE x; --\""));
        for none in ["", ".", "a.", ".b", "a.b.c", "a\0"] {
            assert_eq!(qualified(none), None, "{none:?}");
        }
    }
}
