//! Reads the catalog of a database: everything that its users made, on PostgreSQL 12 to 18.

use std::collections::BTreeMap;

use tokio_postgres::SimpleQueryRow;

use super::model::{Catalog, Kind, Object};
use super::queries;
use crate::database::connection::{Connection, DatabaseError, literal};
use crate::database::revision::{Noted, qualified};

/// How much a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Size {
    /// Rows, as the last ANALYZE or VACUUM estimated; `None` when there was none.
    pub rows: Option<u64>,
    /// Bytes, with its indexes and what is stored beside it.
    pub bytes: u64,
}

/// How much tables hold, by `schema.table`, quoted where SQL asks for it.
pub type Sizes = BTreeMap<String, Size>;

/// Reads what the schemas of a database hold: no system schemas, no members of extensions, and not the table in which
/// `except` notes the revision. One look, by questions that are not prepared; the search path of the session is set only
/// for as long as it takes.
///
/// Not read: comments, statistics targets, storage parameters of columns, and rights on what PostgreSQL itself brings.
///
/// # Errors
/// When the database refuses, or is gone.
pub async fn read(connection: &Connection, except: &Noted) -> Result<Catalog, DatabaseError> {
    let what = "read its catalog";
    let table = match except {
        Noted::Table(table) => qualified(table),
        Noted::Query(_) => None,
    };
    let table = table.map_or_else(|| "NULL".to_owned(), |name| literal(&name));
    let first = connection
        .rows(
            what,
            &format!(
                "SELECT pg_catalog.current_setting('server_version_num'), \
                 COALESCE(pg_catalog.to_regclass({table})::pg_catalog.oid, 0), d.oid || ' ' || d.datname \
                 FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"
            ),
        )
        .await?;
    let said = |column| first.first().and_then(|row| row.get(column)).unwrap_or_default();
    let version: u32 = said(0).parse().unwrap_or_default();
    let rows = connection.rows(what, &queries::all(version, said(1))).await?;
    Ok(Catalog::new(said(2).to_owned(), rows.iter().filter_map(object).collect()))
}

/// An object by a row: `kind`, `key`, `parent` and `name`, links with an `@` in front, and facts. What is NULL is not said.
fn object(row: &SimpleQueryRow) -> Option<Object> {
    let kind = Kind::named(row.try_get("kind").ok().flatten()?)?;
    let mut object = Object {
        kind,
        key: String::new(),
        parent: None,
        name: String::new(),
        full: String::new(),
        facts: BTreeMap::new(),
        links: BTreeMap::new(),
    };
    for (place, column) in row.columns().iter().enumerate() {
        let Some(value) = row.get(place) else { continue };
        let value = value.to_owned();
        match column.name() {
            "kind" => {}
            "key" => object.key = value,
            "parent" => object.parent = Some(value),
            "name" => object.name = value,
            name => match name.strip_prefix('@') {
                Some(link) => drop(object.links.insert(link.to_owned(), value)),
                None => drop(object.facts.insert(name.to_owned(), value)),
            },
        }
    }
    Some(object)
}

/// The names of the indexes that are invalid, in order: what a concurrent build left behind that failed.
///
/// # Errors
/// When the database refuses, or is gone.
pub async fn invalid_indexes(connection: &Connection) -> Result<Vec<String>, DatabaseError> {
    let rows = connection.rows("look for invalid indexes", queries::INVALID_INDEXES).await?;
    Ok(rows.iter().filter_map(|row| row.get(0).map(str::to_owned)).collect())
}

/// How much each table and materialized view holds. A partitioned table holds nothing itself.
///
/// # Errors
/// When the database refuses, or is gone.
pub async fn sizes(connection: &Connection) -> Result<Sizes, DatabaseError> {
    let rows = connection.rows("read the sizes of its tables", queries::SIZES).await?;
    let size = |row: &SimpleQueryRow| {
        let number = |column| row.get(column).and_then(|text: &str| text.parse().ok());
        Some((row.get(0)?.to_owned(), Size { rows: number(1), bytes: number(2).unwrap_or_default() }))
    };
    Ok(rows.iter().filter_map(size).collect())
}
