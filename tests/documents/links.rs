//! Links: inside the repository they have to lead to a file and a heading, out of it they have to be on the list.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::markdown::{Page, pages, root};

fn is_external(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

/// An address of this machine, as examples have it.
fn is_loopback(link: &str) -> bool {
    link.contains("://127.0.0.1") || link.contains("://localhost")
}

/// How many links there are inside the repository, and those that lead nowhere.
pub(crate) fn check(some: &[Page]) -> (usize, Vec<String>) {
    static ALL: LazyLock<Vec<Page>> = LazyLock::new(pages);
    let (mut found, mut wrong) = (0, Vec::new());
    for page in some {
        for link in page.links.iter().filter(|link| !is_external(link)) {
            found += 1;
            wrong.extend(problem(page, link, &ALL).map(|problem| format!("{}: {problem}", page.path)));
        }
    }
    (found, wrong)
}

fn problem(page: &Page, link: &str, all: &[Page]) -> Option<String> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let folder = root().join(&page.path).parent()?.to_owned();
    let anchors = if file.is_empty() {
        &page.anchors
    } else {
        let Ok(target) = folder.join(file).canonicalize() else { return Some(format!("{file} does not exist")) };
        let Ok(inside) = target.strip_prefix(root()) else { return Some(format!("{file} is out of the repository")) };
        let Some(other) = all.iter().find(|other| *inside == *other.path) else {
            return anchor.map(|anchor| format!("{file} is no page, so it has no #{anchor}"));
        };
        &other.anchors
    };
    let missing = anchor.filter(|anchor| !anchors.contains(*anchor))?;
    Some(format!("{file} has no heading #{missing}"))
}

/// External links that are not https or not on `list`, and lines of `list` that no page has. Nobody fetches any.
pub(crate) fn check_external(some: &[Page], list: &str) -> Vec<String> {
    let listed: BTreeSet<&str> =
        list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for page in some {
        for link in page.links.iter().filter(|link| is_external(link) && !is_loopback(link)) {
            used.insert(link.as_str());
            if !link.starts_with("https://") {
                wrong.push(format!("{}: {link} is not https", page.path));
            } else if !listed.contains(link.as_str()) {
                wrong.push(format!("{}: {link} is not on the list of external links", page.path));
            }
        }
    }
    wrong.extend(listed.difference(&used).map(|line| format!("no page has {line} any more: take it off the list")));
    wrong
}
