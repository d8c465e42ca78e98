//! Documents in files, folders or on the standard input, before anyone asks what they are.

use std::convert::Infallible;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;
use serde_saphyr::Spanned;

/// Where manifests are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder with everything below it.
    Path(PathBuf),
    /// The standard input, written `-`.
    Stdin,
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdin } else { Self::Path(text.into()) })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// Where a document was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// Its number in the file, from 1; empty documents are not counted.
    pub document: usize,
    /// The line on which it starts, where that is known.
    pub line: Option<u64>,
    /// Its number in a list, from 1.
    pub item: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}", self.file, self.document)?;
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        match self.item {
            Some(item) => write!(f, ", item {item}"),
            None => Ok(()),
        }
    }
}

/// Why manifests could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system could not read it.
    #[error("cannot read {file}: {source}")]
    Read {
        /// What could not be read.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without manifests.
    #[error("{0} holds no .yaml, .yml or .json file: name a file, or a folder with manifests in it")]
    EmptyFolder(String),
    /// Folders inside folders without end.
    #[error("{0} is more than {MOST_LEVELS} folders deep: is there a link to a folder above it?")]
    TooDeep(String),
    /// A document that is no YAML or JSON.
    #[error("{origin} is not valid {format}: {message}{hint}")]
    Syntax {
        /// Which document.
        origin: Origin,
        /// `YAML` or `JSON`.
        format: &'static str,
        /// What the parser says.
        message: String,
        /// What to do, where that can be guessed.
        hint: &'static str,
    },
    /// A document that is no Kubernetes object.
    #[error("{origin} {message}")]
    Document {
        /// Which document.
        origin: Origin,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// A field that is wrong.
    #[error("{origin}, {object}: {path}: {message}")]
    Field {
        /// Which document.
        origin: Origin,
        /// The object's kind and name.
        object: String,
        /// The field.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// Two documents for one object.
    #[error("{origin} is {object} once more, after {earlier}: remove one of them")]
    Twice {
        /// Which document.
        origin: Origin,
        /// The object's kind, namespace and name.
        object: String,
        /// Where it was before.
        earlier: Box<Origin>,
    },
}

/// Everything that is wrong in a set of manifests; never empty.
#[derive(Debug, thiserror::Error)]
pub struct FileErrors(pub Vec<FileError>);

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

/// An object and where it was found.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The document.
    pub origin: Origin,
    /// What it holds.
    pub object: T,
}

/// Folders inside folders that are followed. Real trees have a handful; a link to a folder above has no end.
const MOST_LEVELS: usize = 32;
/// Nodes and documents that one YAML file may have: as many as the workloads of a large cluster need.
const MOST_NODES: usize = 5_000_000;
/// Nodes that anchors may repeat: manifests hardly use any, and a few lines of them could fill the memory.
const MOST_ANCHORED: usize = 50_000;

/// Reads every Kubernetes object in `sources`, folders recursively and in the order of their names, the items of lists
/// one by one. Each is an object with a `kind` (but for a kustomization), or what is wrong there.
#[must_use]
pub fn documents(sources: &[Source]) -> Vec<Result<Found<Value>, FileError>> {
    let mut reader = Reader { found: Vec::new() };
    for source in sources {
        reader.source(source);
    }
    reader.found
}

/// Reads every Kubernetes object in `text`, which people know as `file`, as [`documents`] does.
#[must_use]
pub fn documents_in(file: &str, text: &str) -> Vec<Result<Found<Value>, FileError>> {
    let mut reader = Reader { found: Vec::new() };
    reader.text(file, text);
    reader.found
}

struct Reader {
    found: Vec<Result<Found<Value>, FileError>>,
}

impl Reader {
    fn problems(&self) -> usize {
        self.found.iter().filter(|found| found.is_err()).count()
    }

    fn source(&mut self, source: &Source) {
        let read = match source {
            Source::Stdin => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map(|_| self.text(&source.to_string(), &text))
            }
            Source::Path(path) if path.is_dir() => {
                let before = self.problems();
                match self.folder(path, 0) {
                    Ok(0) if self.problems() == before => {
                        self.found.push(Err(FileError::EmptyFolder(source.to_string())));
                        Ok(())
                    }
                    other => other.map(|_| ()),
                }
            }
            Source::Path(path) => self.file(path),
        };
        if let Err(error) = read {
            self.found.push(Err(FileError::Read { file: source.to_string(), source: error }));
        }
    }

    /// Reads everything below `folder` and returns how many files that were. What begins with a dot is left out, as
    /// version control and mounted volumes keep things there.
    fn folder(&mut self, folder: &Path, level: usize) -> std::io::Result<usize> {
        if level > MOST_LEVELS {
            self.found.push(Err(FileError::TooDeep(folder.display().to_string())));
            return Ok(0);
        }
        let mut paths = std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut files = 0;
        for path in paths.iter().filter(|path| !name(path).starts_with('.')) {
            if path.is_dir() {
                files += self.folder(path, level + 1)?;
            } else if is_manifest(path) {
                if let Err(error) = self.file(path) {
                    self.found.push(Err(FileError::Read { file: path.display().to_string(), source: error }));
                }
                files += 1;
            }
        }
        Ok(files)
    }

    fn file(&mut self, path: &Path) -> std::io::Result<()> {
        let text = std::fs::read_to_string(path)?;
        self.text(&path.display().to_string(), &text);
        Ok(())
    }

    fn text(&mut self, file: &str, text: &str) {
        let documents = if text.trim_start().starts_with('{') && !text.contains("\n---") { json } else { yaml };
        for (number, document) in (1..).zip(documents(text)) {
            let origin = |line| Origin { file: file.to_owned(), document: number, line, item: None };
            match document {
                Ok((line, value)) => self.document(&origin(line), value),
                Err((format, message)) => {
                    let hint = if text.contains("{{") {
                        ". It looks like a template: render it first, for example with `helm template`"
                    } else {
                        ""
                    };
                    self.found.push(Err(FileError::Syntax { origin: origin(None), format, message, hint }));
                }
            }
        }
    }

    fn document(&mut self, origin: &Origin, value: Value) {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let bare_kustomization = kind.is_empty() && is_kustomization(Path::new(&origin.file));
        if kind.is_empty() && !bare_kustomization {
            let message = "is no Kubernetes object: it has no 'kind'. Leave other files out of the folder".to_owned();
            self.found.push(Err(FileError::Document { origin: origin.clone(), message }));
            return;
        }
        match (kind.strip_suffix("List"), value) {
            (Some(item_kind), Value::Object(mut list)) if list.get("items").is_some_and(Value::is_array) => {
                let Some(Value::Array(items)) = list.remove("items") else { return };
                for (number, mut item) in (1..).zip(items) {
                    // A typed list says once what its items are.
                    if let (Value::Object(fields), false) = (&mut item, item_kind.is_empty()) {
                        fields.entry("kind").or_insert_with(|| item_kind.into());
                        fields.entry("apiVersion").or_insert_with(|| api_version.clone().into());
                    }
                    self.document(&Origin { item: Some(number), ..origin.clone() }, item);
                }
            }
            (_, value) => self.found.push(Ok(Found { origin: origin.clone(), object: value })),
        }
    }
}

/// A document with the line it starts on, or the format that it should have and what is wrong.
type Document = Result<(Option<u64>, Value), (&'static str, String)>;

fn yaml(text: &str) -> Vec<Document> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_NODES,
            max_events: MOST_NODES,
            max_documents: MOST_NODES,
            max_recorded_anchor_events: MOST_ANCHORED,
        },
        with_snippet: false,
    };
    let mut bytes = text.as_bytes();
    let read =
        serde_saphyr::read_with_options::<_, Spanned<Value>>(&mut bytes, options).map(|document| match document {
            Ok(document) => Ok((Some(document.referenced.line()), document.value)),
            Err(error) => Err(("YAML", error.to_string())),
        });
    let mut documents = Vec::new();
    for document in read {
        let failed = document.is_err();
        documents.push(document);
        // What follows a broken document would be told wrongly.
        if failed {
            break;
        }
    }
    documents
}

fn json(text: &str) -> Vec<Document> {
    let read = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let documents = read.map(|document| document.map(|value| (None, value)).map_err(|e| ("JSON", e.to_string())));
    documents.collect()
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn is_kustomization(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("kustomization"))
}
