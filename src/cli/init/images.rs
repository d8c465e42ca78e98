//! From the images that run to components: which repositories are one, what it is called, what pattern finds it.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::image::ImageRef;
use crate::domain::version::parse;

/// Repositories that are one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// A name of its own, as a policy may have it.
    pub(super) name: String,
    /// What finds its images and no others.
    pub(super) patterns: Vec<String>,
    /// The repositories that were found.
    pub(super) repositories: BTreeSet<String>,
}

/// The longest name that a component may have.
const LONGEST_NAME: usize = 63;

/// An image repository without registries in front: `mirror.example:5000/docker.io/library/redis` is `redis`.
///
/// A part is a registry when it has a dot or a colon, or is `localhost`, as container runtimes tell them apart.
pub(super) fn path_of(repository: &str) -> &str {
    let mut path = repository;
    while let Some((first, rest)) = path.split_once('/') {
        if !(first.contains(['.', ':']) || first == "localhost") {
            break;
        }
        path = rest;
    }
    match path.strip_prefix("library/") {
        Some(official) if !official.contains('/') => official,
        _ => path,
    }
}

/// Puts `own` together to components. Their patterns match none of `others`.
///
/// Repositories of one path are one component, whatever registry they come from, and so is a mirror that has another
/// path in front of one of at least two parts.
pub(super) fn groups(own: &BTreeSet<String>, others: &BTreeSet<String>) -> Vec<Group> {
    let mut by_path: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for repository in own {
        by_path.entry(path_of(repository)).or_default().insert(repository.clone());
    }
    let paths: Vec<&str> = by_path.keys().copied().collect();
    let mut merged: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, repositories) in by_path {
        let is_mirror_of = |other: &&&str| {
            other.contains('/') && path.strip_suffix(**other).is_some_and(|before| before.ends_with('/'))
        };
        let root = paths.iter().filter(is_mirror_of).min_by_key(|other| other.len()).copied().unwrap_or(path);
        merged.entry(root).or_default().extend(repositories);
    }
    let names = names(merged.keys().copied());
    let all: Vec<&String> = own.iter().chain(others).collect();
    let named = merged.into_iter().zip(names);
    named
        .map(|((path, repositories), name)| Group { name, patterns: patterns(path, &repositories, &all), repositories })
        .collect()
}

/// A pattern for any registry, where it finds nothing else that runs here; otherwise the repositories themselves.
fn patterns(path: &str, repositories: &BTreeSet<String>, all: &[&String]) -> Vec<String> {
    let pattern = format!("*/{path}");
    let finds = |repository: &&&String| ImageRef::parse(repository).is_from(&pattern);
    let found: BTreeSet<&String> = all.iter().filter(finds).copied().collect();
    if found.iter().all(|repository| repositories.contains(*repository)) && found.len() == repositories.len() {
        vec![pattern]
    } else {
        repositories.iter().cloned().collect()
    }
}

/// A name for each path: its last part, with the one before it where two have the same.
fn names<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let last = |path: &str, parts: usize| {
        let parts: Vec<&str> = path.rsplit('/').take(parts).collect();
        sanitised(&parts.into_iter().rev().collect::<Vec<_>>().join("-"))
    };
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    paths.clone().for_each(|path| *count.entry(last(path, 1)).or_default() += 1);
    let mut taken = BTreeSet::new();
    let name = |path: &str| {
        let short = last(path, 1);
        let wanted = if count.get(&short).is_some_and(|count| *count > 1) { last(path, 2) } else { short };
        let numbered = (2..).map(|number: usize| {
            let end = format!("-{number}");
            format!("{}{end}", wanted[..wanted.len().min(LONGEST_NAME - end.len())].trim_end_matches(['-', '.']))
        });
        let free = std::iter::once(wanted.clone()).chain(numbered).find(|name| taken.insert(name.clone()));
        free.unwrap_or(wanted)
    };
    paths.map(name).collect()
}

/// `text` as a component's name: `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`, at most 63 characters.
fn sanitised(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' { c } else { '-' };
    let text: String = text.to_ascii_lowercase().chars().map(fit).take(LONGEST_NAME).collect();
    let name = text.trim_matches(['-', '.']);
    if name.is_empty() { "component".to_owned() } else { name.to_owned() }
}

/// What a tag has in front of its version, where it has something: `release-` in `release-2.3.0`.
pub(super) fn prefix_of(tag: &str) -> Option<&str> {
    if parse(tag).is_some() {
        return None;
    }
    let ends = tag.match_indices(['-', '_']).map(|(at, _)| at + 1);
    let looks_right = |at: &usize| {
        let rest = &tag[*at..];
        let digits = rest.strip_prefix('v').unwrap_or(rest);
        // A commit's hash or a date is no version: there has to be a number, a dot and a number.
        digits.starts_with(|c: char| c.is_ascii_digit()) && parse(rest).is_some()
    };
    ends.into_iter().find(looks_right).map(|at| &tag[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn registries_are_noise() {
        for (repository, path) in [
            ("ghcr.io/stoa-platform/portal", "stoa-platform/portal"),
            ("localhost:5000/portal", "portal"),
            ("localhost/shop/portal", "shop/portal"),
            ("mirror.example:5000/docker.io/library/redis", "redis"),
            ("docker.io/bitnami/redis", "bitnami/redis"),
            ("redis", "redis"),
            ("library/redis", "redis"),
            ("library/x/redis", "library/x/redis"),
            ("my.app", "my.app"),
        ] {
            assert_eq!(path_of(repository), path, "{repository}");
        }
    }

    #[test]
    fn one_path_is_one_component_and_a_pattern_finds_nothing_else() {
        let told = |own: &[&str], others: &[&str]| -> Vec<String> {
            let groups = groups(&set(own), &set(others));
            groups.iter().map(|group| format!("{} {}", group.name, group.patterns.join(" "))).collect()
        };
        assert_eq!(told(&["ghcr.io/shop/api", "m.example/shop/api"], &[]), ["api */shop/api"]);
        assert_eq!(told(&["ghcr.io/shop/api", "m.example/ghcr/shop/api"], &[]), ["api */shop/api"]);
        assert_eq!(
            told(&["ghcr.io/shop/api", "ghcr.io/bank/api"], &[]),
            ["bank-api */bank/api", "shop-api */shop/api"]
        );
        assert_eq!(
            told(&["m.example/web", "ghcr.io/shop/web"], &[]),
            ["shop-web */shop/web", "web m.example/web"],
            "a pattern of one part would find the other, too"
        );
        assert_eq!(told(&["m.example/redis"], &["redis"]), ["redis m.example/redis"]);
        assert_eq!(told(&["x/a_b", "x/a-b"], &[]), ["x-a-b */x/a-b", "x-a-b-2 */x/a_b"]);
    }

    #[test]
    fn names_fit() {
        let long = format!("x/{}", "a".repeat(80));
        for (path, name) in
            [("shop/API_x", "api-x"), ("x/_", "component"), ("x/.a.", "a"), (long.as_str(), &"a".repeat(63))]
        {
            assert_eq!(names([path].into_iter()), [name]);
        }
    }

    #[test]
    fn what_stands_before_a_version_is_its_prefix() {
        for (tag, prefix) in [
            ("release-2.3.0", Some("release-")),
            ("control-plane-api-v1.15.0", Some("control-plane-api-")),
            ("build_2.3", Some("build_")),
            ("2.3.0-rc.1", None),
            ("dev-1f3a9c2", None),
            ("dev-latest", None),
            ("latest", None),
            ("nightly-20261123", None),
        ] {
            assert_eq!(prefix_of(tag), prefix, "{tag}");
        }
    }
}
