//! A statement: where it stands, of which revision it is, and what it is about.

use squawk_syntax::ast::{self, AstNode as _};

use super::words::{Name, Reader, Word};

/// A statement of a script.
pub(super) struct Statement {
    pub(super) stmt: ast::Stmt,
    pub(super) words: Vec<Word>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// From 1.
    pub(super) line: usize,
    /// As it is written, without comments.
    pub(super) text: String,
    pub(super) revision: Option<String>,
    /// The number of the transaction that it is in.
    pub(super) transaction: Option<usize>,
}

/// What an object is, as far as names go: objects of one class have different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Tables, views, sequences and indexes.
    Relation,
    Type,
    Function,
    Schema,
    Other,
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// What it is, in words.
    pub(super) noun: &'static str,
    pub(super) class: Class,
    pub(super) name: Name,
    /// What is of this table: an index, trigger, rule or policy. The name is the table's then.
    pub(super) of_table: Option<String>,
}

impl Target {
    pub(super) fn table(name: Name) -> Self {
        Self { noun: "table", class: Class::Relation, name, of_table: None }
    }

    /// As findings tell it.
    pub(super) fn object(&self) -> String {
        match (&self.of_table, self.class) {
            (Some(own), _) if own.is_empty() => format!("{} on {}", self.noun, self.name),
            (Some(own), _) => format!("{} {own} on {}", self.noun, self.name),
            (None, Class::Schema | Class::Other) => format!("{} {}", self.noun, self.name.name),
            (None, _) => format!("{} {}", self.noun, self.name),
        }
    }
}

/// What comes after ALTER, CREATE and DROP: words, what it is called, and its class.
const NOUNS: &[(&[&str], &str, Class)] = &[
    (&["foreign", "table"], "table", Class::Relation),
    (&["table"], "table", Class::Relation),
    (&["materialized", "view"], "materialized view", Class::Relation),
    (&["view"], "view", Class::Relation),
    (&["index"], "index", Class::Relation),
    (&["sequence"], "sequence", Class::Relation),
    (&["type"], "type", Class::Type),
    (&["domain"], "domain", Class::Type),
    (&["function"], "function", Class::Function),
    (&["procedure"], "procedure", Class::Function),
    (&["routine"], "routine", Class::Function),
    (&["aggregate"], "aggregate", Class::Function),
    (&["schema"], "schema", Class::Schema),
    (&["database"], "database", Class::Other),
    (&["extension"], "extension", Class::Other),
    (&["role"], "role", Class::Other),
    (&["user"], "role", Class::Other),
    (&["group"], "role", Class::Other),
    (&["publication"], "publication", Class::Other),
    (&["subscription"], "subscription", Class::Other),
    (&["server"], "server", Class::Other),
    (&["collation"], "collation", Class::Other),
    (&["statistics"], "statistics", Class::Other),
];
/// Of a table: their own names stand before ON.
const OF_TABLES: &[&str] = &["trigger", "rule", "policy"];
/// Words between the verb and the noun.
const BEFORE: &[&str] = &[
    "or",
    "replace",
    "temp",
    "temporary",
    "unlogged",
    "global",
    "local",
    "unique",
    "constraint",
    "recursive",
    "trusted",
    "procedural",
    "event",
];
/// Words between the noun and the name.
const AFTER: &[&str] = &["concurrently", "if", "not", "exists", "only", "verbose"];

impl Statement {
    /// Whether it begins with these words.
    pub(super) fn begins(&self, words: &[&str]) -> bool {
        Reader::new(&self.words, "").take(words)
    }

