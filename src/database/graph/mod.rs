//! The graph of migrations: which revision comes after which. It comes from the new image, and from nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use super::migrator::MigratorError;

pub mod alembic;
pub mod files;
mod python;
#[cfg(test)]
mod tests;

/// One migration: a revision file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// Its revision id.
    pub id: String,
    /// The revisions before it: several for a merge, none for the first.
    pub down: Vec<String>,
    /// Further revisions that have to be there first.
    pub depends_on: Vec<String>,
    /// The labels of the branch that begins here.
    pub labels: Vec<String>,
    /// What it says of itself, in one line.
    pub title: String,
    /// Its file, where that is known.
    pub file: Option<PathBuf>,
    /// The digest of its file, where it can be read: `sha256:` and 64 hex digits.
    pub digest: Option<String>,
    /// Whether it leaves its transaction (`autocommit_block`), so that it can be left half-applied.
    pub autocommit: bool,
    /// Whether its code speaks of the column in which revisions are noted (`version_num`), so that it may widen it.
    pub version_column: bool,
}

impl Migration {
    /// All revisions that have to be there first: those before it, and those that it depends on.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.down.iter().chain(&self.depends_on).map(String::as_str)
    }

    /// Its id, and its file where that is known.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.file {
            Some(file) => format!("{} ({})", self.id, file.display()),
            None => self.id.clone(),
        }
    }
}

/// All migrations of an image. Every revision that one of them names is there, and none comes after itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    migrations: BTreeMap<String, Migration>,
}

/// Why there is no graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// Two revisions have the same id.
    #[error("revision {first} has the same id as {second}: Alembic would run only one of them. Give one a new id")]
    Duplicate {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Two revisions have the same label, or one has a label that is another's id.
    #[error("the branch label '{label}' of revision {first} is taken by {second}: give one another name")]
    Label {
        /// The label.
        label: String,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// The chain is broken.
    #[error(
        "revision {migration} {relation} {parent}, and there is no revision {parent} in this image: put its file into the \
         image, or correct the id in {field}"
    )]
    Missing {
        /// The revision, with its file.
        migration: String,
        /// How it needs the other.
        relation: &'static str,
        /// The one that is not there.
        parent: String,
        /// Where it is named.
        field: &'static str,
    },
    /// A revision comes after itself.
    #[error("revisions come after themselves: {}. Correct down_revision or depends_on in one of them", .migrations.join(", which comes after "))]
    Cycle {
        /// The revisions on the way round, with their files, each after the next; the last is the first.
        migrations: Vec<String>,
    },
    /// A file or folder cannot be read.
    #[error("cannot read revisions from {}: {source}. Name the folder of the revision files in migrations.revisionFiles", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder has no revision file.
    #[error("there is no revision file in {}: name the folder of the revision files in migrations.revisionFiles", .folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// A value is not written out.
    #[error(
        "{}:{line}: {name} is computed, and files are only read: write it out as a string, a tuple of strings or None, or \
         let Alembic itself be asked (no migrations.revisionFiles)", .path.display()
    )]
    Computed {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The variable.
        name: String,
    },
    /// A file is no Python.
    #[error("{}:{line}: {problem}: this is no Python file that can be read", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A revision file does not say all that it has to.
    #[error("{}: this revision file has no {name}: Alembic needs both revision and down_revision", .path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        name: &'static str,
    },
    /// An id has characters that mean something to Alembic.
    #[error("{}: Alembic takes no revision id '{id}': it may not be empty, nor have any of @ + - : in it", .path.display())]
    Identifier {
        /// The file.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// Alembic failed.
    #[error(
        "'{command}' failed: {words}. It needs no database, unless alembic.ini says revision_environment; where it cannot \
         be asked, name the folder of the revision files in migrations.revisionFiles"
    )]
    Alembic {
        /// How it was called.
        command: String,
        /// Its last words.
        words: String,
    },
    /// Alembic said something else than Alembic does.
    #[error(
        "cannot understand what '{command}' says: {problem}. Look whether it is Alembic and whether something else prints \
         to its standard output, or name the folder of the revision files in migrations.revisionFiles"
    )]
    NotUnderstood {
        /// How it was called.
        command: String,
        /// What is not understood.
        problem: String,
    },
    /// Alembic could not be run.
    #[error(transparent)]
    Migrator(#[from] MigratorError),
}

impl Graph {
    /// The graph of these migrations. Labels in `depends_on` become the ids that they stand for.
    ///
    /// # Errors
    /// When two have the same id or label, one comes after a revision that is not there, or after itself.
    pub fn new(all: Vec<Migration>) -> Result<Self, GraphError> {
        let mut migrations = BTreeMap::<String, Migration>::new();
        for migration in all {
            if let Some(other) = migrations.get(&migration.id) {
                return Err(GraphError::Duplicate { first: migration.place(), second: other.place() });
            }
            migrations.insert(migration.id.clone(), migration);
        }
        let labels = labels(&migrations)?;
        for migration in migrations.values_mut() {
            deduplicate(&mut migration.down);
            for dependency in &mut migration.depends_on {
                if let Some(id) = labels.get(dependency) {
                    dependency.clone_from(id);
                }
            }
            deduplicate(&mut migration.depends_on);
        }
        let graph = Self { migrations };
        graph.is_whole()?;
        match graph.cycle() {
            Some(migrations) => Err(GraphError::Cycle { migrations }),
            None => Ok(graph),
        }
    }

