//! What changes between two looks at a database, and what that means for a version that does not know the revision.

mod columns;
mod constraints;
mod objects;
mod rights;
mod tables;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeSet, HashMap};

use super::model::{Catalog, Kind, Object};
use crate::database::check::Check;
use crate::database::finding::{Engine, Finding};

/// What differs between `before` and `after` and is more than an addition, in the order of the checks and of the objects'
/// names. `first` is the catalog before the whole pending range: what neither it nor a name in it knows is new, and never
/// counts against anyone. Whatever changes and has no rule here is [`Check::Unhandled`].
///
/// Within one database objects are recognised by their OIDs, so that a rename is told from a drop; between two by name.
///
/// Rows are not looked at: that they go (`dataRemoved`) is not seen here.
#[must_use]
pub fn compare(first: &Catalog, before: &Catalog, after: &Catalog, revision: Option<&str>) -> Vec<Finding> {
    let mut look = Look::new(first, before, after, revision);
    for object in before.objects() {
        match look.successor(object) {
            Some(after) => look.kept(object, after),
            None => look.dropped(object),
        }
    }
    for object in after.objects() {
        if !look.origins.contains_key(object.key.as_str()) {
            look.added(object);
        }
    }
    look.found.sort();
    look.found.dedup();
    look.found
}

/// Two looks at a database, and what was found so far.
struct Look<'a> {
    first: &'a Catalog,
    before: &'a Catalog,
    after: &'a Catalog,
    revision: Option<&'a str>,
    /// What became of an object, by its key before.
    successors: HashMap<&'a str, &'a Object>,
    /// What an object was, by its key after.
    origins: HashMap<&'a str, &'a Object>,
    found: Vec<Finding>,
}

impl<'a> Look<'a> {
    fn new(first: &'a Catalog, before: &'a Catalog, after: &'a Catalog, revision: Option<&'a str>) -> Self {
        let mut look =
            Self { first, before, after, revision, successors: HashMap::new(), origins: HashMap::new(), found: vec![] };
        let same = before.database == after.database;
        let by_key = |object: &Object| after.get(&object.key).filter(|other| same && other.kind == object.kind);
        let by_name = |object: &Object| after.find(object.kind, &object.full);
        for find in [&by_key as &dyn Fn(&Object) -> Option<&'a Object>, &by_name] {
            for object in
                before.objects().filter(|object| !look.successors.contains_key(object.key.as_str())).collect::<Vec<_>>()
            {
                let Some(other) = find(object).filter(|other| !look.origins.contains_key(other.key.as_str())) else {
                    continue;
                };
                look.successors.insert(&object.key, other);
                look.origins.insert(&other.key, object);
            }
        }
        look
    }

