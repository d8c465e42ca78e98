//! The text of a script: its lines, its comments, and the marks that Alembic leaves between revisions.

use squawk_lexer::TokenKind;

/// A comment.
#[derive(Debug)]
pub(super) struct Comment {
    pub(super) start: usize,
    pub(super) text: String,
}

/// `-- Running upgrade a, b -> c`: where the statements of a revision begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) start: usize,
    /// The revisions before it; none for the first.
    pub(super) from: Vec<String>,
    pub(super) to: Vec<String>,
    /// Whether it is undone.
    pub(super) down: bool,
}

impl Mark {
    /// The revision whose statements follow.
    pub(super) fn revision(&self) -> String {
        if self.down { &self.from } else { &self.to }.join(", ")
    }
}

/// Reads the comments, and writes spaces in their place: no other rule shall be told by them what to look at.
pub(super) fn blank(text: &str) -> (String, Vec<Comment>) {
    let (mut blanked, mut comments, mut at) = (String::with_capacity(text.len()), Vec::new(), 0);
    for token in squawk_lexer::tokenize(text) {
        let end = (at + usize::try_from(token.len).unwrap_or(usize::MAX)).min(text.len());
        let part = &text[at..end];
        if matches!(token.kind, TokenKind::LineComment | TokenKind::BlockComment { terminated: true }) {
            comments.push(Comment { start: at, text: part.to_owned() });
            blanked.extend(part.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            blanked.push_str(part);
        }
        at = end;
    }
    blanked.push_str(&text[at..]);
    (blanked, comments)
}

/// The mark that a comment is.
pub(super) fn mark(comment: &Comment) -> Option<Mark> {
    let rest = comment.text.strip_prefix("-- Running ")?.trim_end();
    let (down, rest) = match rest.strip_prefix("upgrade ") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix("downgrade ")?),
    };
    let (from, to) = rest.split_once("->")?;
    let list = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
    };
    // Some versions of Alembic tell the first line of the docstring too.
    let (from, to) = (list(from), list(to.split_once(", ").filter(|_| !down).map_or(to, |(to, _)| to)));
    let named = if down { &from } else { &to };
    (!named.is_empty()).then_some(Mark { start: comment.start, from, to, down })
}

/// Where lines begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after).collect())
    }

    /// The line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_all_else_stays_where_it_is() {
        for (text, blanked, found) in [
            ("a -- b\nc", "a     \nc", &["-- b"][..]),
            ("a /* b\n/* é */ */ c", "a     \n            c", &["/* b\n/* é */ */"]),
            ("'-- a' \"/* b */\" $$ -- c\n $$", "'-- a' \"/* b */\" $$ -- c\n $$", &[]),
            ("é -- x", "é     ", &["-- x"]),
        ] {
            let (blank, comments) = blank(text);
            assert_eq!((blank.as_str(), blank.len()), (blanked, text.len()), "{text}");
            assert_eq!(comments.iter().map(|comment| comment.text.as_str()).collect::<Vec<_>>(), found);
        }
    }

    #[test]
    fn marks_of_alembic_are_read() {
        let read = |text: &str| mark(&Comment { start: 0, text: text.to_owned() });
        for (text, from, to, revision) in [
            ("-- Running upgrade  -> a1", &[][..], &["a1"][..], "a1"),
            ("-- Running upgrade a1 -> b2", &["a1"], &["b2"], "b2"),
            ("-- Running upgrade a1, b2 -> c3", &["a1", "b2"], &["c3"], "c3"),
            ("-- Running downgrade b2 -> a1", &["b2"], &["a1"], "b2"),
        ] {
            let mark = read(text).unwrap();
            assert_eq!((mark.from.as_slice(), mark.to.as_slice()), (&*owned(from), &*owned(to)), "{text}");
            assert_eq!(mark.revision(), revision);
        }
        for text in
            ["-- Running late", "-- Running upgrade a1", "-- Running upgrade a1 -> ", "/* Running upgrade a -> b */"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn lines_are_counted_from_one() {
        let lines = Lines::of("a\nb\n\nc");
        assert_eq!([0, 1, 2, 3, 4, 5].map(|at| lines.line(at)), [1, 1, 2, 2, 3, 4]);
    }
}
