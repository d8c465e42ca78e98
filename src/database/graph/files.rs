//! The graph from the revision files, where Alembic itself cannot be asked. Nothing of them is run.

use std::path::{Path, PathBuf};

use super::python::{Broken, Line, Token, lines};
use super::{Graph, GraphError, Migration, content, sha256};

/// The variables by which a revision file says what it is, as Alembic reads them.
const NAMES: [&str; 4] = ["revision", "down_revision", "branch_labels", "depends_on"];

/// Reads the graph from the Python files in `folder` and the folders in it. Files that set no `revision` are none of
/// Alembic's, and left out.
///
/// # Errors
/// When there is none, one cannot be read, computes what it should say, or they make no graph.
pub fn read(folder: &Path) -> Result<Graph, GraphError> {
    let migrations = migrations(folder)?;
    if migrations.is_empty() {
        return Err(GraphError::Empty { folder: folder.to_owned() });
    }
    Graph::new(migrations)
}

/// The migrations in a folder and the folders in it, in the order of their paths.
pub(super) fn migrations(folder: &Path) -> Result<Vec<Migration>, GraphError> {
    let mut paths = vec![];
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let failed = |source| GraphError::Read { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Folders are not followed through links, as Alembic does not either: in a mounted ConfigMap they lead to
            // the same files again, as do the hidden folders beside them.
            if entry.file_type().map_err(failed)?.is_dir() {
                if name != "__pycache__" && !name.starts_with('.') {
                    open.push(entry.path());
                }
            } else if is_source(&name) && entry.path().is_file() {
                paths.push(entry.path());
            }
        }
    }
    paths.sort();
    paths.into_iter().filter_map(|path| migration(path).transpose()).collect()
}

/// Whether Alembic reads a file of this name.
pub(super) fn is_source(name: &str) -> bool {
    name.strip_suffix(".py").is_some_and(|stem| !stem.starts_with(".#") && !stem.starts_with("__init__"))
}

/// The migration in a file; `None` when it sets no `revision`.
pub(super) fn migration(path: PathBuf) -> Result<Option<Migration>, GraphError> {
    let bytes = content(&path)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines =
        lines(&text).map_err(|Broken { line, problem }| GraphError::Syntax { path: path.clone(), line, problem })?;
    let said = said(&lines).map_err(|(line, name)| GraphError::Computed {
        path: path.clone(),
        line,
        name: name.to_owned(),
    })?;
    let [id, down, labels, depends_on] = said;
    let (id, down) = match (id, down) {
        (None, None) => return Ok(None),
        (Some((id, line)), Some((down, _))) => match id {
            Value::One(id) => (id, down),
            _ => return Err(GraphError::Computed { path, line, name: NAMES[0].to_owned() }),
        },
        (None, Some(_)) => return Err(GraphError::Incomplete { path, name: NAMES[0] }),
        (Some(_), None) => return Err(GraphError::Incomplete { path, name: NAMES[1] }),
    };
    if id.is_empty() || id.contains(['@', '+', '-', ':']) {
        return Err(GraphError::Identifier { path, id });
    }
    let listed = |said: Option<(Value, usize)>| said.map(|(value, _)| value.list()).unwrap_or_default();
    Ok(Some(Migration {
        id,
        down: down.list(),
        depends_on: listed(depends_on),
        labels: listed(labels),
        title: title(&lines),
        digest: Some(sha256(&bytes)),
        autocommit: autocommit(&lines),
        version_column: version_column(&lines),
        file: Some(path),
    }))
}

/// What is said by `NAMES`, in their order, and in which line.
type Said = [Option<(Value, usize)>; NAMES.len()];