    /// What became of an object of before.
    fn successor(&self, object: &Object) -> Option<&'a Object> {
        self.successors.get(object.key.as_str()).copied()
    }

    /// Whether the column that a sequence counts for is another one than before, or none.
    fn counts_for_another(&self, sequence: &Object) -> bool {
        let column = self.before.get(sequence.link("owned"));
        let same = |column: &Object| self.successor(column).is_some_and(|after| !self.made_anew(column, after));
        sequence.link("how") == "i" || column.is_some_and(|column| !same(column))
    }

    /// What an object of after was.
    fn origin(&self, object: &Object) -> Option<&'a Object> {
        self.origins.get(object.key.as_str()).copied()
    }

    /// Whether an object of before stood there, itself or one of its name, before the whole pending range.
    fn is_old(&self, object: &Object) -> bool {
        let by_key = self.first.database == self.before.database && self.first.get(&object.key).is_some();
        by_key || self.first.find(object.kind, &object.full).is_some()
    }

    /// Whether an object of after was there before the whole pending range.
    fn was_there(&self, object: &Object) -> bool {
        self.is_old(self.origin(object).unwrap_or(object))
    }

    /// Whether what an object of after belongs to was there before the whole pending range.
    fn on_old(&self, object: &Object) -> bool {
        self.after.parent(object).is_none_or(|parent| self.was_there(parent))
    }

    /// Whether an object was dropped and made anew under its name.
    fn made_anew(&self, before: &Object, after: &Object) -> bool {
        self.before.database == self.after.database && before.key != after.key
    }

    fn tell(&mut self, check: Check, object: &Object, message: impl Into<String>) {
        self.found.push(Finding {
            check,
            revision: self.revision.map(str::to_owned),
            object: object.to_string(),
            message: message.into(),
            engine: Engine::Catalog,
            place: None,
            statement: None,
            large: false,
        });
    }

    fn dropped(&mut self, object: &Object) {
        let with_parent = self.before.parent(object).is_some_and(|parent| self.successor(parent).is_none());
        // What a parent had to lose, its children lost with it.
        if !self.is_old(object) || with_parent || object.link("inherited") == "t" {
            return;
        }
        match object.kind {
            Kind::Schema => {
                self.tell(Check::SchemaDropped, object, "is dropped with all that it holds: queries on it fail");
            }
            Kind::Table => self.tell(Check::TableDropped, object, "is dropped: queries on it fail"),
            Kind::Column => self.tell(Check::ColumnDropped, object, "is dropped: queries that name it fail"),
            Kind::Sequence => self.sequence_dropped(object),
            Kind::Constraint | Kind::Index => self.constraint_dropped(object),
            Kind::View
            | Kind::MaterializedView
            | Kind::Composite
            | Kind::Enum
            | Kind::Domain
            | Kind::Type
            | Kind::Function
            | Kind::Extension => {
                self.tell(Check::ObjectDropped, object, "is dropped: queries that use it fail");
            }
            Kind::Trigger | Kind::Rule => self.tell(
                Check::BehaviourChanged,
                object,
                "is dropped: what it did on writes is not done for older versions either",
            ),
            Kind::Policy => self.policy(object),
            Kind::Right | Kind::DefaultRight | Kind::Role | Kind::Member | Kind::Setting => self.right_dropped(object),
            Kind::EventTrigger => self.tell(Check::BehaviourChanged, object, "is dropped"),
            Kind::Other => self.tell(Check::Unhandled, object, "is dropped, and no check knows what that means"),
        }
    }

    fn added(&mut self, object: &Object) {
        // What belongs to something new counts against nobody; what came with a parent was told there.
        let with_parent = self.after.parent(object).is_some_and(|parent| self.origin(parent).is_none());
        if with_parent || !self.on_old(object) || object.link("inherited") == "t" {
            return;
        }
        match object.kind {
            Kind::Column => self.column_added(object),
            Kind::Constraint | Kind::Index => self.constraint_added(object, None),
            Kind::Trigger | Kind::Rule => self.trigger(object, "is added"),
            Kind::Policy => self.policy(object),
            Kind::EventTrigger => self.tell(Check::BehaviourChanged, object, "is added: commands may be refused"),
            Kind::Setting => self.setting(object, ""),
            Kind::Other if object.link("word") == "cast" => {
                self.tell(
                    Check::Unhandled,
                    object,
                    "is added: queries may mean another thing, and no check knows which",
                );
            }
            Kind::Schema
            | Kind::Extension
            | Kind::Table
            | Kind::View
            | Kind::MaterializedView
            | Kind::Sequence
            | Kind::Composite
            | Kind::Enum
            | Kind::Domain
            | Kind::Type
            | Kind::Function
            | Kind::Right
            | Kind::DefaultRight
            | Kind::Role
            | Kind::Member
            | Kind::Other => {}
        }
    }

    fn kept(&mut self, before: &Object, after: &Object) {
        if !self.is_old(before) {
            self.new_kept(before, after);
            return;
        }
        if self.made_anew(before, after) && self.replaced(before, after) {
            return;
        }
        self.renamed(before, after);
        let same = self.before.database == self.after.database;
        if same && before.parent != after.parent && !self.made_anew(before, after) {
            self.tell(
                Check::SchemaMoved,
                before,
                format!("is moved to {after}: queries find it only on their search path"),
            );
        }
        self.linked(before, after);
        let names: BTreeSet<&String> = before.facts.keys().chain(after.facts.keys()).collect();
        for name in names {
            if before.fact(name) != after.fact(name) {
                self.changed(before, after, name);
            }
        }
    }

    /// What was made inside the pending range may still come to stand in the way on what was there before.
    fn new_kept(&mut self, before: &Object, after: &Object) {
        if !self.on_old(after) || after.link("inherited") == "t" {
            return;
        }
        match after.kind {
            Kind::Column => self.new_column_changed(before, after),
            Kind::Trigger | Kind::Rule if before.facts != after.facts => self.trigger(after, "changes"),
            Kind::Policy if before.facts != after.facts => self.policy(after),
            Kind::Constraint | Kind::Index if before.facts != after.facts => self.constraint_added(after, Some(before)),
            Kind::Setting if before.facts != after.facts => self.setting(after, ""),
            _ => {}
        }
    }

    /// Tells what is lost with the old object where one of its name takes its place; false where only the definition counts.
    fn replaced(&mut self, before: &Object, after: &Object) -> bool {
        let parent_too = match (self.before.parent(before), self.after.parent(after)) {
            (Some(one), Some(other)) => self.made_anew(one, other),
            _ => false,
        };
        let of_table = self.before.parent(before).is_some_and(|parent| parent.kind == Kind::Table);
        match before.kind {
            Kind::Table => self.tell(Check::TableDropped, before, "is dropped and made anew: its rows are gone"),
            // It counts for a column that was told.
            Kind::Sequence if self.counts_for_another(before) => {}
            Kind::Sequence => {
                self.tell(Check::SequenceReset, before, "is dropped and made anew: it gives numbers that are taken");
            }
            // The table was told already.
            _ if of_table && parent_too => {}
            Kind::Column if of_table => {
                self.tell(Check::ColumnDropped, before, "is dropped and made anew: its values are gone");
                self.column_added(after);
            }
            Kind::Constraint | Kind::Index if before.facts != after.facts => self.constraint_replaced(before, after),
            _ => return false,
        }
        true
    }

    fn renamed(&mut self, before: &Object, after: &Object) {
        let name = |object: &Object| match object.kind {
            // The name of a function holds the names of types, which may change too.
            Kind::Function => object.link("name").to_owned(),
            _ => object.name.clone(),
        };
        if name(before) == name(after) {
            return;
        }
        let message = format!("is renamed to {}: what names it fails", after.full);
        match before.kind {
            Kind::Column => self.tell(Check::ColumnRenamed, before, message),
            Kind::Table => self.tell(Check::TableRenamed, before, message),
            Kind::Role => self.tell(Check::RightsRevoked, before, message),
            Kind::Trigger | Kind::Rule => {
                self.tell(
                    Check::BehaviourChanged,
                    before,
                    format!("is renamed to {}: it fires in another order", after.name),
                );
            }
            // No query can name an index, a policy or an event trigger; for the others the role was told.
            Kind::Index
            | Kind::Policy
            | Kind::EventTrigger
            | Kind::Right
            | Kind::DefaultRight
            | Kind::Member
            | Kind::Setting => {}
            // Also a constraint: writes name it in ON CONFLICT ON CONSTRAINT, or versions look for it in errors.
            _ => self.tell(Check::ObjectRenamed, before, message),
        }
    }

    /// What is known within one database alone.
    fn linked(&mut self, before: &Object, after: &Object) {
        let number = |object: &Object| object.link("last").parse::<i64>().ok();
        if before.kind == Kind::Sequence && number(before).is_some() && number(after) < number(before) {
            self.tell(Check::SequenceReset, before, "is set back: it gives numbers that are taken");
        }
        if before.link("populated") == "t" && after.link("populated") == "f" {
            self.tell(Check::ObjectDropped, before, "is emptied: queries on it fail until it is refreshed");
        }
    }

    fn changed(&mut self, before: &Object, after: &Object, fact: &str) {
        match (before.kind, fact) {
            (Kind::Function, "owner") if before.fact("security definer") != "t" => {
                // It runs with its caller's rights; only who may replace it changes.
                self.tell(Check::RightsRevoked, before, owner(before, after));
            }
            (_, "owner") => self.tell(Check::RightsRevoked, before, owner(before, after)),
            (Kind::Table | Kind::View | Kind::MaterializedView, _) => self.relation_changed(before, after, fact),
            (Kind::Sequence, _) => self.sequence_changed(before, after, fact),
            (Kind::Column, _) => self.column_changed(before, after, fact),
            (Kind::Constraint | Kind::Index, _) => self.constraint_changed(before, after, fact),
            (Kind::Trigger | Kind::Rule, _) => self.trigger_changed(before, after, fact),
            (Kind::Policy, "definition") => self.policy(after),
            (Kind::Enum | Kind::Domain | Kind::Type, _) => self.type_changed(before, after, fact),
            (Kind::Function, _) => self.function_changed(before, after, fact),
            (Kind::Extension, "version") => {
                let versions = format!("{} to {}", before.fact(fact), after.fact(fact));
                self.tell(Check::SettingsChanged, before, format!("is updated from {versions}"));
            }
            (Kind::Extension, "schema") => {
                let message =
                    format!("is moved to schema {}: queries find it only on their search path", after.fact(fact));
                self.tell(Check::SchemaMoved, before, message);
            }
            (Kind::EventTrigger, _) => self.tell(Check::BehaviourChanged, before, "changes: commands may be refused"),
            (Kind::Right | Kind::DefaultRight | Kind::Role | Kind::Setting, _) => {
                self.right_changed(before, after, fact);
            }
            _ => self.unhandled(before, after, fact),
        }
    }

    /// What no rule knows.
    fn unhandled(&mut self, before: &Object, after: &Object, fact: &str) {
        let message = format!(
            "{fact} changes from '{}' to '{}', and no check knows what that means",
            before.fact(fact),
            after.fact(fact)
        );
        self.tell(Check::Unhandled, before, message);
    }
}

fn owner(before: &Object, after: &Object) -> String {
    format!("goes from owner {} to {}, and the rights of an owner with it", before.fact("owner"), after.fact("owner"))
}
