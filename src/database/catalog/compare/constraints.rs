//! Constraints and indexes: what they refuse, and what is found by them.

use std::sync::LazyLock;

use regex::Regex;

use super::Look;
use crate::database::catalog::model::{Kind, Object};
use crate::database::check::Check;

/// Words by which an expression gives something else than NULL for NULL, and any function but those that do not.
static SEES_NULL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\b(IS|COALESCE|CASE|NULLIF)\b|[a-z_0-9"]+\("#).expect("a pattern that is written here")
});
/// What looks like a function and is none, or gives NULL for NULL.
static STRICT: LazyLock<Regex> = LazyLock::new(|| {
    let names = r"\b(numeric|varying|character|bit|length|char_length|octet_length|lower|upper|btrim|abs)\(";
    Regex::new(names).expect("a pattern that is written here")
});
static TEXT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"'(?:[^']|'')*'").expect("a pattern that is written here"));
/// A check that a column is one of several values.
static ONE_OF: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^CHECK \(+("[^"]+"|\w+)\)?(?:::text)? = ANY \(+ARRAY\[(.*)\]\)?(?:::text\[\])?\)+$"#)
        .expect("a pattern that is written here")
});

impl Look<'_> {
    /// A constraint or index that came to a table or domain that was there, or takes the place of `instead`.
    pub(super) fn constraint_added(&mut self, object: &Object, instead: Option<&Object>) {
        let domain = self.after.parent(object).is_some_and(|parent| parent.kind == Kind::Domain);
        if domain {
            self.tell(Check::DomainTightened, object, "is added to a domain: writes that it refuses fail");
            return;
        }
        if (object.kind == Kind::Index && object.fact("unique") != "t") || self.had_same(object) {
            return;
        }
        let columns: Vec<Option<&Object>> = object.link("columns").split(',').map(|key| self.after.get(key)).collect();
        let fresh = |column: Option<&Object>| column.is_some_and(|column| !self.was_there(column));
        let left_out = |column: Option<&Object>| {
            fresh(column)
                && column.is_some_and(|column| column.fact("default").is_empty() && column.fact("not null") != "t")
        };
        let numbered = |column: Option<&Object>| fresh(column) && column.is_some_and(is_numbered);
        let nulls_differ = !object.fact("index").contains("NULLS NOT DISTINCT");
        // Who does not know a column leaves it NULL, or to its default: where that is never refused, nobody is.
        let harmless = match object.fact("type") {
            "c" => {
                columns.iter().copied().all(fresh)
                    && check_passes(object, &columns, columns.iter().copied().all(left_out))
            }
            "f" if object.fact("definition").contains("MATCH FULL") => columns.iter().copied().all(left_out),
            "f" => columns.iter().copied().any(left_out),
            _ => (nulls_differ && columns.iter().copied().any(left_out)) || columns.iter().copied().any(numbered),
        };
        if harmless {
            return;
        }
        let definition =
            if object.fact("definition").is_empty() { object.fact("index") } else { object.fact("definition") };
        let how = if instead.is_some() { "changes to" } else { "is added:" };
        let (check, means) = match object.fact("type") {
            "c" => (Check::CheckAdded, "writes that it refuses fail, also while it is NOT VALID"),
            "f" => (
                Check::ForeignKeyAdded,
                "writes without a row there fail, and so do deletes there of rows that are named here",
            ),
            "p" | "x" => (Check::ExclusionAdded, "writes that it refuses fail"),
            _ => (Check::UniqueAdded, "writes of what is there already fail"),
        };
        self.tell(check, object, format!("{how} {definition}; {means}"));
    }

    /// Whether a constraint or index refuses only what another one refused before.
    fn had_same(&self, object: &Object) -> bool {
        let parent = self.after.parent(object).and_then(|parent| self.origin(parent));
        let Some(parent) = parent else { return false };
        self.before.objects().any(|other| {
            let here = other.parent.as_deref() == Some(parent.key.as_str());
            here && match object.fact("type") {
                "c" | "f" => {
                    other.fact("type") == object.fact("type") && other.fact("definition") == object.fact("definition")
                }
                "x" => other.fact("type") == "x" && other.fact("index") == object.fact("index"),
                // That a primary key takes no NULL is told of its columns.
                _ => is_unique(other) && other.fact("index") == object.fact("index"),
            }
        })
    }

    pub(super) fn constraint_dropped(&mut self, object: &Object) {
        let parent = self.before.parent(object);
        if object.fact("type") == "c" || object.fact("type") == "f" {
            // Nothing fails. But as with DROP NOT NULL readers may meet what they do not expect, and rows that went with
            // others (ON DELETE CASCADE) stay.
            let mut others = self.after.objects().filter(|other| self.same_parent(other, parent));
            if !others.any(|other| other.fact("definition") == object.fact("definition")) {
                self.tell(Check::BehaviourChanged, object, "is dropped: readers may meet what it refused");
            }
            return;
        }
        if object.kind == Kind::Index && object.fact("unique") != "t" {
            return;
        }
        let columns_gone = object
            .link("columns")
            .split(',')
            .any(|key| self.before.get(key).is_some_and(|column| self.successor(column).is_none()));
        let mut others = self.after.objects().filter(|other| self.same_parent(other, parent));
        let replaced = others.any(|other| is_arbiter(other) && other.fact("index") == object.fact("index"));
        match (object.kind, replaced) {
            (Kind::Index, true) => {}
            (_, true) => self.tell(
                Check::ObjectRenamed,
                object,
                "is dropped, with another one in its place: ON CONFLICT ON CONSTRAINT fails",
            ),
            // The column was told; what goes with it may still be what ON CONFLICT looks for.
            _ if columns_gone => {
                self.tell(Check::UniqueDropped, object, "goes with its column: ON CONFLICT finds it no more");
            }
            _ => self.tell(
                Check::UniqueDropped,
                object,
                "is dropped: ON CONFLICT finds it no more, and readers may meet doubles",
            ),
        }
    }

    fn same_parent(&self, after: &Object, parent: Option<&Object>) -> bool {
        let parent = parent.and_then(|parent| self.successor(parent));
        parent.is_some_and(|parent| after.parent.as_deref() == Some(parent.key.as_str()))
    }

    /// A constraint or index that was dropped, and made anew in another way under its name.
    pub(super) fn constraint_replaced(&mut self, before: &Object, after: &Object) {
        let (old, new) = (before.fact("definition"), after.fact("definition"));
        match (before.fact("type"), after.fact("type")) {
            ("c", "c") if old == new => {}
            ("c", "c") if allows_more(old, new) => {
                self.tell(
                    Check::BehaviourChanged,
                    before,
                    "lets more values pass: readers may meet one that they do not expect",
                );
            }
            ("f", "f") if without_actions(old) == without_actions(new) => self.actions(before, after),
            (one, other) if one == other && matches!(one, "c" | "f") => self.constraint_added(after, Some(before)),
            _ if before.fact("index") == after.fact("index") && is_unique(before) == is_unique(after) => {
                self.deferrable(before, after);
            }
            _ => {
                self.constraint_dropped(before);
                self.constraint_added(after, Some(before));
            }
        }
    }

    /// What happens to the rows of a foreign key when the row goes that they name.
    fn actions(&mut self, before: &Object, after: &Object) {
        let refuses = |object: &Object, fact| matches!(object.fact(fact), "a" | "r");
        for fact in ["on delete", "on update"] {
            if before.fact(fact) == after.fact(fact) || (refuses(before, fact) && refuses(after, fact)) {
                continue;
            }
            let word = fact.to_uppercase();
            if refuses(after, fact) {
                let message = format!("does nothing {word} any more: what it did for older versions is refused now");
                self.tell(Check::ForeignKeyAdded, before, message);
            } else {
                self.tell(Check::BehaviourChanged, before, format!("does another thing {word}"));
            }
        }
        self.deferrable(before, after);
    }

    fn deferrable(&mut self, before: &Object, after: &Object) {
        if before.fact("deferrable") != after.fact("deferrable") {
            self.constraint_changed(before, after, "deferrable");
        }
    }

    pub(super) fn constraint_changed(&mut self, before: &Object, after: &Object, fact: &str) {
        let unique = matches!(before.fact("type"), "u" | "p" | "x");
        match fact {
            // One that stays changes its text only with the names in it, which were told.
            "definition" | "index" if !self.made_anew(before, after) && self.before.database == self.after.database => {
            }
            "definition" | "index" => self.constraint_replaced(before, after),
            // What was refused before it was validated is refused after it.
            "validated" | "valid" => {}
            "deferrable" if unique && after.fact(fact) == "t" => {
                self.tell(Check::UniqueDropped, before, "becomes deferrable: ON CONFLICT finds it no more");
            }
            "deferrable" | "deferred" | "no inherit" => {
                self.tell(Check::BehaviourChanged, before, "is checked at another time, or on other tables");
            }
            "on delete" | "on update" => self.actions(before, after),
            _ => self.unhandled(before, after, fact),
        }
    }
}