/// What the file says, or the line and name of what it computes. What is set twice is what it was set to last.
fn said(lines: &[Line<'_>]) -> Result<Said, (usize, &'static str)> {
    let mut said: Said = [const { None }; NAMES.len()];
    let mut in_definition = false;
    for line in lines {
        if !line.indented {
            in_definition = matches!(line.tokens[0].0, Token::Word("def" | "class" | "async") | Token::Sign("@"));
        }
        if in_definition {
            continue;
        }
        for statement in line.tokens.split(|(token, _)| *token == Token::Sign(";")) {
            match (assignment(statement), line.indented) {
                (Some((name, line, value)), false) => said[name] = Some((value.ok_or((line, NAMES[name]))?, line)),
                (Some((name, line, _)), true) => return Err((line, NAMES[name])),
                (None, _) => {
                    if let Some(computed) = NAMES.into_iter().find_map(|name| Some((binds(statement, name)?, name))) {
                        return Err(computed);
                    }
                }
            }
        }
    }
    Ok(said)
}

/// `name = value` or `name: type = value`: which of `NAMES`, in which line, and the value, where it is written out.
fn assignment(statement: &[(Token<'_>, usize)]) -> Option<(usize, usize, Option<Value>)> {
    let [(Token::Word(word), line), (Token::Sign("=" | ":"), _), ..] = statement else { return None };
    let name = NAMES.iter().position(|name| name == word)?;
    let equals = outside(statement).find(|(_, token)| *token == Token::Sign("="))?.0;
    let tokens: Vec<Token<'_>> = statement[equals + 1..].iter().map(|(token, _)| *token).collect();
    let mut values = Values(&tokens);
    Some((name, *line, values.list(None)))
}

/// The line in which a statement gives `name` a meaning in another way than by `name = ...`: by an import, for instance,
/// or together with other names.
fn binds(statement: &[(Token<'_>, usize)], name: &str) -> Option<usize> {
    let at = |index: usize| statement.get(index).map(|(token, _)| *token);
    let imports = statement.iter().position(|(token, _)| *token == Token::Word("import"));
    let targets = outside(statement).filter(|(_, token)| assigns(*token)).last().map_or(0, |(index, _)| index);
    let names = |index: &usize| at(*index) == Some(Token::Word(name));
    let bound = match imports {
        Some(import) => {
            (import..statement.len()).find(|index| names(index) && at(index + 1) != Some(Token::Word("as")))
        }
        None if at(0) == Some(Token::Word("del")) => (1..statement.len()).find(names),
        None => {
            let is_target = |index: &usize| *index < targets && names(index);
            outside(statement)
                .map(|(index, _)| index)
                .filter(is_target)
                .find(|index| *index == 0 || at(index - 1) != Some(Token::Sign(".")))
        }
    };
    bound.map(|index| statement[index].1)
}

/// Whether it is `=`, `+=` or the like.
fn assigns(token: Token<'_>) -> bool {
    matches!(token, Token::Sign(sign) if sign.ends_with('=') && !["==", "!=", "<=", ">="].contains(&sign))
}

/// The tokens that are in no brackets, with their places.
fn outside<'t, 'a>(statement: &'t [(Token<'a>, usize)]) -> impl Iterator<Item = (usize, Token<'a>)> + use<'t, 'a> {
    let mut depth = 0_usize;
    statement.iter().enumerate().filter_map(move |(index, (token, _))| {
        match token {
            Token::Sign("(" | "[" | "{") => depth += 1,
            Token::Sign(")" | "]" | "}") => depth = depth.saturating_sub(1),
            _ if depth == 0 => return Some((index, *token)),
            _ => {}
        }
        None
    })
}

/// What is written out.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Nothing,
    One(String),
    Many(Vec<String>),
}

impl Value {
    fn list(self) -> Vec<String> {
        match self {
            Self::Nothing => vec![],
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// Tokens that are still to be read.
struct Values<'t, 'a>(&'t [Token<'a>]);

impl Values<'_, '_> {
    /// Values with commas between them up to `end`, which is taken: one without a comma is itself, more are a tuple.
    fn list(&mut self, end: Option<Token<'_>>) -> Option<Value> {
        let (mut values, mut comma) = (vec![], false);
        loop {
            if self.0.first().copied() == end {
                self.0 = self.0.get(1..).unwrap_or_default();
                break;
            }
            values.push(self.one()?);
            comma = self.0.first() == Some(&Token::Sign(","));
            if comma {
                self.0 = &self.0[1..];
            } else if self.0.first().copied() != end {
                return None;
            }
        }
        if values.len() == 1 && !comma {
            return values.pop();
        }
        let strings = values.into_iter().map(|value| if let Value::One(one) = value { Some(one) } else { None });
        strings.collect::<Option<Vec<String>>>().map(Value::Many)
    }

    fn one(&mut self) -> Option<Value> {
        let (first, rest) = self.0.split_first()?;
        match first {
            Token::Word("None") => {
                self.0 = rest;
                Some(Value::Nothing)
            }
            Token::Sign("(") => {
                self.0 = rest;
                self.list(Some(Token::Sign(")")))
            }
            Token::Sign(open @ ("[" | "{")) => {
                self.0 = rest;
                let end = if *open == "[" { "]" } else { "}" };
                self.list(Some(Token::Sign(end))).map(|value| Value::Many(value.list()))
            }
            Token::Text(..) => {
                let count = self.0.iter().take_while(|token| matches!(token, Token::Text(..))).count();
                let (texts, rest) = self.0.split_at(count);
                self.0 = rest;
                texts.iter().map(|text| plain(*text)).collect::<Option<String>>().map(Value::One)
            }
            _ => None,
        }
    }
}

/// What a string says; `None` when that is not what is between its quotes.
fn plain(token: Token<'_>) -> Option<&str> {
    match token {
        Token::Text("" | "u" | "U", body) if !body.contains('\\') => Some(body),
        Token::Text("r" | "R", body) => Some(body),
        _ => None,
    }
}

/// The first line of what the file says of itself: of the string that it begins with.
fn title(lines: &[Line<'_>]) -> String {
    let Some((Token::Text(prefix, body), _)) = lines.first().and_then(|line| line.tokens.first()) else {
        return String::new();
    };
    if prefix.contains(['b', 'B', 'f', 'F', 't', 'T']) {
        return String::new();
    }
    let text = if prefix.contains(['r', 'R']) { (*body).to_owned() } else { unescaped(body) };
    text.trim().lines().next().unwrap_or_default().to_owned()
}

/// The escapes that occur in prose; others stay as they are.
fn unescaped(body: &str) -> String {
    let mut text = String::new();
    let mut chars = body.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        match chars.next() {
            Some('\n') => {}
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some(quoted @ ('\\' | '\'' | '"')) => text.push(quoted),
            other => text.extend(['\\'].into_iter().chain(other)),
        }
    }
    text
}

/// The code of a file, without the strings that are statements: they are comments.
fn code<'t, 'a>(lines: &'t [Line<'a>]) -> impl Iterator<Item = Token<'a>> + use<'t, 'a> {
    let says = |line: &&Line<'_>| line.tokens.iter().any(|(token, _)| !matches!(token, Token::Text(..)));
    lines.iter().filter(says).flat_map(|line| line.tokens.iter().map(|(token, _)| *token))
}

/// Whether it leaves the transaction: by Alembic's `autocommit_block`, by an index that is built concurrently (which no
/// transaction allows), by another isolation level, or by a plain COMMIT.
fn autocommit(lines: &[Line<'_>]) -> bool {
    code(lines).any(|token| match token {
        Token::Word(word) => matches!(word, "autocommit_block" | "postgresql_concurrently"),
        Token::Text(_, text) => {
            let text = text.trim().trim_end_matches(';').trim_end();
            text.eq_ignore_ascii_case("commit") || text == "AUTOCOMMIT"
        }
        Token::Sign(_) => false,
    })
}

fn version_column(lines: &[Line<'_>]) -> bool {
    code(lines).any(|token| matches!(token, Token::Text(_, text) if text.contains("version_num")))
}
