//! Which type holds and does all that another one does.

/// What a change of type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Everything that was written and read before still is.
    Wider,
    /// Something is not.
    Other,
}

/// Whether the type `after` holds all that `before` did, and clients read it as what they read before; both as `format_type`
/// writes them. The table is that of `strong_migrations` (safe changes of `change_column`), with the integers and floats,
/// whose rewrite is a matter of locks and not of compatibility.
pub(super) fn step(before: &str, after: &str) -> Step {
    if let (Some(before), Some(after)) = (before.strip_suffix("[]"), after.strip_suffix("[]")) {
        return step(before, after);
    }
    let ((old, old_size), (new, new_size)) = (parts(before), parts(after));
    let grows = match (&old_size[..], &new_size[..]) {
        (_, []) => true,
        ([old], [new]) => new >= old,
        ([old, scale], [new, same]) => new >= old && scale == same,
        _ => false,
    };
    let wider = match (old.as_str(), new.as_str()) {
        ("smallint", "integer" | "bigint")
        | ("integer", "bigint")
        | ("real", "double precision")
        | ("character varying", "text")
        | ("cidr", "inet") => true,
        ("text", "character varying") => new_size.is_empty(),
        (
            "character varying"
            | "numeric"
            | "bit varying"
            | "timestamp without time zone"
            | "timestamp with time zone"
            | "time without time zone"
            | "time with time zone"
            | "interval",
            same,
        ) => old == same && grows,
        _ => false,
    };
    if wider { Step::Wider } else { Step::Other }
}

/// `timestamp(3) without time zone` as `timestamp without time zone` and 3.
fn parts(name: &str) -> (String, Vec<i64>) {
    let Some((word, rest)) = name.split_once('(') else { return (name.to_owned(), vec![]) };
    let Some((sizes, rest)) = rest.split_once(')') else { return (name.to_owned(), vec![]) };
    (word.to_owned() + rest, sizes.split(',').filter_map(|size| size.trim().parse().ok()).collect())
}

/// Whether values of this type can be told equal: where not, `DISTINCT`, `GROUP BY` and `UNION` fail.
pub(super) fn has_equality(name: &str) -> bool {
    let name = name.trim_end_matches("[]");
    !["json", "xml", "jsonpath", "point", "line", "lseg", "box", "path", "polygon", "circle"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wider() {
        for (before, after, wider) in [
            ("character varying(50)", "character varying(100)", true),
            ("character varying(50)", "character varying(10)", false),
            ("character varying(50)", "character varying", true),
            ("character varying", "character varying(50)", false),
            ("character varying(50)", "text", true),
            ("character varying(9)[]", "text[]", true),
            ("text", "character varying", true),
            ("text", "character varying(50)", false),
            ("smallint", "integer", true),
            ("integer", "bigint", true),
            ("bigint", "integer", false),
            ("integer", "smallint", false),
            ("integer", "text", false),
            ("integer", "numeric", false),
            ("real", "double precision", true),
            ("numeric(8,2)", "numeric(10,2)", true),
            ("numeric(8,2)", "numeric", true),
            ("numeric(8,2)", "numeric(10,3)", false),
            ("numeric(8,2)", "numeric(6,2)", false),
            ("numeric", "numeric(6,2)", false),
            ("timestamp(3) without time zone", "timestamp(6) without time zone", true),
            ("timestamp(3) without time zone", "timestamp without time zone", true),
            ("timestamp without time zone", "timestamp(3) without time zone", false),
            ("timestamp without time zone", "timestamp with time zone", false),
            ("interval(3)", "interval", true),
            ("cidr", "inet", true),
            ("inet", "cidr", false),
            ("json", "jsonb", false),
            ("character(5)", "character(9)", false),
            ("public.status", "text", false),
        ] {
            assert_eq!(step(before, after) == Step::Wider, wider, "{before} to {after}");
        }
    }
}