    /// All migrations, in the order of their ids.
    pub fn migrations(&self) -> impl Iterator<Item = &Migration> {
        self.migrations.values()
    }

    /// A migration by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Migration> {
        self.migrations.get(id)
    }

    /// The revisions that no other comes after or depends on, in the order of their ids. (Alembic also calls one a head
    /// on which another only depends; the database does not note it beside that one.)
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.noted(&self.migrations.keys().map(String::as_str).collect())
    }

    /// What the database notes when these revisions have run, and all that come before them: those that none of them
    /// comes after.
    #[must_use]
    pub fn noted(&self, ran: &BTreeSet<&str>) -> Vec<String> {
        let followed: BTreeSet<&str> = ran.iter().filter_map(|id| self.get(id)).flat_map(Migration::parents).collect();
        ran.difference(&followed).map(|id| (*id).to_owned()).collect()
    }

    /// These revisions and all that come before them, by `down` and `depends_on`. What is not in the graph is left out.
    #[must_use]
    pub fn ancestors(&self, of: &[String]) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = of.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if let Some(migration) = self.get(id)
                && found.insert(migration.id.as_str())
            {
                open.extend(migration.parents());
            }
        }
        found
    }

    /// What has to run to come from these revisions (none: from an empty database) to those, in an order in which each
    /// comes after all that it needs. The order is always the same, and keeps the revisions of a branch together.
    #[must_use]
    pub fn between(&self, from: &[String], to: &[String]) -> Vec<&Migration> {
        let mut seen = self.ancestors(from);
        let mut order = vec![];
        let goals: BTreeSet<&String> = to.iter().collect();
        for goal in goals {
            let Some(goal) = self.get(goal).filter(|goal| seen.insert(&goal.id)) else { continue };
            // Depth first, without recursion: a chain may have thousands of revisions.
            let mut open = vec![(goal, goal.parents().collect::<Vec<_>>().into_iter())];
            while let Some((migration, parents)) = open.last_mut() {
                match parents.next().map(|parent| self.get(parent).filter(|_| seen.insert(parent))) {
                    Some(Some(parent)) => open.push((parent, parent.parents().collect::<Vec<_>>().into_iter())),
                    Some(None) => {}
                    None => {
                        order.push(*migration);
                        open.pop();
                    }
                }
            }
        }
        order
    }

    fn is_whole(&self) -> Result<(), GraphError> {
        for migration in self.migrations.values() {
            let named = [
                (&migration.down, "comes after", "down_revision"),
                (&migration.depends_on, "depends on", "depends_on"),
            ];
            for (parents, relation, field) in named {
                if let Some(parent) = parents.iter().find(|parent| !self.migrations.contains_key(*parent)) {
                    let (migration, parent) = (migration.place(), parent.clone());
                    return Err(GraphError::Missing { migration, relation, parent, field });
                }
            }
        }
        Ok(())
    }

    /// A way round, if there is one. Takes away what has no parents left, until nothing is left or only what is on a way
    /// round or behind it (Kahn's algorithm).
    fn cycle(&self) -> Option<Vec<String>> {
        let mut waits: BTreeMap<&str, usize> = BTreeMap::new();
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for migration in self.migrations.values() {
            waits.insert(&migration.id, migration.parents().count());
            for parent in migration.parents() {
                children.entry(parent).or_default().push(&migration.id);
            }
        }
        let mut ready: Vec<&str> = waits.iter().filter(|(_, parents)| **parents == 0).map(|(id, _)| *id).collect();
        while let Some(id) = ready.pop() {
            waits.remove(id);
            for child in children.get(id).into_iter().flatten() {
                if let Some(parents) = waits.get_mut(child) {
                    *parents -= 1;
                    if *parents == 0 {
                        ready.push(child);
                    }
                }
            }
        }
        // What is left has a parent that is left: going back ends where it was before.
        let mut way: Vec<&Migration> = vec![];
        let mut next = *waits.keys().next()?;
        loop {
            let migration = self.get(next)?;
            if let Some(begin) = way.iter().position(|before| before.id == migration.id) {
                way.push(migration);
                return Some(way[begin..].iter().map(|migration| migration.place()).collect());
            }
            way.push(migration);
            next = migration.parents().find(|parent| waits.contains_key(parent))?;
        }
    }
}

/// Which revision each label stands for.
fn labels(migrations: &BTreeMap<String, Migration>) -> Result<BTreeMap<String, String>, GraphError> {
    let mut labels = BTreeMap::<String, String>::new();
    for migration in migrations.values() {
        for label in &migration.labels {
            let holder = labels.get(label).and_then(|id| migrations.get(id)).or_else(|| migrations.get(label));
            if let Some(holder) = holder {
                let (label, first, second) = (label.clone(), migration.place(), holder.place());
                return Err(GraphError::Label { label, first, second });
            }
            labels.insert(label.clone(), migration.id.clone());
        }
    }
    Ok(labels)
}

fn deduplicate(ids: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    ids.retain(|id| seen.insert(id.clone()));
}

/// `sha256:` and 64 hex digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// What a file holds.
fn content(path: &Path) -> Result<Vec<u8>, GraphError> {
    std::fs::read(path).map_err(|source| GraphError::Read { path: path.to_owned(), source })
}
