//! What Alembic itself writes between the statements of revisions: transactions, and the revision that is noted.

use std::collections::BTreeSet;

use squawk_syntax::ast;

use super::statement::Statement;
use super::text::Mark;

/// Finds which mark each statement is under, by the index of the mark.
///
/// A comment in a revision may look like a mark. A mark is left by the statement that notes its revision, so another one
/// before that is none. Where nothing is noted in this table, all marks count.
pub(super) fn attribute(statements: &[(usize, Vec<String>, bool)], marks: &[Mark]) -> Vec<Option<usize>> {
    let notes_any = statements.iter().any(|(_, _, notes)| *notes);
    let mut under = Vec::with_capacity(statements.len());
    let (mut open, mut is_noted, mut next) = (None, true, 0);
    for (start, strings, notes) in statements {
        while let Some(mark) = marks.get(next).filter(|mark| mark.start < *start) {
            if is_noted || !notes_any {
                open = Some(next);
                // What is undone down to the base notes only what goes.
                is_noted = mark.down;
            }
            next += 1;
        }
        under.push(open);
        let noted =
            open.and_then(|open| marks.get(open)).is_some_and(|mark| mark.to.iter().any(|to| strings.contains(to)));
        is_noted |= *notes && noted;
    }
    under
}

/// The statements that write the table of the revision otherwise than Alembic does, by index.
pub(super) fn version_writes(
    statements: &[Statement],
    notes: &[bool],
    under: &[Option<usize>],
    marks: &[Mark],
) -> Vec<usize> {
    let is_foreign = |index: usize| {
        let statement = &statements[index];
        let Some(mark) = under[index].and_then(|mark| marks.get(mark)) else { return true };
        let strings: Vec<String> = statement.words.iter().filter_map(super::words::Word::string).collect();
        let known = |id: &String| mark.from.contains(id) || mark.to.contains(id);
        let is_own_form = match statement.stmt {
            ast::Stmt::Insert(_) => strings.len() == 1 && strings.iter().all(known) && !statement.has("select"),
            ast::Stmt::Update(_) => strings.len() == 2 && strings.iter().all(known) && !statement.has("("),
            // A merge also takes away what the revision depends on.
            ast::Stmt::Delete(_) => strings.len() == 1 && !statement.has("("),
            _ => false,
        };
        let rest = (index + 1..statements.len()).take_while(|later| under[*later] == under[index]);
        let comes_last = rest.into_iter().all(|later| notes[later] || is_control(&statements[later]));
        !is_own_form || !comes_last
    };
    (0..statements.len()).filter(|index| notes[*index] && is_foreign(*index)).collect()
}

fn is_control(statement: &Statement) -> bool {
    matches!(statement.stmt, ast::Stmt::Begin(_) | ast::Stmt::Commit(_) | ast::Stmt::Rollback(_))
}

/// The statements that begin or end transactions otherwise than Alembic does, or, where it wrote nothing, not in pairs.
pub(super) fn controls(statements: &[Statement], notes: &[bool], under: &[Option<usize>]) -> Vec<usize> {
    if under.iter().all(Option::is_none) {
        return unpaired(statements);
    }
    let mut found = Vec::new();
    let segments: BTreeSet<Option<usize>> = under.iter().copied().collect();
    for segment in segments {
        let of: Vec<usize> = (0..statements.len()).filter(|index| under[*index] == segment).collect();
        let noted =
            of.iter().rposition(|index| notes[*index]).unwrap_or_else(|| if segment.is_some() { of.len() } else { 0 });
        let mut committed = None;
        for (position, index) in of.iter().copied().enumerate().filter(|(_, index)| is_control(&statements[*index])) {
            let said = statements[index].text.trim_end_matches(';').trim_end();
            match (said, position < noted, committed) {
                // Before the first revision, and after one is noted.
                ("BEGIN" | "COMMIT", false, _) => {}
                // What `autocommit_block` writes.
                ("COMMIT", true, None) => committed = Some(index),
                ("BEGIN", true, Some(_)) => committed = None,
                _ => found.push(index),
            }
        }
        found.extend(committed);
    }
    found
}

/// The statements of a file by hand: what is begun twice, ended without being begun, undone, or left open.
fn unpaired(statements: &[Statement]) -> Vec<usize> {
    let (mut found, mut begun) = (Vec::new(), None);
    for (index, statement) in statements.iter().enumerate() {
        match (&statement.stmt, begun) {
            (ast::Stmt::Begin(_), None) => begun = Some(index),
            (ast::Stmt::Commit(_), Some(_)) => begun = None,
            (ast::Stmt::Begin(_) | ast::Stmt::Commit(_), _) => found.push(index),
            (ast::Stmt::Rollback(_), _) if !statement.has("to") => {
                found.push(index);
                begun = None;
            }
            _ => {}
        }
    }
    found.extend(begun);
    found
}
