//! What is made inside the pending range: no version uses it yet, so nothing that happens to it breaks one.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::statement::{Class, Statement, Target};
use super::words::Name;

/// A column that was added to a table that was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    /// Whether writers that do not name it write something else than NULL.
    pub(super) has_default: bool,
    /// Whether it takes no NULL.
    pub(super) is_required: bool,
}

#[derive(Debug, Default)]
pub(super) struct News {
    objects: BTreeSet<(Class, String)>,
    columns: BTreeMap<(String, String), Column>,
    constraints: BTreeSet<(String, String)>,
}

impl News {
    /// Whether the object is new.
    pub(super) fn has(&self, class: Class, name: &Name) -> bool {
        // A temporary table hides another of its name, unless the other's schema is written.
        let hides = !name.has_schema && self.objects.contains(&(class, format!("pg_temp.{}", name.name)));
        let is_of_new_schema = self.objects.contains(&(Class::Schema, name.schema.clone()));
        hides || is_of_new_schema || self.objects.contains(&(class, key(class, name)))
    }

    pub(super) fn table(&self, name: &Name) -> bool {
        self.has(Class::Relation, name)
    }

    pub(super) fn column(&self, table: &Name, column: &str) -> Option<Column> {
        self.columns.get(&(table.to_string(), column.to_owned())).copied()
    }

    pub(super) fn set_column(&mut self, table: &Name, column: &str, known: Column) {
        self.columns.insert((table.to_string(), column.to_owned()), known);
    }

    pub(super) fn rename_column(&mut self, table: &Name, from: &str, to: &str) {
        if let Some(known) = self.columns.remove(&(table.to_string(), from.to_owned())) {
            self.set_column(table, to, known);
        }
    }

    pub(super) fn constraint(&self, table: &Name, constraint: &str) -> bool {
        self.constraints.contains(&(table.to_string(), constraint.to_owned()))
    }

    pub(super) fn add_constraint(&mut self, table: &Name, constraint: &str) {
        self.constraints.insert((table.to_string(), constraint.to_owned()));
    }

    pub(super) fn rename(&mut self, class: Class, from: &Name, to: &str) {
        if self.objects.remove(&(class, key(class, from))) {
            self.objects.insert((class, key(class, &Name { name: to.to_owned(), ..from.clone() })));
        }
    }

    /// Notes what a statement makes and takes away.
    pub(super) fn note(&mut self, statement: &Statement, targets: &[Target], context: &Context) {
        if statement.begins(&["drop"]) {
            for target in targets.iter().filter(|target| target.of_table.is_none()) {
                self.objects.remove(&(target.class, key(target.class, &target.name)));
                self.objects.remove(&(target.class, format!("pg_temp.{}", target.name.name)));
            }
        }
        if !statement.begins(&["create"]) || statement.has_all(&["on", "commit", "drop"]) {
            return;
        }
        // What is made only where it is not there yet, or replaced, may have been there.
        let may_be_old = statement.has_all(&["or", "replace"])
            || statement.has_all(&["if", "not", "exists"]) && !targets.iter().all(|target| context.lacks(&target.name));
        for target in targets.iter().filter(|_| !may_be_old) {
            let name = match &target.of_table {
                Some(index) if target.noun == "index" => Name { name: index.clone(), ..target.name.clone() },
                Some(_) => continue,
                None => target.name.clone(),
            };
            self.objects.insert((target.class, key(target.class, &name)));
        }
    }
}

fn key(class: Class, name: &Name) -> String {
    match class {
        Class::Schema | Class::Other => name.name.clone(),
        _ => name.to_string(),
    }
}