    /// Whether it has this word, not quoted.
    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own.text == word && !own.is_quoted)
    }

    /// Whether these words follow each other in it.
    pub(super) fn has_all(&self, words: &[&str]) -> bool {
        (0..self.words.len()).any(|at| Reader::new(&self.words[at..], "").take(words))
    }

    /// What it is about; `schema` is that of names without one.
    pub(super) fn targets(&self, schema: &str) -> Vec<Target> {
        let mut reader = Reader::new(&self.words, schema);
        let verb = reader.peek(0);
        reader.skip(&[verb]);
        let tables = |names: Vec<Name>| names.into_iter().map(Target::table).collect();
        match verb {
            "alter" | "create" | "drop" => defined(verb, reader),
            "comment" | "refresh" | "reindex" | "grant" | "revoke" => mentioned(verb, reader),
            "truncate" | "lock" | "cluster" | "vacuum" | "copy" | "analyze" => {
                reader.parentheses();
                reader.skip(&["table", "only", "full", "verbose", "freeze", "analyze"]);
                tables(reader.names())
            }
            _ => tables(self.written(schema)),
        }
    }

    /// The tables that it writes rows of, also in a WITH.
    pub(super) fn written(&self, schema: &str) -> Vec<Name> {
        let mut names = Vec::new();
        for node in self.stmt.syntax().descendants() {
            let relation = if let Some(update) = ast::Update::cast(node.clone()) {
                update.relation_name().map(|name| name.syntax().clone())
            } else if let Some(delete) = ast::Delete::cast(node.clone()) {
                delete.relation_name().map(|name| name.syntax().clone())
            } else {
                ast::Insert::cast(node).and_then(|insert| insert.relation_name_ref()).map(|name| name.syntax().clone())
            };
            names.extend(relation.and_then(|relation| name_of(&relation, schema)));
        }
        names
    }
}

/// The name that a node holds.
pub(super) fn name_of(node: &squawk_syntax::SyntaxNode, schema: &str) -> Option<Name> {
    let words = super::words::words(node);
    let mut reader = Reader::new(&words, schema);
    reader.skip(&["only", "("]);
    reader.name()
}

fn defined(verb: &str, mut reader: Reader<'_>) -> Vec<Target> {
    let is_temporary = ["temp", "temporary"].contains(&reader.peek(0));
    reader.skip(BEFORE);
    if let Some(noun) = OF_TABLES.iter().find(|noun| reader.peek(0) == **noun) {
        reader.skip(&[noun]);
        reader.skip(AFTER);
        let own = reader.part().unwrap_or_default();
        if *noun == "rule" && verb == "create" {
            reader.after("to")
        } else {
            reader.after("on")
        };
        let name = reader.name();
        let of = |name| Target { noun, class: Class::Relation, name, of_table: Some(own) };
        return name.map(of).into_iter().collect();
    }
    let Some((_, noun, class)) = NOUNS.iter().find(|(words, ..)| reader.take(words)) else { return Vec::new() };
    reader.skip(AFTER);
    if *noun == "index" && verb == "create" {
        let own = if reader.peek(0) == "on" { String::new() } else { reader.part().unwrap_or_default() };
        reader.after("on");
        reader.skip(&["only"]);
        let of = |name| Target { noun, class: Class::Relation, name, of_table: Some(own) };
        return reader.name().map(of).into_iter().collect();
    }
    let names = if verb == "drop" { reader.names() } else { reader.name().into_iter().collect() };
    let target = |mut name: Name| {
        if is_temporary {
            "pg_temp".clone_into(&mut name.schema);
        }
        Target { noun, class: *class, name, of_table: None }
    };
    names.into_iter().map(target).collect()
}

/// What comes after ON, or after the noun.
fn mentioned(verb: &str, mut reader: Reader<'_>) -> Vec<Target> {
    let names = match verb {
        "refresh" | "reindex" => {
            reader.parentheses();
            reader.skip(&["materialized", "view", "index", "table", "schema", "database", "system", "concurrently"]);
            reader.name().into_iter().collect()
        }
        _ if !reader.after("on") => Vec::new(),
        _ => {
            reader.skip(&["table", "column"]);
            reader.names()
        }
    };
    names.into_iter().map(Target::table).collect()
}
