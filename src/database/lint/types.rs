//! Which types of columns hold all that others do. PostgreSQL's documentation says which changes write the table anew
//! (ALTER TABLE, "Notes"); tests/lint.rs tries them.

/// What a change of type does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Whether the new type holds all that the old one does, and does the same with it.
    pub(super) widens: bool,
    /// Whether the table is written anew.
    pub(super) rewrites: bool,
}

/// A type: its name by which the server knows it, and the numbers in its parentheses.
#[derive(Debug, PartialEq, Eq)]
struct Type {
    name: String,
    numbers: Vec<i64>,
}

fn read(text: &str) -> Option<Type> {
    let text = text.to_lowercase().replace('"', "");
    let (before, numbers, after) = match text.split_once('(') {
        Some((before, rest)) => {
            let (numbers, after) = rest.split_once(')')?;
            (before.to_owned(), numbers.to_owned(), after.to_owned())
        }
        None => (text, String::new(), String::new()),
    };
    let name = format!("{before} {after}").split_whitespace().collect::<Vec<_>>().join(" ");
    let name = match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
        "int" | "int4" | "integer" => "integer",
        "int2" | "smallint" => "smallint",
        "int8" | "bigint" => "bigint",
        "varchar" | "character varying" => "varchar",
        "decimal" | "numeric" => "numeric",
        "float4" | "real" => "real",
        "float8" | "double precision" | "float" => "double precision",
        "timestamp" | "timestamp without time zone" => "timestamp",
        "timestamptz" | "timestamp with time zone" => "timestamptz",
        "bool" | "boolean" => "boolean",
        other => other,
    };
    let numbers = numbers.split(',').map(str::trim).filter(|number| !number.is_empty());
    Some(Type { name: name.to_owned(), numbers: numbers.map(|number| number.parse().ok()).collect::<Option<_>>()? })
}

/// What changing `old` to `new` does; `None` where that is not known.
pub(super) fn change(old: &str, new: &str) -> Option<Change> {
    let (old, new) = (read(old)?, read(new)?);
    let change = |widens, rewrites| Some(Change { widens, rewrites });
    let limit = |of: &Type, at: usize| of.numbers.get(at).copied();
    match (old.name.as_str(), new.name.as_str()) {
        ("varchar", "text") => change(true, false),
        ("text", "varchar") if new.numbers.is_empty() => change(true, false),
        ("varchar", "varchar") => match (limit(&old, 0), limit(&new, 0)) {
            (_, None) => change(true, false),
            (Some(old), Some(new)) if old <= new => change(true, false),
            _ => change(false, true),
        },
        ("numeric", "numeric") => match (old.numbers.as_slice(), new.numbers.as_slice()) {
            (_, []) => change(true, false),
            (old, new) if old == new => change(true, false),
            ([old, before @ ..], [new, after @ ..])
                if old <= new && before.first().unwrap_or(&0) == after.first().unwrap_or(&0) =>
            {
                change(true, false)
            }
            _ => change(false, true),
        },
        ("timestamp", "timestamp") | ("timestamptz", "timestamptz") => {
            let (old, new) = (limit(&old, 0).unwrap_or(6), limit(&new, 0).unwrap_or(6));
            change(old <= new, old > new)
        }
        ("smallint", "integer" | "bigint") | ("integer", "bigint") | ("real", "double precision") => change(true, true),
        (one, other) if one == other && old.numbers == new.numbers => change(true, false),
        _ => change(false, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_widen_or_do_not() {
        for (old, new, widens, rewrites) in [
            ("character varying(50)", "VARCHAR(100)", true, false),
            ("character varying(50)", "TEXT", true, false),
            ("character varying(50)", "varchar", true, false),
            ("text", "varchar", true, false),
            ("text", "varchar(10)", false, true),
            ("character varying(50)", "varchar(10)", false, true),
            ("character varying", "varchar(10)", false, true),
            ("integer", "bigint", true, true),
            ("bigint", "integer", false, true),
            ("integer", "text", false, true),
            ("numeric(10,2)", "NUMERIC(12, 2)", true, false),
            ("numeric(10,2)", "numeric", true, false),
            ("numeric(10,2)", "numeric(12,3)", false, true),
            ("numeric", "numeric(12,3)", false, true),
            ("timestamp(3) without time zone", "timestamp", true, false),
            ("timestamp without time zone", "timestamptz", false, true),
            ("timestamp with time zone", "timestamp(3) with time zone", false, true),
            ("jsonb", "jsonb", true, false),
            ("jsonb", "json", false, true),
        ] {
            assert_eq!(change(old, new), Some(Change { widens, rewrites }), "{old} -> {new}");
        }
    }
}
