//! Tables, views and sequences.

use super::Look;
use crate::database::catalog::model::{Kind, Object};
use crate::database::check::Check;

impl Look<'_> {
    pub(super) fn relation_changed(&mut self, before: &Object, after: &Object, fact: &str) {
        match (before.kind, fact) {
            (_, "persistence") if after.fact(fact) == "u" => {
                self.tell(Check::BehaviourChanged, before, "is unlogged now: its rows are gone after a crash");
            }
            (_, "rls" | "rls forced") => {
                let word = if after.fact(fact) == "t" { "is put under" } else { "is no longer under" };
                let message = format!("{word} row level security: writes are refused, or reads find other rows");
                self.tell(Check::RowSecurity, before, message);
            }
            (_, "replica identity") => {
                let message =
                    format!("has the replica identity '{}' now: replicas are told other values", after.fact(fact));
                self.tell(Check::SettingsChanged, before, message);
            }
            (Kind::Table, "parents") => self.parents(before, after),
            // Told with the parents, where these change too.
            (Kind::Table, "bound") if before.fact("parents") != after.fact("parents") => {}
            (Kind::Table, "bound") => {
                self.tell(Check::PartitionDetached, before, "has other bounds: its parent holds other rows");
            }
            (Kind::Table, "server" | "of type") => {
                self.tell(Check::BehaviourChanged, before, "is a table of something else than before");
            }
            // How it is stored; to be logged is only safer.
            (Kind::Table | Kind::MaterializedView, "options") | (_, "persistence") => {}
            (Kind::View, "options") => self.view_options(before, after),
            (_, "definition") => {
                self.tell(Check::BehaviourChanged, before, "is defined in another way: it may give other rows");
            }
            (_, "writes") => self.writes(before, after),
            _ => self.unhandled(before, after, fact),
        }
    }

    fn parents(&mut self, before: &Object, after: &Object) {
        let keys = |object: &Object| -> Vec<String> {
            object.link("parents").split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect()
        };
        let (old, new) = (keys(before), keys(after));
        // Between two databases there are only names, which differ.
        let within = self.before.database == self.after.database;
        let lost = |key: &String| match self.before.get(key) {
            Some(parent) => self.successor(parent).is_some_and(|parent| !new.contains(&parent.key)),
            None => !new.contains(key),
        };
        if old.iter().any(lost) || (!within && !before.fact("parents").is_empty()) {
            let message = format!("is detached from {}: its rows are not found there any more", before.fact("parents"));
            self.tell(Check::PartitionDetached, before, message);
        }
        let gained = |key: &String| match self.after.get(key) {
            Some(parent) => self.origin(parent).is_none_or(|parent| !old.contains(&parent.key)),
            None => !old.contains(key),
        };
        if !new.iter().any(gained) {
            return;
        }
        if after.fact("bound").is_empty() {
            self.tell(
                Check::BehaviourChanged,
                before,
                format!("inherits from {}, which holds its rows too", after.fact("parents")),
            );
        } else {
            let message =
                format!("becomes a partition of {}: rows out of its bounds are refused", after.fact("parents"));
            self.tell(Check::CheckAdded, before, message);
        }
    }

    fn view_options(&mut self, before: &Object, after: &Object) {
        let has = |object: &Object, words: &[&str]| words.iter().any(|word| object.fact("options").contains(word));
        let invoker = ["security_invoker=true", "security_invoker=on", "security_invoker=1"];
        if has(after, &invoker) && !has(before, &invoker) {
            self.tell(
                Check::RightsRevoked,
                before,
                "asks for its reader's rights on what it shows, and not for its owner's",
            );
        } else if has(after, &["check_option"]) && before.fact("options") != after.fact("options") {
            self.tell(Check::CheckAdded, before, "refuses writes of rows that it does not show");
        } else {
            let message =
                format!("has the options '{}' now, and had '{}'", after.fact("options"), before.fact("options"));
            self.tell(Check::BehaviourChanged, before, message);
        }
    }

    /// The kinds of writes that a view takes, as bits.
    fn writes(&mut self, before: &Object, after: &Object) {
        let bits = |object: &Object| object.fact("writes").parse::<u32>().unwrap_or_default();
        if bits(before) & !bits(after) != 0 {
            self.tell(Check::ObjectDropped, before, "can no longer be written: inserts, updates or deletes on it fail");
        }
    }

    pub(super) fn sequence_dropped(&mut self, sequence: &Object) {
        let column_gone =
            self.before.get(sequence.link("owned")).is_some_and(|column| self.successor(column).is_none());
        // It goes with the identity or column that it counts for, of which is told.
        if sequence.link("how") != "i" && !column_gone {
            self.tell(Check::ObjectDropped, sequence, "is dropped: queries that use it fail");
        }
    }

    pub(super) fn sequence_changed(&mut self, before: &Object, after: &Object, fact: &str) {
        let number = |object: &Object| object.fact(fact).parse::<i64>().unwrap_or_default();
        match fact {
            "max" if number(after) < number(before) => {
                self.tell(
                    Check::TypeNarrowed,
                    before,
                    format!("ends at {} and no longer at {}", after.fact(fact), before.fact(fact)),
                );
            }
            // What goes with what.
            "owned by" => {}
            "type" | "start" | "increment" | "max" | "min" | "cache" | "cycle" | "persistence" => {
                let (old, new) = (before.fact(fact), after.fact(fact));
                self.tell(
                    Check::BehaviourChanged,
                    before,
                    format!("has {fact} {new} and no longer {old}: it gives other numbers"),
                );
            }
            _ => self.relation_changed(before, after, fact),
        }
    }
}
