//! SQL as migrations run it, looked at statement by statement: squawk's rules, and ours where it has none.
//!
//! Nothing is half looked at: what cannot be read is an error, and a kind of statement that no rule knows is a finding.
//! Comments cannot turn a rule off; the policy's waivers can.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use squawk_syntax::ast::{AstNode as _, Stmt};
use squawk_syntax::{Parse, SourceFile};

use self::news::News;
use self::own::Scene;
use self::squawk::Violation;
use self::statement::{Class, Statement};
use self::tables::Table;
use self::text::{Lines, Mark};
use self::words::{Name, Word};
use super::check::Check;
use super::finding::{Engine, Finding, Place};
use super::revision::TABLE;
use crate::api::LargeTableSpec;

pub use meaning::of as meaning;

mod alembic;
mod meaning;
mod news;
mod own;
mod squawk;
mod statement;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod words;

/// SQL: a file, or what `alembic upgrade A:B --sql` wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The statements. Where Alembic wrote them, each is of the revision that its marks say.
    pub text: String,
    /// The file that holds them.
    pub file: Option<PathBuf>,
    /// The revision whose statements they are, where nothing in the text says it.
    pub revision: Option<String>,
}

/// What is known of the database that the statements are for. All of it may be missing; more findings come of that.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// The schema of names without one.
    pub schema: String,
    /// The table in which the revision is noted, without its schema.
    pub version_table: String,
    /// The type of each column, by `schema.table` and column, as `format_type` tells it.
    pub types: BTreeMap<(String, String), String>,
    /// The kind of each constraint, by `schema.table` and name, as `pg_constraint.contype` tells it.
    pub constraints: BTreeMap<(String, String), char>,
    /// The indexes, by `schema.index`.
    pub indexes: BTreeMap<String, Index>,
    /// The sizes of tables, by `schema.table`.
    pub sizes: BTreeMap<String, Size>,
    /// From which size on a table is large.
    pub large: LargeTableSpec,
    /// Whether whoever runs the statements sets a timeout for locks.
    pub timeouts_set: bool,
    /// Whether the statements run in a transaction that they do not begin themselves.
    pub in_transaction: bool,
    /// The major version of the server.
    pub pg_version: u16,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            schema: "public".to_owned(),
            version_table: TABLE.to_owned(),
            types: BTreeMap::new(),
            constraints: BTreeMap::new(),
            indexes: BTreeMap::new(),
            sizes: BTreeMap::new(),
            large: LargeTableSpec::default(),
            timeouts_set: false,
            in_transaction: false,
            pg_version: 15,
        }
    }
}

/// What is known of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its table, as `schema.table`.
    pub table: String,
    /// Whether its columns are unique.
    pub is_unique: bool,
}

/// How large a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Rows, as the database estimates them.
    pub rows: i64,
    /// Bytes, with indexes.
    pub bytes: i64,
}

impl Context {
    /// Whether the tables of the database are known, and this is none of them.
    fn lacks(&self, table: &Name) -> bool {
        let name = table.to_string();
        !self.types.is_empty() && !self.types.keys().any(|(known, _)| *known == name)
    }

    fn lacks_column(&self, table: &Name, column: &str) -> bool {
        !self.types.is_empty() && !self.types.contains_key(&(table.to_string(), column.to_owned()))
    }

    fn is_large(&self, table: &Name) -> bool {
        let at_least =
            |size: &Size| size.rows >= self.large.rows || size.bytes >= self.large.megabytes.saturating_mul(1 << 20);
        self.sizes.get(&table.to_string()).is_some_and(at_least)
    }
}

/// Why SQL cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LintError {
    /// It is no SQL of `PostgreSQL`.
    #[error(
        "{}line {line}: {what}, at '{near}'. None of it is judged: only SQL that PostgreSQL itself reads can be (no commands or data of psql)",
        .file.as_ref().map(|file| format!("{}, ", file.display())).unwrap_or_default()
    )]
    Parse {
        /// The file.
        file: Option<PathBuf>,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
        /// What stands there.
        near: String,
    },
    /// It is too long to be looked at.
    #[error("{} bytes of SQL are too many to be judged in one: at most {MOST_BYTES} are", .0)]
    TooLong(usize),
}

/// The most that is looked at in one script, in bytes.
pub const MOST_BYTES: usize = 64 << 20;

/// Something that a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Draft {
    check: Check,
    object: String,
    /// The table whose size counts.
    table: Option<Name>,
}

/// A script that was read.
struct Read {
    parse: Parse<SourceFile>,
    blanked: String,
    marks: Vec<Mark>,
}

