//! Where commands write, with colours where a person reads.

use std::io::{self, IsTerminal, Write};

/// The width that texts are wrapped to.
pub(crate) const COLUMNS: usize = 100;

/// The standard output of a command.
pub struct Output<'a> {
    writer: &'a mut dyn Write,
    /// How to colour.
    pub paint: Paint,
}

impl<'a> Output<'a> {
    /// Writes to `writer`, coloured by `paint`.
    pub fn new(writer: &'a mut dyn Write, paint: Paint) -> Self {
        Self { writer, paint }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A stream that may be closed by whoever reads it: what comes after is dropped, and the exit code stays the answer's.
pub(crate) struct UntilClosed<W> {
    inner: W,
    closed: bool,
}

impl<W: Write> UntilClosed<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, closed: false }
    }

    fn unless_closed<T>(&mut self, otherwise: T, act: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.closed {
            return Ok(otherwise);
        }
        match act(&mut self.inner) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), Write::flush)
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colours only on a terminal, and none where `NO_COLOR` is set to anything (see no-color.org).
    pub fn for_terminal(stream: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: stream.is_terminal() && !unwanted }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// What is well.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What has to wait, or deserves a look.
    #[must_use]
    pub fn caution(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What is refused.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What stands out.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }
}

/// Breaks `text` into lines of at most `width` characters, at spaces; longer words stand alone.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("one-very-long-word is it", 5), ["one-very-long-word", "is it"]);
        assert_eq!(wrap("", 5), Vec::<String>::new());
    }

    #[test]
    fn a_closed_stream_is_no_error_and_other_troubles_are() {
        struct Fails(io::ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(self.0.into())
            }
        }
        let mut closed = UntilClosed::new(Fails(io::ErrorKind::BrokenPipe));
        assert!(closed.write_all(b"one").and_then(|()| closed.write_all(b"two")).and_then(|()| closed.flush()).is_ok());
        assert!(UntilClosed::new(Fails(io::ErrorKind::StorageFull)).write_all(b"one").is_err());
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert_eq!(Paint { on: true }.bad("no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(Paint::default().bad("no"), "no");
    }
}
