//! The graph as Alembic itself tells it. Its words are the same from 1.8 to 1.20: `Script.log_entry` in
//! `alembic/script/base.py`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Graph, GraphError, Migration, content, files, sha256};
use crate::database::migrator::{Migrator, Said, Stream};

/// What is asked.
const QUESTION: [&str; 2] = ["history", "--verbose"];
/// What Alembic says behind a revision's id.
const MARKS: [&str; 5] = [" (head)", " (branchpoint)", " (mergepoint)", " (current)", " (effective head)"];

/// Asks Alembic for its graph, and waits for at most `limit`. No database is needed, unless `revision_environment` is
/// set, so that `env.py` is run. What the files hold is read from the paths that it tells. An image without any revision
/// gives an empty graph.
///
/// # Errors
/// When it cannot be run, fails, or says something that cannot be understood, or when its revisions make no graph.
pub async fn read(migrator: &Migrator, limit: Duration) -> Result<Graph, GraphError> {
    let mut lines = vec![];
    let mut heard = |stream, line: &str| {
        if stream == Stream::Out {
            lines.push(line.to_owned());
        }
    };
    let said = migrator.run(&QUESTION, None, limit, &mut heard).await?;
    let command = migrator.called(&QUESTION);
    if !said.ok() {
        let words = words(&said);
        return Err(defect(migrator).unwrap_or(GraphError::Alembic { command, words }));
    }
    let not_understood = |problem| GraphError::NotUnderstood { command: command.clone(), problem };
    let told = told(&lines).map_err(not_understood)?;
    let mut migrations = vec![];
    for told in &told {
        migrations.push(completed(told.migration.clone(), migrator.directory.as_deref())?);
    }
    migrations.extend(twins(&migrations)?);
    let graph = Graph::new(migrations)?;
    if let Some(warning) = warning(&said) {
        return Err(GraphError::Alembic { command, words: warning });
    }
    lost(&told, &graph).map_or(Ok(graph), |problem| Err(not_understood(problem)))
}

/// Why it failed: the warning about the graph before a `KeyError`, or what it said last.
fn words(said: &Said) -> String {
    warning(said).unwrap_or_else(|| said.last_words())
}

/// What Alembic only warns about, and then goes on with half a graph, or fails with the bare id.
fn warning(said: &Said) -> Option<String> {
    let warned = |line: &&str| line.contains("is present more than once") || line.ends_with("is not present");
    let line = said.err.lines().find(warned)?;
    Some(line.split_once("UserWarning: ").map_or(line, |(_, words)| words).trim().to_owned())
}

/// A revision as Alembic tells it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    migration: Migration,
    /// Whether it says that nothing comes after it.
    head: bool,
}

/// The revisions in what Alembic says, or what is not understood of it. Before them, modules may have printed something
/// when they were loaded.
fn told(lines: &[String]) -> Result<Vec<Told>, String> {
    let Some(first) = lines.iter().position(|line| line.starts_with("Rev: ")) else {
        return match lines.iter().find(|line| !line.trim().is_empty()) {
            Some(line) => Err(format!("'{line}' is no revision")),
            None => Ok(vec![]),
        };
    };
    let mut lines = lines[first..].iter().map(String::as_str).peekable();
    let mut told = vec![];
    while lines.peek().is_some() {
        told.push(entry(&mut lines)?);
    }
    Ok(told)
}

/// One revision.
fn entry<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Result<Told, String> {
    let begin = lines.next().unwrap_or_default();
    let rev = begin.strip_prefix("Rev: ").ok_or_else(|| format!("'{begin}' is no revision"))?;
    let mut field = |name: &str| lines.next_if(|line| line.starts_with(name)).map(|line| &line[name.len()..]);
    let mut id = rev;
    while let Some(rest) = MARKS.iter().find_map(|mark| id.strip_suffix(mark)) {
        id = rest;
    }
    if id.is_empty() || id.contains(char::is_whitespace) {
        return Err(format!("'{rev}' is no revision's id"));
    }
    let missing = |what| format!("revision {id} has no {what}");
    let list = |text: &str| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
    let down = match (field("Parent: "), field("Merges: ")) {
        (Some("<base>"), None) => vec![],
        (Some(one), None) | (None, Some(one)) => list(one),
        _ => return Err(missing("'Parent:' or 'Merges:'")),
    };
    let depends_on = field("Also depends on: ").map(list).unwrap_or_default();
    // Labels are told of all revisions of a branch: where they begin is in the files.
    let (_, _) = (field("Branches into: "), field("Branch names: "));
    let file = PathBuf::from(field("Path: ").ok_or_else(|| missing("'Path:'"))?);
    lines.next_if_eq(&"").ok_or_else(|| missing("empty line after 'Path:'"))?;
    let mut title = None;
    while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with("    ")) {
        title = title.or_else(|| line.strip_prefix("    ").map(str::to_owned));
    }
    let migration = Migration {
        id: id.to_owned(),
        down,
        depends_on,
        title: title.unwrap_or_default(),
        file: Some(file),
        ..Migration::default()
    };
    Ok(Told { migration, head: rev.contains(" (head)") })
}

