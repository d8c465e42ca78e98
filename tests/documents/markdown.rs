//! As much of Markdown as these pages use: headings, fenced and indented code, inline code and links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// A page taken apart.
pub(crate) struct Page {
    /// Its path in the repository.
    pub(crate) path: String,
    /// The anchors of its headings, as GitHub makes them.
    pub(crate) anchors: BTreeSet<String>,
    /// Targets of links.
    pub(crate) links: Vec<String>,
    pub(crate) blocks: Vec<Block>,
    /// Inline code.
    pub(crate) code: Vec<String>,
}

/// A block of code.
pub(crate) struct Block {
    /// What stands behind the fence; empty for an indented one.
    pub(crate) language: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README, everything in docs and charts, and the pages beside what they explain.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths = ["README.md", "certs/README.md", "tests/cluster/README.md"].map(|path| root().join(path)).to_vec();
    collect(&root().join("docs"), &mut paths);
    collect(&root().join("charts"), &mut paths);
    let path = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|page| Page::parse(&path(page), &std::fs::read_to_string(page).unwrap())).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

impl Page {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut page =
            Self { path: path.to_owned(), anchors: BTreeSet::new(), links: vec![], blocks: vec![], code: vec![] };
        let mut slugs = BTreeMap::new();
        let mut lines = text.lines().peekable();
        let mut prose = String::new();
        let mut after_blank = true;
        while let Some(line) = lines.next() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let code: Vec<&str> = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
                page.blocks.push(Block { language: language.to_owned(), text: code.join("\n") });
            } else if after_blank && line.starts_with("    ") {
                let mut code = vec![line];
                while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
                    code.push(line);
                }
                page.blocks.push(Block { language: String::new(), text: code.join("\n") });
            } else {
                if let Some(heading) = heading(line) {
                    page.anchors.insert(slug(heading, &mut slugs));
                }
                prose.push_str(line);
                prose.push('\n');
            }
            after_blank = line.trim().is_empty();
        }
        let (words, code) = apart(&prose);
        page.code = code;
        page.links = targets(&words);
        page
    }
}

fn heading(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    ((1..=6).contains(&level) && rest.starts_with(' ')).then(|| rest.trim())
}

/// The anchor of a heading: lower case, without what is neither letter, digit, space, `-` nor `_`, spaces as `-`, and a
/// number where the page has it already.
fn slug(heading: &str, seen: &mut BTreeMap<String, usize>) -> String {
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap());
    let text = LINK.replace_all(heading, "$1").to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
    let count = seen.entry(slug.clone()).or_default();
    *count += 1;
    if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
}

/// The prose without inline code, and the code.
fn apart(prose: &str) -> (String, Vec<String>) {
    let code = Regex::new("(?s)`+([^`]+)`+").unwrap();
    let comment = Regex::new("(?s)<!--.*?-->").unwrap();
    let prose = comment.replace_all(prose, "");
    let found = code.captures_iter(&prose).map(|found| found[1].split_whitespace().collect::<Vec<_>>().join(" "));
    let found = found.collect();
    (code.replace_all(&prose, "CODE").into_owned(), found)
}

/// Targets of links and images, and addresses that stand alone.
fn targets(words: &str) -> Vec<String> {
    let link = Regex::new(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)").unwrap();
    let bare = Regex::new(r#"https?://[^\s)>\]"']+"#).unwrap();
    let links = link.captures_iter(words).map(|found| found[1].to_owned());
    let bare = bare.find_iter(words).map(|found| found.as_str().trim_end_matches(['.', ',', ';', ':']).to_owned());
    links.chain(bare).collect()
}
