//! Columns.

use super::Look;
use super::types::{Step, has_equality, step};
use crate::database::catalog::model::{Kind, Object};
use crate::database::check::Check;

impl Look<'_> {
    /// A column that came to what was there before.
    pub(super) fn column_added(&mut self, column: &Object) {
        let on = self.after.parent(column).map(|parent| parent.kind);
        match on {
            Some(Kind::Table) => {
                self.tell(Check::ColumnAdded, column, "is added: a prepared SELECT * fails once for each connection");
            }
            Some(Kind::Composite) => {
                self.tell(
                    Check::TypeNarrowed,
                    column,
                    "is added to a composite type: rows without it cannot be cast to it",
                );
            }
            _ => {}
        }
        for (check, message) in demands(column, on) {
            self.tell(check, column, message);
        }
    }

    /// A column that the pending range made: what it asks of writers now, and did not before.
    pub(super) fn new_column_changed(&mut self, before: &Object, after: &Object) {
        let on = self.after.parent(after).map(|parent| parent.kind);
        let known: Vec<Check> = demands(before, on).into_iter().map(|(check, _)| check).collect();
        for (check, message) in demands(after, on) {
            if !known.contains(&check) {
                self.tell(check, after, message);
            }
        }
    }

    pub(super) fn column_changed(&mut self, before: &Object, after: &Object, fact: &str) {
        match fact {
            "type" => self.column_type(before, after),
            "not null" if after.fact(fact) == "t" => {
                self.tell(Check::NotNullSet, before, "takes no NULL any more: writes of NULL fail");
            }
            "not null" if self.before.parent(before).is_some_and(|parent| parent.kind == Kind::Table) => {
                self.tell(
                    Check::NotNullDropped,
                    before,
                    "takes NULL now: readers may meet one that they do not expect",
                );
            }
            // What a domain is made of follows the type; a view's columns take whatever is in its tables.
            "not null" | "base type" => {}
            "default" => self.default(before, after),
            "identity" => self.identity(before, after),
            "generated" => {
                let message = "is no longer computed, or computed in another way: writers leave it to the database";
                self.tell(Check::IdentityChanged, before, message);
            }
            "collation" => self.tell(
                Check::BehaviourChanged,
                before,
                "gets another collation: it sorts and compares in another way",
            ),
            _ => self.unhandled(before, after, fact),
        }
    }

    fn column_type(&mut self, before: &Object, after: &Object) {
        let (old, new) = (before.fact("type"), after.fact("type"));
        // The same type under another name was told of the type.
        let same = self.before.database == self.after.database && before.link("type") == after.link("type");
        let size = |name: &str| name.split_once('(').map(|(_, size)| size.to_owned());
        if same && size(old) == size(new) {
            return;
        }
        match step(old, new) {
            Step::Wider => self.tell(
                Check::TypeWidened,
                before,
                format!("goes from {old} to {new}: statements that are prepared fail once for each connection"),
            ),
            Step::Other => self.tell(
                Check::TypeNarrowed,
                before,
                format!(
                    "goes from {old} to {new}, which does not hold and do all that it did: writes or queries may fail"
                ),
            ),
        }
    }

    fn default(&mut self, before: &Object, after: &Object) {
        let (old, new) = (before.fact("default"), after.fact("default"));
        // What a generated column is computed from is read as its default; without it the change was told already.
        if !before.fact("generated").is_empty() && after.fact("generated").is_empty() {
            return;
        }
        let numbered = !before.fact("identity").is_empty() || !after.fact("identity").is_empty();
        let retyped = before.fact("type") != after.fact("type");
        if retyped && without_casts(old) == without_casts(new) {
            return;
        }
        match (old.is_empty(), new.is_empty()) {
            // It counts by itself now, or did.
            (false, true) | (true, false) if numbered => {}
            (false, true) if after.fact("not null") == "t" => {
                self.tell(
                    Check::DefaultDropped,
                    before,
                    "has no default any more, and must be written: inserts without it fail",
                );
            }
            (false, true) => {
                self.tell(
                    Check::BehaviourChanged,
                    before,
                    format!("has no default any more, which was {old}: inserts without it write NULL"),
                );
            }
            (true, _) => {
                self.tell(
                    Check::BehaviourChanged,
                    before,
                    format!("has a default now: inserts without it write {new}"),
                );
            }
            _ => self.tell(Check::BehaviourChanged, before, format!("has the default {new} and no longer {old}")),
        }
        if !after.link("denied").is_empty() && before.link("sequence") != after.link("sequence") {
            self.tell(Check::SerialAdded, before, serial(after));
        }
    }

    fn identity(&mut self, before: &Object, after: &Object) {
        match (before.fact("identity"), after.fact("identity")) {
            (_, "a") => self.tell(
                Check::IdentityChanged,
                before,
                "is always numbered by the database: inserts that give it a value fail",
            ),
            ("a", "d") => {}
            ("", _) => self.tell(Check::BehaviourChanged, before, "is numbered by the database where it is left out"),
            (_, "") if !after.fact("default").is_empty() => {
                self.tell(Check::BehaviourChanged, before, "is numbered by a default and no longer by an identity");
            }
            _ => self.tell(
                Check::IdentityChanged,
                before,
                "is no longer numbered by the database: inserts without it fail",
            ),
        }
    }
}

/// What a new column asks of those who do not know it.
fn demands(column: &Object, on: Option<Kind>) -> Vec<(Check, String)> {
    let mut asked = vec![];
    let says = |name| column.link(name) == "t";
    let filled = !column.fact("default").is_empty() || !column.fact("identity").is_empty() || says("type default");
    let required = column.fact("not null") == "t" || says("type refuses null");
    if on == Some(Kind::Table) && required && !filled {
        asked.push((
            Check::RequiredColumnAdded,
            "is new, must be written and has no default: inserts that do not know it fail".to_owned(),
        ));
    }
    let base = column.facts.get("base type").map_or_else(|| column.fact("type"), String::as_str);
    if matches!(on, Some(Kind::Table | Kind::View | Kind::MaterializedView)) && !has_equality(base) {
        asked.push((
            Check::JsonAdded,
            format!("is new and of type {base}, which has no equality: SELECT DISTINCT * fails"),
        ));
    }
    if !column.link("denied").is_empty() {
        asked.push((Check::SerialAdded, serial(column)));
    }
    asked
}

fn serial(column: &Object) -> String {
    let who = column.link("denied");
    format!("counts by a sequence that {who} may not use, and may insert into the table: inserts fail")
}

/// An expression without the types that are written behind its values.
fn without_casts(expression: &str) -> String {
    let mut text = expression.to_owned();
    for name in [
        "::character varying",
        "::text",
        "::bigint",
        "::integer",
        "::smallint",
        "::numeric",
        "::double precision",
        "::real",
    ] {
        text = text.replace(name, "");
    }
    text.replace(['(', ')', '\''], "")
}
