//! Types, functions, triggers, rules and policies.

use super::Look;
use super::types::{Step, step};
use crate::database::catalog::model::{Kind, Object};
use crate::database::check::Check;

impl Look<'_> {
    pub(super) fn type_changed(&mut self, before: &Object, after: &Object, fact: &str) {
        let (old, new) = (before.fact(fact), after.fact(fact));
        match (before.kind, fact) {
            (Kind::Enum, "labels") => self.labels(before, after),
            (Kind::Domain, "base type") => match step(old, new) {
                Step::Wider => self.tell(Check::TypeWidened, before, format!("goes from {old} to {new}")),
                Step::Other => self.tell(
                    Check::TypeNarrowed,
                    before,
                    format!("goes from {old} to {new}: writes or queries may fail"),
                ),
            },
            (Kind::Domain, "not null") if new == "t" => {
                self.tell(Check::DomainTightened, before, "takes no NULL any more: writes of NULL fail");
            }
            (Kind::Domain, "not null") => self.tell(Check::NotNullDropped, before, "takes NULL now"),
            (Kind::Domain, "default") if new.is_empty() && after.fact("not null") == "t" => {
                self.tell(
                    Check::DefaultDropped,
                    before,
                    "has no default any more, and takes no NULL: inserts without it fail",
                );
            }
            (Kind::Domain | Kind::Type, "default") => self.tell(Check::BehaviourChanged, before, "has another default"),
            (Kind::Type, "subtype" | "form") => {
                self.tell(Check::TypeNarrowed, before, "is another type under the same name");
            }
            _ => self.unhandled(before, after, fact),
        }
    }

    fn labels(&mut self, before: &Object, after: &Object) {
        let list = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap_or_default();
        let (old, new) = (list(before.fact("labels")), list(after.fact("labels")));
        let (old_keys, new_keys) = (list(before.link("labels")), list(after.link("labels")));
        let same = !self.made_anew(before, after) && self.before.database == self.after.database;
        let mut renamed = vec![];
        for (label, key) in old.iter().zip(&old_keys).filter(|(label, _)| !new.contains(label)) {
            let now = new_keys.iter().position(|other| same && other == key).and_then(|place| new.get(place));
            renamed.extend(now);
            let message = match now {
                Some(now) => format!("value '{label}' is renamed to '{now}': queries that name it fail"),
                None => format!("value '{label}' is gone: queries that name it fail"),
            };
            self.tell(Check::EnumValueRemoved, before, message);
        }
        for label in new.iter().filter(|label| !old.contains(label) && !renamed.contains(label)) {
            let message = format!("value '{label}' is added: who reads it may not know it");
            self.tell(Check::EnumValueAdded, before, message);
        }
        let common = |list: &[String], other: &[String]| -> Vec<String> {
            list.iter().filter(|label| other.contains(label)).cloned().collect()
        };
        if common(&old, &new) != common(&new, &old) {
            self.tell(
                Check::BehaviourChanged,
                before,
                "has its values in another order: it sorts and compares in another way",
            );
        }
    }

    pub(super) fn function_changed(&mut self, before: &Object, after: &Object, fact: &str) {
        let (old, new) = (before.fact(fact), after.fact(fact));
        let defaults = |object: &Object| object.link("defaults").parse::<u32>().unwrap_or_default();
        match fact {
            "result" if step(old, new) == Step::Other => {
                self.tell(Check::TypeNarrowed, before, format!("gives {new} and no longer {old}: queries may fail"));
            }
            "result" => self.tell(Check::TypeWidened, before, format!("gives {new} and no longer {old}")),
            "form" => {
                self.tell(Check::ObjectDropped, before, "is called in another way: function, procedure or aggregate");
            }
            "arguments" if defaults(after) < defaults(before) => {
                self.tell(Check::ObjectDropped, before, "asks for more arguments: calls that leave them out fail");
            }
            "security definer" if new == "f" => {
                self.tell(Check::RightsRevoked, before, "runs with its caller's rights and no longer with its owner's");
            }
            "arguments" | "language" | "definition" | "volatility" | "strict" | "security definer" | "settings" => {
                self.tell(
                    Check::BehaviourChanged,
                    before,
                    format!("has another {fact}: it may give or do another thing"),
                );
            }
            _ => self.unhandled(before, after, fact),
        }
    }

    /// A trigger or rule that fires on a table that was there.
    pub(super) fn trigger(&mut self, object: &Object, how: &str) {
        if object.fact("enabled") != "D" {
            let message = format!("{how}: it fires on the writes of every version, and may refuse or change them");
            self.tell(Check::TriggerAdded, object, message);
        }
    }

    pub(super) fn trigger_changed(&mut self, before: &Object, after: &Object, fact: &str) {
        match fact {
            "enabled" if after.fact(fact) == "D" => {
                self.tell(Check::SettingsChanged, before, "is disabled: what it did is not done");
            }
            "enabled" if before.fact(fact) == "D" => self.trigger(after, "is enabled"),
            "enabled" => self.tell(Check::SettingsChanged, before, "fires in other sessions than before"),
            "definition" => self.trigger(after, "changes"),
            _ => self.unhandled(before, after, fact),
        }
    }

    /// A policy of a table that was there; it means nothing where row level security is off, before and after.
    pub(super) fn policy(&mut self, policy: &Object) {
        let tables = [self.after.parent(policy), self.before.parent(policy)];
        let successor = tables[1].and_then(|table| self.successor(table));
        if tables.into_iter().chain([successor]).flatten().any(|table| table.fact("rls") == "t") {
            self.tell(
                Check::RowSecurity,
                policy,
                "is added, dropped or changed: writes are refused, or reads find other rows",
            );
        }
    }
}