/// With what its file holds. Where that cannot be told from reading it (it computes its id, or was compiled), what
/// Alembic says counts, and it may leave its transaction.
fn completed(mut migration: Migration, directory: Option<&Path>) -> Result<Migration, GraphError> {
    let told = migration.file.take().unwrap_or_default();
    let path = directory.map_or_else(|| told.clone(), |directory| directory.join(&told));
    let bytes = content(&path)?;
    migration.digest = Some(sha256(&bytes));
    if let Ok(Some(read)) = files::migration(path.clone()) {
        migration.labels = read.labels;
        migration.autocommit = read.autocommit;
        migration.version_column = read.version_column;
    } else {
        let says = |word: &str| bytes.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        migration.autocommit = says("autocommit") || says("AUTOCOMMIT") || says("postgresql_concurrently");
        migration.version_column = says("version_num");
    }
    migration.file = Some(path);
    Ok(migration)
}

/// Files beside those that Alembic told, with an id that it told: of two with the same id it takes one, and only warns.
fn twins(migrations: &[Migration]) -> Result<Vec<Migration>, GraphError> {
    let paths: BTreeSet<&Path> = migrations.iter().filter_map(|migration| migration.file.as_deref()).collect();
    let ids: BTreeSet<&str> = migrations.iter().map(|migration| migration.id.as_str()).collect();
    let folders: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    let mut twins = vec![];
    for folder in folders {
        let failed = |source| GraphError::Read { path: folder.to_owned(), source };
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if paths.contains(entry.path().as_path()) || !files::is_source(&entry.file_name().to_string_lossy()) {
                continue;
            }
            if let Ok(Some(twin)) = files::migration(entry.path()) {
                twins.extend(Some(twin).filter(|twin| ids.contains(twin.id.as_str())));
            }
        }
    }
    Ok(twins)
}

/// Whether something was lost on the way: a revision that nothing comes after has to be told as a head, and no other.
fn lost(told: &[Told], graph: &Graph) -> Option<String> {
    let followed: BTreeSet<&str> =
        graph.migrations().flat_map(|migration| &migration.down).map(String::as_str).collect();
    let odd = told.iter().find(|told| told.head == followed.contains(told.migration.id.as_str()))?;
    let (id, problem) =
        (&odd.migration.id, if odd.head { "is a head, and another comes" } else { "is no head, and nothing comes" });
    Some(format!("revision {id} {problem} after it"))
}

/// What is wrong with the files, where they can be found: Alembic names ids, and not files. Only what is wrong with the
/// graph counts, as what is found may not be what Alembic reads.
fn defect(migrator: &Migrator) -> Option<GraphError> {
    use GraphError::{Cycle, Duplicate, Label, Missing};
    let migrations = files::migrations(&versions(migrator)?).ok()?;
    Graph::new(migrations)
        .err()
        .filter(|error| matches!(error, Cycle { .. } | Duplicate { .. } | Label { .. } | Missing { .. }))
}

/// The folder of the revision files, where the configuration says it in the usual way.
fn versions(migrator: &Migrator) -> Option<PathBuf> {
    let mut words = migrator.command.iter().map(String::as_str);
    let named = words.by_ref().find_map(|word| match word {
        "-c" | "--config" => Some(None),
        _ => word.strip_prefix("--config=").map(Some),
    });
    let named = named.map_or(Some("alembic.ini"), |named| named.or_else(|| words.next()))?;
    let directory = migrator.directory.clone().unwrap_or_default();
    let ini = directory.join(named);
    let text = std::fs::read_to_string(&ini).ok()?;
    let location =
        text.lines().find_map(|line| line.strip_prefix("script_location")?.trim_start().strip_prefix('='))?;
    let here = ini.parent()?.display().to_string();
    Some(directory.join(location.trim().replace("%(here)s", &here)).join("versions"))
}

#[cfg(test)]
mod tests;