/// Looks at all statements, and returns what the checks find, in the order of the statements. What the script itself makes
/// does not count: no version uses it yet.
///
/// # Errors
/// When a part of it cannot be read; then nothing of it is judged.
pub fn sql(script: &Script, context: &Context) -> Result<Vec<Finding>, LintError> {
    let read = read(script)?;
    let violations = squawk::run(&read.parse, &read.blanked, context);
    let (statements, under) = statements(script, &read, context);
    let mut found = Found { script, context, findings: Vec::new() };
    let notes = |statement: &Statement| writes_version(statement, context);
    let noting: Vec<bool> = statements.iter().map(notes).collect();
    for index in alembic::version_writes(&statements, &noting, &under, &read.marks) {
        let draft = Draft {
            check: Check::VersionTableWritten,
            object: format!("table {}", context.version_table),
            table: None,
        };
        found.add(&statements[index], draft);
    }
    for index in alembic::controls(&statements, &noting, &under) {
        found.add(
            &statements[index],
            Draft { check: Check::TransactionControl, object: "transaction".to_owned(), table: None },
        );
    }
    let mut news = News::default();
    let mut locked: Option<(usize, Name)> = None;
    let mut rest = violations.as_slice();
    for (statement, is_noting) in statements.iter().zip(noting) {
        let before = rest.partition_point(|violation| violation.start < statement.end);
        let (within, later) = rest.split_at(before);
        rest = later;
        let targets = statement.targets(&context.schema);
        if !is_noting {
            let held = locked.as_ref().filter(|(transaction, _)| Some(*transaction) == statement.transaction);
            for draft in drafts(statement, &targets, within, context, &mut news, held.map(|(_, table)| table)) {
                found.add(statement, draft);
            }
            let alters = matches!(statement.stmt, Stmt::AlterTable(_));
            if let (true, Some(transaction), Some(target)) = (alters, statement.transaction, targets.first())
                && !news.table(&target.name)
            {
                locked = Some((transaction, target.name.clone()));
            }
        }
        news.note(statement, &targets, context);
    }
    found.findings.sort_by_key(|(start, _)| *start);
    Ok(found.findings.into_iter().map(|(_, finding)| finding).collect())
}

/// What comments say to linters: it changes nothing here, and whoever wrote it has to know. One line each.
#[must_use]
pub fn attempted_waivers(script: &Script) -> Vec<String> {
    let lines = Lines::of(&script.text);
    let (_, comments) = text::blank(&script.text);
    let of_linters = comments.iter().filter(|comment| {
        let said = comment.text.to_lowercase();
        ["squawk-", "squawk:", "noqa", "upgrade-guard:", "lint-ignore"].iter().any(|word| said.contains(word))
    });
    let told = of_linters.map(|comment| {
        let file = script.file.as_ref().map(|file| format!("{}, ", file.display())).unwrap_or_default();
        let said: Vec<&str> = comment.text.split_whitespace().collect();
        let (line, said) = (lines.line(comment.start), said.join(" "));
        format!("{file}line {line}: the comment '{said}' waives nothing: waivers are written in the policy")
    });
    told.collect()
}

fn read(script: &Script) -> Result<Read, LintError> {
    if script.text.len() > MOST_BYTES {
        return Err(LintError::TooLong(script.text.len()));
    }
    let (blanked, comments) = text::blank(&script.text);
    let parse = SourceFile::parse(&blanked);
    if let Some(error) = parse.errors().first() {
        let at = usize::from(error.range().start()).min(blanked.len());
        let near = blanked.get(at..).unwrap_or_default().split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        let near = near.chars().take(60).collect();
        let line = Lines::of(&blanked).line(at);
        return Err(LintError::Parse { file: script.file.clone(), line, what: error.message().to_owned(), near });
    }
    let marks = comments.iter().filter_map(text::mark).collect();
    Ok(Read { parse, blanked, marks })
}

