//! The words of a statement, and the names among them. The statement was parsed before, so its form is sound.

use std::fmt;

use squawk_syntax::{SyntaxKind, SyntaxNode};

/// A word, sign or literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// As the server takes it: in small letters where it is not quoted, and without its quotes where it is.
    pub(super) text: String,
    pub(super) is_quoted: bool,
}

impl Word {
    fn is_name(&self) -> bool {
        self.is_quoted || self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }

    /// The text of a string.
    pub(super) fn string(&self) -> Option<String> {
        let inner = (!self.is_quoted).then(|| self.text.strip_prefix('\'')?.strip_suffix('\''))??;
        Some(inner.replace("''", "'"))
    }
}

/// All words below a node.
pub(super) fn words(node: &SyntaxNode) -> Vec<Word> {
    let tokens = node.descendants_with_tokens().filter_map(squawk_syntax::SyntaxElement::into_token);
    let told = tokens.filter(|token| !matches!(token.kind(), SyntaxKind::WHITESPACE | SyntaxKind::COMMENT));
    told.map(|token| word(token.text())).collect()
}

fn word(text: &str) -> Word {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => Word { text: inner.replace("\"\"", "\""), is_quoted: true },
        None if text.starts_with('\'') => Word { text: text.to_owned(), is_quoted: false },
        None => Word { text: text.to_lowercase(), is_quoted: false },
    }
}

/// A name, where one is said with its schema.
#[allow(clippy::struct_field_names, reason = "a name has a schema and a name")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) schema: String,
    pub(super) name: String,
    /// Whether the schema is written, and not that of all names without one.
    pub(super) has_schema: bool,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Words with a place in them.
pub(super) struct Reader<'a> {
    words: &'a [Word],
    at: usize,
    /// What a name without a schema is in.
    schema: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(words: &'a [Word], schema: &'a str) -> Self {
        Self { words, at: 0, schema }
    }

    /// The word `ahead` of the place, in small letters; nothing at the end or where it is quoted.
    pub(super) fn peek(&self, ahead: usize) -> &'a str {
        self.words.get(self.at + ahead).filter(|word| !word.is_quoted).map_or("", |word| word.text.as_str())
    }

    /// Whether these words come next; they are passed then.
    pub(super) fn take(&mut self, expected: &[&str]) -> bool {
        let comes = expected.iter().enumerate().all(|(ahead, word)| self.peek(ahead) == *word);
        self.at += if comes { expected.len() } else { 0 };
        comes
    }

    pub(super) fn skip(&mut self, any: &[&str]) {
        while !self.peek(0).is_empty() && any.contains(&self.peek(0)) {
            self.at += 1;
        }
    }

    /// Goes on after the next such word outside of parentheses; `false` where there is none, and the place stays.
    pub(super) fn after(&mut self, word: &str) -> bool {
        let begin = self.at;
        while self.at < self.words.len() {
            if self.peek(0) == "(" {
                self.parentheses();
            } else {
                self.at += 1;
                if self.words[self.at - 1].text == word && !self.words[self.at - 1].is_quoted {
                    return true;
                }
            }
        }
        self.at = begin;
        false
    }

    /// Passes everything in parentheses, where they come next.
    pub(super) fn parentheses(&mut self) {
        let mut depth = 0;
        while self.at < self.words.len() {
            match self.peek(0) {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            if depth == 0 && self.peek(0) != ")" {
                return;
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// A part of a name.
    pub(super) fn part(&mut self) -> Option<String> {
        let word = self.words.get(self.at).filter(|word| word.is_name())?;
        self.at += 1;
        Some(word.text.clone())
    }

    /// A name, with or without its schema; a database before it is passed over.
    pub(super) fn name(&mut self) -> Option<Name> {
        let mut parts = vec![self.part()?];
        while self.peek(0) == "." {
            self.at += 1;
            parts.push(self.part()?);
        }
        let name = parts.pop()?;
        let schema = parts.pop();
        let has_schema = schema.is_some();
        Some(Name { schema: schema.unwrap_or_else(|| self.schema.to_owned()), name, has_schema })
    }

    /// Names with commas in between; what stands in parentheses after one is passed over, and `*` and ONLY.
    pub(super) fn names(&mut self) -> Vec<Name> {
        let mut names = Vec::new();
        loop {
            self.skip(&["only", "("]);
            names.extend(self.name());
            self.skip(&["*"]);
            self.parentheses();
            if !self.take(&[","]) {
                return names;
            }
        }
    }
}
