//! Commands: what a page tells to type is read by the same parser, without being run, and the files it names are there.

use clap::Parser as _;
use clap::error::ErrorKind;
use serde_json::Value;
use upgrade_guard::cli::Cli;

use crate::markdown::{Page, root};

const PROGRAM: &str = "upgrade-guard";
/// Options of kubectl, kustomize and helm that are followed by a file of the repository.
const FILE_OPTIONS: [&str; 6] = ["-f", "--filename", "-k", "--kustomize", "--patch-file", "--values"];
/// What a command of the pages writes, so that it is not there before.
const MADE: [&str; 2] = ["certs/dev", "target/"];

/// How many commands there are, and what is wrong with them.
pub(crate) fn check(pages: &[Page]) -> (usize, Vec<String>) {
    let (mut found, mut wrong) = (0, Vec::new());
    for page in pages {
        let mut tell = |problem: Option<String>| {
            found += 1;
            wrong.extend(problem.map(|problem| format!("{}: {problem}", page.path)));
        };
        for block in &page.blocks {
            if block.language == "yaml" {
                for arguments in arguments_in(&block.text) {
                    tell(unreadable(&arguments, false));
                }
                continue;
            }
            for words in commands(&block.text) {
                match words.first().map(String::as_str) {
                    Some(PROGRAM) => tell(unreadable(&words[1..], false).or_else(|| missing(&words))),
                    Some("kubectl" | "helm") => tell(missing(&words)),
                    _ => {}
                }
            }
        }
        // In prose a command is mentioned, not typed: what it needs may be left out.
        for code in page.code.iter().filter(|code| code.starts_with("upgrade-guard ")) {
            for words in commands(code) {
                tell(unreadable(&words[1..], true));
            }
        }
    }
    (found, wrong)
}

fn unreadable(arguments: &[String], is_mention: bool) -> Option<String> {
    let whole = std::iter::once(PROGRAM).chain(arguments.iter().map(String::as_str));
    let error = Cli::try_parse_from(whole).err()?;
    let kind = error.kind();
    let is_help = matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let is_partial = matches!(
        kind,
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            | ErrorKind::InvalidValue
    );
    if is_help || (is_mention && is_partial) {
        return None;
    }
    let said = error.to_string().lines().next().unwrap_or_default().to_owned();
    Some(format!("`{PROGRAM} {}`: {said}", arguments.join(" ")))
}

/// A file that a command names and that is not there: below a folder of the repository, or behind an option for files.
fn missing(words: &[String]) -> Option<String> {
    let is_file = |(index, word): (usize, &String)| {
        let named = FILE_OPTIONS.contains(&words[index.saturating_sub(1)].as_str()) && words[0] != PROGRAM;
        // The user's own: a name in capitals, one that begins with `my-`, or the standard input.
        let is_own = word == "-" || word.starts_with("my-") || word.starts_with("./") || *word == word.to_uppercase();
        let below = word.split_once('/').is_some_and(|(top, _)| !matches!(top, "" | ".") && root().join(top).is_dir());
        ((named && !is_own) || below) && !MADE.iter().any(|made| word.starts_with(made)) && !word.contains("://")
    };
    let word = words.iter().enumerate().skip(1).find(|pair| is_file(*pair) && !root().join(pair.1).exists())?.1;
    Some(format!("`{}`: {word} does not exist", words.join(" ")))
}

/// The arguments of containers of the guard in an example of a manifest.
fn arguments_in(yaml: &str) -> Vec<Vec<String>> {
    let Ok(documents) = serde_saphyr::from_multiple::<Value>(yaml) else { return vec![] };
    let mut found = Vec::new();
    for document in &documents {
        containers(document, &mut found);
    }
    found
}

fn containers(value: &Value, found: &mut Vec<Vec<String>>) {
    let image = value.get("image").and_then(Value::as_str).unwrap_or_default();
    if let (Some(arguments), true) = (value.get("args").and_then(Value::as_array), image.contains(PROGRAM)) {
        found.push(arguments.iter().map(|argument| argument.as_str().unwrap_or_default().to_owned()).collect());
    }
    let below: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => vec![],
    };
    for value in below {
        containers(value, found);
    }
}

/// The commands of a shell script, each as its words, without redirections, comments and assignments in front.
fn commands(script: &str) -> Vec<Vec<String>> {
    let script = script.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in script.lines() {
        let mut words = Vec::new();
        for word in words_of(line) {
            if matches!(word.as_str(), "|" | "||" | "&&" | ";") {
                found.push(std::mem::take(&mut words));
            } else {
                words.push(word);
            }
        }
        found.push(words);
    }
    let plain = found.into_iter().map(|words: Vec<String>| {
        let is_assignment = |word: &String| {
            word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains(['-', '/', ' ']))
        };
        let words: Vec<String> = words.into_iter().skip_while(is_assignment).collect();
        let end =
            words.iter().position(|word| word.starts_with(['>', '<']) || word.starts_with("2>")).unwrap_or(words.len());
        words[..end].to_vec()
    });
    plain.filter(|words| !words.is_empty()).collect()
}

/// Words as a shell splits them. Operators are words of their own.
fn words_of(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote, mut began) = (String::new(), None, false);
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => (quote, began) = (Some(c), true),
            (None, '#') if word.is_empty() && !began => break,
            (None, c) if c.is_whitespace() || matches!(c, '|' | ';' | '&') => {
                if began || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                    began = false;
                }
                if !c.is_whitespace() {
                    let twice = characters.next_if_eq(&c).is_some();
                    words.push(if twice { format!("{c}{c}") } else { c.to_string() });
                }
            }
            (_, c) => word.push(c),
        }
    }
    if began || !word.is_empty() {
        words.push(word);
    }
    words
}