/// Whether every writer gets another value in a column that it does not know.
fn is_numbered(column: &Object) -> bool {
    let default = column.fact("default");
    let numbers = ["nextval(", "gen_random_uuid(", "uuid_generate_v4(", "uuid_generate_v1("];
    !column.fact("identity").is_empty() || numbers.iter().any(|call| default.contains(call))
}

/// Whether it takes no doubles.
fn is_unique(object: &Object) -> bool {
    match object.kind {
        Kind::Index => object.fact("unique") == "t",
        _ => matches!(object.fact("type"), "u" | "p"),
    }
}

/// Whether ON CONFLICT can name its columns.
fn is_arbiter(object: &Object) -> bool {
    is_unique(object) && object.fact("deferrable") != "t" && object.fact("valid") != "f"
}

/// Whether a check lets those pass who do not know its columns, all of which are new.
fn check_passes(check: &Object, columns: &[Option<&Object>], left_out: bool) -> bool {
    let definition = check.fact("definition");
    let bare = TEXT.replace_all(definition, "''");
    // An expression that gives NULL for NULL refuses nothing.
    if left_out && !SEES_NULL.is_match(&STRICT.replace_all(bare.strip_prefix("CHECK ").unwrap_or(&bare), "(")) {
        return true;
    }
    let [Some(column)] = columns else { return false };
    let default = column.fact("default");
    values(definition).is_some_and(|values| !default.is_empty() && values.iter().any(|value| value == default))
}

/// The values that a check lets pass, where it is one that lists them.
fn values(definition: &str) -> Option<Vec<String>> {
    let list = ONE_OF.captures(definition)?.get(2)?.as_str();
    Some(list.split(", ").map(str::to_owned).collect())
}

/// Whether a check lists all the values that another one did.
fn allows_more(old: &str, new: &str) -> bool {
    let column = |text| ONE_OF.captures(text).and_then(|found| found.get(1).map(|name| name.as_str().to_owned()));
    match (values(old), values(new)) {
        (Some(before), Some(after)) => column(old) == column(new) && before.iter().all(|value| after.contains(value)),
        _ => false,
    }
}

/// The definition of a foreign key up to what it does.
fn without_actions(definition: &str) -> &str {
    definition.split(" ON DELETE ").next().and_then(|text| text.split(" ON UPDATE ").next()).unwrap_or(definition)
}
