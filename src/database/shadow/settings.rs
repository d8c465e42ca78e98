//! What a database has besides its schema: encoding, collation and settings of its own.

use std::fmt::Write as _;

use super::super::connection::{Connection, DatabaseError, literal, quoted};

/// Settings whose value is a list of names, and is kept as it is written: quoted once more, it would be one name
/// (`GUC_LIST_QUOTE` in PostgreSQL, and `variable_is_guc_list_quote` in its `pg_dump`).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The statement that makes the database `name` like the one of `model`. `elsewhere`: on a server that may not have the
/// same collations.
pub(super) async fn create(model: &Connection, name: &str, elsewhere: bool) -> Result<String, DatabaseError> {
    // By JSON, because each version of PostgreSQL has other columns.
    let rows = model
        .rows(
            "read its encoding and collation",
            "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype, \
             pg_catalog.to_jsonb(d) ->> 'datlocprovider', \
             COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale'), \
             pg_catalog.to_jsonb(d) ->> 'daticurules' \
             FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database()",
        )
        .await?;
    let says = |column: usize| rows.first().and_then(|row| row.get(column));
    let mut create = format!("CREATE DATABASE {} TEMPLATE template0", quoted(name));
    let mut with = |option: &str, value: Option<&str>| {
        if let Some(value) = value {
            // Writing to a text cannot fail.
            let _ = write!(create, " {option} {}", literal(value));
        }
    };
    with("ENCODING", says(0));
    if elsewhere {
        with("LC_COLLATE", Some("C"));
        with("LC_CTYPE", Some("C"));
        return Ok(create);
    }
    with("LC_COLLATE", says(1));
    with("LC_CTYPE", says(2));
    match says(3) {
        Some("i") => {
            with("LOCALE_PROVIDER", Some("icu"));
            with("ICU_LOCALE", says(4));
            with("ICU_RULES", says(5));
        }
        Some("b") => {
            with("LOCALE_PROVIDER", Some("builtin"));
            with("BUILTIN_LOCALE", says(4));
        }
        Some("c") => with("LOCALE_PROVIDER", Some("libc")),
        // Before 15 there is no other provider.
        _ => {}
    }
    Ok(create)
}

/// Gives the database `name` the settings that the one of `model` has for everyone and for the role that asks; what is
/// refused is told, each in one line.
pub(super) async fn copy(model: &Connection, keeper: &Connection, name: &str) -> Result<Vec<String>, DatabaseError> {
    let settings = model
        .rows(
            "read its settings",
            "SELECT s.setrole = 0, pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s \
             JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
             WHERE d.datname = pg_catalog.current_database() AND (s.setrole = 0 OR r.rolname = CURRENT_USER)",
        )
        .await?;
    let mut notes = vec![];
    for row in &settings {
        let Some((setting, value)) = row.get(1).and_then(|set| set.split_once('=')) else { continue };
        let place = match row.get(0) {
            Some("t") => format!("DATABASE {}", quoted(name)),
            _ => format!("ROLE CURRENT_USER IN DATABASE {}", quoted(name)),
        };
        let statement = format!("ALTER {place} SET {} = {}", custom(setting), assigned(setting, value));
        if let Err(error) = keeper.rows("take a setting", &statement).await {
            notes.push(format!("the temporary database does not have the setting {setting} of the live one: {error}"));
        }
    }
    Ok(notes)
}

/// The name of a setting: `a.b` for those of extensions.
fn custom(setting: &str) -> String {
    setting.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

fn assigned(setting: &str, value: &str) -> String {
    match value {
        // An empty list.
        "" | "\"\"" => "''".to_owned(),
        list if LISTS.contains(&setting.to_lowercase().as_str()) => list.to_owned(),
        value => literal(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_as_they_were() {
        for (setting, value, expected) in [
            ("search_path", "\"$user\", public", "\"$user\", public"),
            ("search_path", "\"\"", "''"),
            ("lock_timeout", "5s", "'5s'"),
            ("app.name", "it's", "'it''s'"),
        ] {
            assert_eq!(assigned(setting, value), expected, "{setting}");
        }
        assert_eq!(custom("app.name"), "\"app\".\"name\"");
    }
}
