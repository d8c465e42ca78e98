//! As much of Python's grammar as it takes to tell code from comments and strings, and one statement from the next
//! (the language reference, "Lexical analysis").

/// A piece of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name, a keyword or a number.
    Word(&'a str),
    /// A string: what is before its quotes (`r`, `f`, ...), and what is between them, as it is written.
    Text(&'a str, &'a str),
    /// Anything else: an operator, a bracket.
    Sign(&'a str),
}

/// A logical line: it may go over several lines of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Whether it is inside of something else.
    pub(super) indented: bool,
    /// What it consists of, and the number of the file's line that each piece begins in, from 1.
    pub(super) tokens: Vec<(Token<'a>, usize)>,
}

/// What cannot be Python, and the line it is in, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: usize,
    pub(super) problem: &'static str,
}

/// Operators of more than one character, the longest first.
const LONG: [&str; 22] = [
    "**=", "//=", ">>=", "<<=", "...", "==", "!=", "<=", ">=", ":=", "->", "+=", "-=", "*=", "/=", "%=", "&=", "|=",
    "^=", "@=", "**", "//",
];

/// The logical lines of a file that have anything in them.
///
/// # Errors
/// When a string or a bracket does not end.
pub(super) fn lines(text: &str) -> Result<Vec<Line<'_>>, Broken> {
    let mut reader = Reader { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1 };
    let mut lines = vec![];
    let mut current = Line::default();
    let (mut depth, mut indent) = (0_usize, false);
    while let Some(next) = reader.peek() {
        match next {
            '\n' => {
                reader.take(1);
                indent = false;
                if depth == 0 && !current.tokens.is_empty() {
                    lines.push(std::mem::take(&mut current));
                }
                continue;
            }
            '#' => {
                reader.take(reader.rest().find('\n').unwrap_or_else(|| reader.rest().len()));
                continue;
            }
            // The line goes on with the next.
            '\\' if reader.rest()[1..].trim_start_matches('\r').starts_with('\n') => {
                reader.take(reader.rest().find('\n').map_or(1, |end| end + 1));
                continue;
            }
            ' ' | '\t' => {
                indent = true;
                reader.take(1);
                continue;
            }
            _ if next.is_whitespace() => {
                reader.take(next.len_utf8());
                continue;
            }
            _ => {}
        }
        if current.tokens.is_empty() {
            current.indented = indent;
        }
        let line = reader.line;
        let token = reader.token(next)?;
        match token {
            Token::Sign("(" | "[" | "{") => depth += 1,
            Token::Sign(")" | "]" | "}") => {
                depth = depth.checked_sub(1).ok_or(Broken { line, problem: "a bracket ends that never began" })?;
            }
            _ => {}
        }
        current.tokens.push((token, line));
    }
    if depth > 0 {
        let line = current.tokens.first().map_or(reader.line, |(_, line)| *line);
        return Err(Broken { line, problem: "a bracket does not end" });
    }
    lines.extend(Some(current).filter(|line| !line.tokens.is_empty()));
    Ok(lines)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes so many bytes, which end where a character does.
    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = &self.rest()[..bytes];
        self.at += bytes;
        self.line += taken.matches('\n').count();
        taken
    }

    fn token(&mut self, next: char) -> Result<Token<'a>, Broken> {
        if matches!(next, '"' | '\'') {
            return self.string("");
        }
        if next.is_alphanumeric() || next == '_' {
            let rest = self.rest();
            let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
            let word = self.take(end);
            let before_string = word.len() <= 2 && word.chars().all(|char| "rRuUbBfFtT".contains(char));
            return match self.peek() {
                Some('"' | '\'') if before_string => self.string(word),
                _ => Ok(Token::Word(word)),
            };
        }
        let long = LONG.into_iter().find(|long| self.rest().starts_with(long));
        Ok(Token::Sign(self.take(long.map_or_else(|| next.len_utf8(), str::len))))
    }

    /// A string that begins here with its quotes.
    fn string(&mut self, prefix: &'a str) -> Result<Token<'a>, Broken> {
        let broken = Broken { line: self.line, problem: "a string does not end" };
        let rest = self.rest();
        let triple = rest.starts_with("\"\"\"") || rest.starts_with("'''");
        let quotes = self.take(if triple { 3 } else { 1 });
        let formatted = prefix.contains(['f', 'F', 't', 'T']);
        let begin = self.at;
        while let Some(next) = self.peek() {
            if self.rest().starts_with(quotes) {
                let body = &self.text[begin..self.at];
                self.take(quotes.len());
                return Ok(Token::Text(prefix, body));
            }
            match next {
                '\\' => {
                    self.take(1);
                    self.take(self.peek().map_or(0, char::len_utf8));
                }
                '\n' if !triple => break,
                '{' if formatted && self.rest().starts_with("{{") => {
                    self.take(2);
                }
                '{' if formatted => self.field()?,
                _ => {
                    self.take(next.len_utf8());
                }
            }
        }
        Err(broken)
    }

    /// What is between braces in a formatted string, with the braces: since Python 3.12 it may have strings with the same
    /// quotes in it.
    fn field(&mut self) -> Result<(), Broken> {
        let broken = Broken { line: self.line, problem: "a string does not end" };
        let (mut braces, mut brackets, mut format) = (0_usize, 0_usize, false);
        while let Some(next) = self.peek() {
            match next {
                '"' | '\'' if !format => {
                    self.string("")?;
                    continue;
                }
                '{' => braces += 1,
                '}' => braces -= 1,
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                // After it come no expressions.
                ':' if braces == 1 && brackets == 0 => format = true,
                _ => {}
            }
            self.take(next.len_utf8());
            if braces == 0 {
                return Ok(());
            }
        }
        Err(broken)
    }
}
