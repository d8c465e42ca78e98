//! What a run left behind, by what the database says before and after.

use std::collections::BTreeMap;

use super::{Outcome, named, same};
use crate::database::connection::{Connection, DatabaseError};

/// What a database says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The revisions that it notes.
    pub(super) heads: Vec<String>,
    /// What its schema comes to.
    pub(super) digest: String,
    /// Its invalid indexes.
    pub(super) invalid: Vec<String>,
}

impl State {
    /// What is wrong where the schema is not that of the revision that is noted.
    pub(super) fn drift(&self, digests: &BTreeMap<String, String>) -> Option<String> {
        let [head] = self.heads.as_slice() else { return None };
        let differs = digests.get(head).is_some_and(|digest| *digest != self.digest);
        differs.then(|| {
            format!(
                "before it began the schema was not that of {head} already: something was changed by hand, or an earlier \
                 run was left half-way"
            )
        })
    }
}

/// What a run that failed left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// Whole revisions, up to this one.
    Whole(String),
    /// Something that belongs to no revision, or that cannot be told, in a few words.
    Half(String),
}

/// What was left, given what the schema comes to at each revision. Rows are not looked at: a revision that failed after
/// it had written rows outside of its transaction is not told from one that did nothing.
pub(super) fn left(before: &State, after: &State, digests: &BTreeMap<String, String>) -> Left {
    let at = named(&after.heads);
    if same(&before.heads, &after.heads) {
        return if before.digest == after.digest {
            Left::Nothing
        } else {
            Left::Half(format!("the database still notes {at}, and its schema is another than before"))
        };
    }
    let known = match after.heads.as_slice() {
        [] if before.drift(digests).is_none() => digests.get(""),
        [head] if before.drift(digests).is_none() => digests.get(head),
        _ => None,
    };
    match known {
        Some(digest) if *digest == after.digest => Left::Whole(at),
        Some(_) => Left::Half(format!("the database notes {at}, and its schema is not that of {at}")),
        None => Left::Half(format!(
            "the database notes {at} now, and whether anything beyond that is there cannot be told: what the schema is at \
             {at} was not tried on a copy"
        )),
    }
}

/// What is made of a run that failed for `why`; `last` is the revision that the migrator told of last.
pub(super) fn outcome(why: &str, before: &State, after: &State, left: &Left, last: Option<&str>) -> Outcome {
    match left {
        Left::Nothing => Outcome::Undone {
            message: format!("{why}. Nothing is left behind: the database is at {}, as before", named(&after.heads)),
        },
        Left::Whole(at) => Outcome::Undone {
            message: format!("{why}. The database is at {at}, and whole: what comes after that was not applied"),
        },
        Left::Half(what) => {
            let last = last.map(|last| format!(". Something of {last} is there")).unwrap_or_default();
            let new = after.invalid.iter().filter(|index| !before.invalid.contains(index));
            let drops: Vec<String> =
                new.map(|index| format!("drop the invalid index (DROP INDEX CONCURRENTLY {index}); ")).collect();
            let drops = drops.concat();
            Outcome::HalfWay {
                message: format!("{why}. It is left half-way: {what}{last}"),
                remedy: format!(
                    "{drops}compare the schema with what the revision does, take back or finish by hand what is there of it, \
                     and run this again; or restore the backup"
                ),
            }
        }
    }
}

/// The revisions that are there now and were not before, in their order: of those that were planned, else of those that
/// the migrator told of.
pub(super) fn applied(steps: &[String], told: &[String], before: &[String], after: &[String]) -> Vec<String> {
    if same(before, after) {
        return vec![];
    }
    let up_to = |list: &[String]| {
        let last = list.iter().rposition(|step| after.contains(step))?;
        Some(list.iter().take(last + 1).cloned().collect())
    };
    let new = || after.iter().filter(|head| !before.contains(head)).cloned().collect();
    up_to(steps).or_else(|| up_to(told)).unwrap_or_else(new)
}

/// The indexes that are invalid, as `schema.name` that SQL reads. Those of partitioned tables are until all their parts
/// are attached, and do not count.
pub(super) async fn invalid_indexes(connection: &Connection) -> Result<Vec<String>, DatabaseError> {
    let question = "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) \
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind = 'i' AND NOT i.indisvalid ORDER BY 1";
    let rows = connection.rows("list its invalid indexes", question).await?;
    Ok(rows.iter().filter_map(|row| row.get(0).map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(heads: &[&str], digest: &str) -> State {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        State { heads, digest: digest.to_owned(), invalid: vec![] }
    }

    #[test]
    fn what_is_left_is_told_by_the_revision_and_the_schema() {
        let digests = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(revision, digest)| ((*revision).to_owned(), (*digest).to_owned())).collect()
        };
        let tried = digests(&[("a1", "A"), ("b2", "B")]);
        let none = digests(&[]);
        let whole = || Left::Whole("b2".to_owned());
        for (before, after, digests, expected) in [
            (state(&["a1"], "A"), state(&["a1"], "A"), &tried, Some(Left::Nothing)),
            (state(&["a1"], "X"), state(&["a1"], "X"), &tried, Some(Left::Nothing)),
            (state(&["a1", "c"], "A"), state(&["c", "a1"], "A"), &none, Some(Left::Nothing)),
            (state(&["a1"], "A"), state(&["a1"], "A2"), &tried, None),
            (state(&["a1"], "A"), state(&["b2"], "B"), &tried, Some(whole())),
            (state(&["a1"], "A"), state(&["b2"], "B2"), &tried, None),
            // The copy did not begin with what was there.
            (state(&["a1"], "X"), state(&["b2"], "B"), &tried, None),
            (state(&["a1"], "A"), state(&["b2"], "B"), &none, None),
            (state(&[], ""), state(&["b2"], "B"), &tried, Some(whole())),
            (state(&["a1"], "A"), state(&["b2", "c"], "B"), &tried, None),
        ] {
            let found = left(&before, &after, digests);
            match expected {
                Some(expected) => assert_eq!(found, expected, "{before:?} {after:?}"),
                None => assert!(matches!(found, Left::Half(_)), "{before:?} {after:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_was_applied_is_told_in_its_order() {
        let list = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        for (steps, told, before, after, expected) in [
            ("a b c", "a b c", "", "c", "a b c"),
            ("a b c", "a b c", "", "b", "a b"),
            ("a b c", "a b", "x", "x", ""),
            ("", "a b", "", "b", "a b"),
            ("", "", "a", "c", "c"),
            ("b c m", "", "a", "m", "b c m"),
        ] {
            assert_eq!(applied(&list(steps), &list(told), &list(before), &list(after)), list(expected), "{steps}");
        }
    }
}
