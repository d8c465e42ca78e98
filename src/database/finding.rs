//! What the checks find in migrations.

use std::fmt;
use std::path::PathBuf;

use super::check::Check;

/// Something that a migration does, and a check knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The revision that does it, where that can be told.
    pub revision: Option<String>,
    /// What it does it to, for example `column public.apps.owner`.
    pub object: String,
    /// What it does, and what that means for a version that does not know it, in one line.
    pub message: String,
    /// Where it was seen.
    pub engine: Engine,
    /// Where it is written, where that is known.
    pub place: Option<Place>,
    /// The SQL statement, where there is one.
    pub statement: Option<String>,
    /// Whether it is about a table that the policy calls large: a lock on it is refused then. No part of the hash.
    pub large: bool,
}

/// Where something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// In the catalog of a database before and after.
    Catalog,
    /// In SQL.
    Sql,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None` where only the file is known.
    pub line: Option<usize>,
}

impl Finding {
    /// By what a waiver names it: 16 hex digits of a digest of everything that says what is done. It changes with what the
    /// revision does, and not with where it is written.
    #[must_use]
    pub fn hash(&self) -> String {
        let revision = self.revision.as_deref().unwrap_or_default();
        let statement = self.statement.as_deref().unwrap_or_default();
        let words: Vec<&str> = statement.split_whitespace().collect();
        let said = [self.check.name(), revision, &self.object, &self.message, &words.join(" ")].join("\0");
        let digest = ring::digest::digest(&ring::digest::SHA256, said.as_bytes());
        let first = digest.as_ref().iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        format!("{first:016x}")
    }
}

impl fmt::Display for Finding {
    /// `[columnDropped] 042_x, column public.tenants.plan: ...`, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] ", self.check.name())?;
        if let Some(revision) = &self.revision {
            write!(f, "{revision}, ")?;
        }
        write!(f, "{}: {}", self.object, self.message)?;
        // The name alone: folders differ from image to image.
        match self.place.as_ref().and_then(|place| Some((place.file.file_name()?, place.line))) {
            Some((file, Some(line))) => write!(f, " ({}:{line})", file.display()),
            Some((file, None)) => write!(f, " ({})", file.display()),
            None => Ok(()),
        }
    }
}