/// The statements, and which mark each is under.
fn statements(script: &Script, read: &Read, context: &Context) -> (Vec<Statement>, Vec<Option<usize>>) {
    let lines = Lines::of(&read.blanked);
    let mut transactions = Transactions { now: context.in_transaction.then_some(0), count: 0 };
    let mut statements: Vec<Statement> = Vec::new();
    for stmt in read.parse.tree().stmts().filter(|stmt| !matches!(stmt, Stmt::EmptyStmt(_))) {
        let range = stmt.syntax().text_range();
        let (start, end) = (usize::from(range.start()), usize::from(range.end()));
        let text = read.blanked.get(start..end).unwrap_or_default();
        let start = start + (text.len() - text.trim_start().len());
        let transaction = transactions.of(&stmt);
        statements.push(Statement {
            words: words::words(stmt.syntax()),
            stmt,
            start,
            end,
            line: lines.line(start),
            text: text.trim().trim_end_matches(';').trim_end().to_owned(),
            revision: script.revision.clone(),
            transaction,
        });
    }
    let said = |statement: &Statement| {
        let strings = statement.words.iter().filter_map(Word::string).collect();
        (statement.start, strings, writes_version(statement, context))
    };
    let under = alembic::attribute(&statements.iter().map(said).collect::<Vec<_>>(), &read.marks);
    for (statement, mark) in statements.iter_mut().zip(&under) {
        if let Some(mark) = mark.and_then(|mark| read.marks.get(mark)) {
            statement.revision = Some(mark.revision());
        }
    }
    (statements, under)
}

/// Counts transactions.
struct Transactions {
    now: Option<usize>,
    count: usize,
}

impl Transactions {
    /// The transaction that a statement is in.
    fn of(&mut self, stmt: &Stmt) -> Option<usize> {
        match stmt {
            Stmt::Begin(_) => {
                self.count += 1;
                self.now = Some(self.count);
            }
            Stmt::Commit(_) => self.now = None,
            Stmt::Rollback(_) if !stmt.syntax().text().to_string().to_lowercase().contains(" to ") => self.now = None,
            _ => {}
        }
        self.now
    }
}

/// Whether a statement changes the rows or the form of the table that notes the revision.
fn writes_version(statement: &Statement, context: &Context) -> bool {
    let is_version = |name: &Name| name.name == context.version_table;
    match statement.stmt {
        Stmt::AlterTable(_) | Stmt::DropTable(_) | Stmt::Truncate(_) => {
            statement.targets(&context.schema).iter().any(|target| is_version(&target.name))
        }
        Stmt::CreateTable(_) | Stmt::CreateFunction(_) | Stmt::CreateProcedure(_) | Stmt::CreateRule(_) => false,
        _ => statement.written(&context.schema).iter().any(is_version),
    }
}

/// What a statement does.
fn drafts(
    statement: &Statement,
    targets: &[statement::Target],
    violations: &[Violation],
    context: &Context,
    news: &mut News,
    locked: Option<&Name>,
) -> Vec<Draft> {
    let actions = match &statement.stmt {
        Stmt::AlterTable(alter) => Some(alter.actions()),
        Stmt::AlterForeignTable(alter) => Some(alter.actions()),
        _ => None,
    };
    let (Some(actions), Some(target)) = (actions, targets.first()) else {
        return Scene { context, news, locked }.drafts(statement, targets, violations);
    };
    if news.has(Class::Relation, &target.name) {
        tables::note_new(&target.name, actions, news);
        return Vec::new();
    }
    let table = Table { name: &target.name, context };
    let mut drafts = table.drafts(actions, violations, news);
    // That no timeout is set is found at the statement, not at one of its actions.
    let timeout = violations.iter().any(|violation| violation.check == Some(Check::NoLockTimeout));
    drafts.retain(|draft| draft.check != Check::NoLockTimeout);
    if timeout {
        drafts.push(Draft { check: Check::NoLockTimeout, object: target.object(), table: Some(target.name.clone()) });
    }
    drafts
}

/// What was found, with where the statement begins.
struct Found<'a> {
    script: &'a Script,
    context: &'a Context,
    findings: Vec<(usize, Finding)>,
}

impl Found<'_> {
    /// Adds a finding, unless another rule found the same.
    fn add(&mut self, statement: &Statement, draft: Draft) {
        let Draft { check, object, table } = draft;
        let same = |(start, finding): &(usize, Finding)| {
            *start == statement.start && finding.check == check && finding.object == object
        };
        if self.findings.iter().rev().take_while(|(start, _)| *start >= statement.start).any(same) {
            return;
        }
        let line = Some(statement.line);
        let finding = Finding {
            check,
            revision: statement.revision.clone(),
            object,
            message: meaning::of(check).to_owned(),
            engine: Engine::Sql,
            place: self.script.file.clone().map(|file| Place { file, line }),
            statement: Some(statement.text.clone()),
            large: table.is_some_and(|table| self.context.is_large(&table)),
        };
        self.findings.push((statement.start, finding));
    }
}

/// The checks that reading SQL can find, whatever is in it.
#[must_use]
pub fn checks() -> BTreeSet<Check> {
    Check::ALL.iter().copied().filter(|check| *check != Check::InvalidIndex).collect()
}
