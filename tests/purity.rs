//! Arrows point inwards: each layer uses only what it may, and the domain nothing that could make it anything but a
//! function of its arguments.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A layer of the program: a folder or file of `src`, and the crate's modules that it may use.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
    /// Whether it must be a function of its arguments.
    pure: bool,
}

/// All layers, innermost first. A layer may always use itself.
const LAYERS: [Layer; 10] = [
    Layer { name: "domain", may_use: &[], pure: true },
    Layer { name: "api", may_use: &["domain"], pure: false },
    Layer { name: "cluster", may_use: &["api", "domain"], pure: false },
    Layer { name: "crds", may_use: &["cluster", "api", "report"], pure: false },
    Layer { name: "report", may_use: &[], pure: false },
    Layer { name: "database", may_use: &["api", "report"], pure: false },
    Layer { name: "hook", may_use: &["crds", "database", "report", "cluster", "api", "domain"], pure: false },
    Layer { name: "admission", may_use: &["cluster", "api", "domain"], pure: false },
    Layer { name: "controller", may_use: &["cluster", "database", "api", "domain"], pure: false },
    Layer { name: "server", may_use: &[], pure: false },
];

/// What starts files that only put layers together.
const TOP: [&str; 3] = ["lib.rs", "main.rs", "cli"];

/// What a pure layer may not name. A path stands for itself and everything in it.
const IMPURE: [&str; 22] = [
    "tokio",
    "futures",
    "kube",
    "axum",
    "hyper",
    "reqwest",
    "tower",
    "tracing",
    "rand",
    "std::time",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "Client",
    "Api",
];
/// Keywords and macros that a pure layer may not use.
const IMPURE_WORDS: [&str; 7] = ["async", "await", "println", "eprintln", "print", "eprint", "dbg"];

/// What is wrong with one file of `layer`, one line each.
fn violations(layer: &Layer, source: &str) -> Vec<String> {
    let tokens = tokens(&code_of(source));
    let mut found = BTreeSet::new();
    for path in paths(&tokens) {
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        let outside = match segments.as_slice() {
            ["crate" | "upgrade_guard", module, ..] => Some(*module),
            // Upwards out of the layer: no layer has a module of its own that is named like another.
            ["super", ..] => {
                let first = segments.iter().find(|segment| **segment != "super").copied();
                first.filter(|first| LAYERS.iter().any(|other| other.name == *first) || TOP.contains(first))
            }
            _ => None,
        };
        if let Some(module) = outside.filter(|module| *module != layer.name && !layer.may_use.contains(module)) {
            found.insert(format!("uses crate::{module}"));
        }
        if layer.pure {
            let names = |forbidden: &&&str| {
                let forbidden: Vec<&str> = forbidden.split("::").collect();
                segments.windows(forbidden.len()).any(|window| window == forbidden)
            };
            found.extend(IMPURE.iter().filter(names).map(|what| format!("names {what}")));
        }
    }
    if layer.pure {
        let words = IMPURE_WORDS.iter().filter(|word| tokens.iter().any(|token| token == *word));
        found.extend(words.map(|word| format!("says {word}")));
    }
    found.into_iter().collect()
}

/// The source without comments and the contents of strings.
fn code_of(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut code = String::with_capacity(source.len());
    let mut i = 0;
    while i < chars.len() {
        let begins_word = i == 0 || !(at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        let hashes = chars[i..].iter().skip(1).take_while(|c| **c == '#').count();
        match (at(i), at(i + 1)) {
            ('/', '/') => i += chars[i..].iter().take_while(|c| **c != '\n').count(),
            ('/', '*') => {
                let mut depth = 0;
                while i < chars.len() {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
                code.push(' ');
            }
            ('r', '"' | '#') if begins_word && at(i + 1 + hashes) == '"' => {
                i += hashes + 2;
                let closes = |from: usize| at(from) == '"' && (1..=hashes).all(|n| at(from + n) == '#');
                while i < chars.len() && !closes(i) {
                    i += 1;
                }
                i += hashes + 1;
                code.push_str("\"\"");
            }
            ('"', _) => {
                i += 1;
                while i < chars.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
                code.push_str("\"\"");
            }
            // A character, not a lifetime: '"' must not open a string.
            ('\'', '\\') => {
                i += 3;
                i += chars[i.min(chars.len())..].iter().take_while(|c| **c != '\'').count() + 1;
            }
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            (c, _) => {
                code.push(c);
                i += 1;
            }
        }
    }
    code
}

/// Words, `::` and single other characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Every path in the code, with groups taken apart: `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let starts = tokens[i].starts_with(|c: char| c.is_alphabetic() || c == '_');
        if starts { path(tokens, &mut i, &[], &mut found) } else { i += 1 }
    }
    found
}

fn path(tokens: &[String], i: &mut usize, before: &[String], found: &mut Vec<Vec<String>>) {
    let mut own = before.to_vec();
    loop {
        match tokens.get(*i).map(String::as_str) {
            Some("{") if !own.is_empty() => {
                *i += 1;
                while *i < tokens.len() && tokens[*i] != "}" {
                    if tokens[*i] == "," { *i += 1 } else { path(tokens, i, &own, found) }
                }
                *i += 1;
                return;
            }
            Some(segment) => {
                own.push(segment.to_owned());
                *i += 1;
            }
            None => break,
        }
        if tokens.get(*i).is_some_and(|token| token == "::") {
            *i += 1;
            // `Vec::<T>::new`: what is in brackets are paths of their own.
            if tokens.get(*i).is_some_and(|token| token == "<") {
                break;
            }
        } else {
            break;
        }
    }
    found.push(own);
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn arrows_point_inwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for layer in &LAYERS {
        let mut files = Vec::new();
        sources(&root.join(layer.name), &mut files);
        assert!(!files.is_empty(), "src/{} holds no source", layer.name);
        for file in files {
            let name = file.strip_prefix(&root).unwrap().display().to_string();
            let found = violations(layer, &std::fs::read_to_string(&file).unwrap());
            wrong.extend(found.into_iter().map(|what| format!("src/{name} {what}")));
        }
    }
    assert!(wrong.is_empty(), "arrows point outwards:\n{}", wrong.join("\n"));
}

/// A layer that nobody added to the table would be free to use anything.
#[test]
fn every_layer_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = LAYERS.iter().any(|layer| layer.name == name) || TOP.contains(&name.as_str());
        assert!(known, "src/{name} is in no row of the table: say what it may use");
    }
}

#[test]
fn a_bad_file_is_noticed() {
    let layer = |name: &str| LAYERS.iter().find(|layer| layer.name == name).unwrap();
    for (name, source, expected) in [
        ("domain", "use tokio::sync::Mutex;", "names tokio"),
        ("domain", "use ::tokio::time;", "names tokio"),
        ("domain", "use kube::Client;", "names kube"),
        ("domain", "fn f(client: &Client) {}", "names Client"),
        ("domain", "use kube::runtime::watcher;", "names kube"),
        ("domain", "fn f() -> axum::Router { axum::Router::new() }", "names axum"),
        ("domain", "use hyper::body::Bytes;", "names hyper"),
        ("domain", "use reqwest as http;", "names reqwest"),
        ("domain", "use std::time::Instant;", "names std::time"),
        ("domain", "fn f(at: Instant) {}", "names Instant"),
        ("domain", "use std::{collections::BTreeMap, time::SystemTime};", "names std::time"),
        ("domain", "use std::{\n    fmt,\n    // why not\n    fs::{self, File},\n};", "names std::fs"),
        ("domain", "let now = jiff::Timestamp::now();", "names Timestamp::now"),
        ("domain", "let now = Timestamp :: now ();", "names Timestamp::now"),
        ("domain", "let now = Zoned::now();", "names Zoned::now"),
        ("domain", "let text = std::fs::read_to_string(path);", "names std::fs"),
        ("domain", "use std::net::IpAddr;", "names std::net"),
        ("domain", "let home = std::env::var(\"HOME\");", "names std::env"),
        ("domain", "std::process::exit(1)", "names std::process"),
        ("domain", "let dice = rand::random::<u8>();", "names rand"),
        ("domain", "pub async fn decide() {}", "says async"),
        ("domain", "let x = future.await;", "says await"),
        ("domain", "dbg!(view);", "says dbg"),
        ("domain", "use crate::api::UpgradePolicy;", "uses crate::api"),
        ("domain", "use crate::{domain::view::View, cluster::inventory};", "uses crate::cluster"),
        ("domain", "fn f() { let c = '\"'; crate::server::start(); }", "uses crate::server"),
        ("domain", "/* \" */ use crate::admission::Admission; /* \" */", "uses crate::admission"),
        ("domain", "use super::super::api::UpgradePolicy;", "uses crate::api"),
        ("api", "use crate::cluster::object::WorkloadKind;", "uses crate::cluster"),
        ("cluster", "use crate::admission::Cluster;", "uses crate::admission"),
        ("cluster", "pub(in crate::server) fn f() {}", "uses crate::server"),
        ("admission", "use crate::server::Server;", "uses crate::server"),
        ("admission", "use crate::cli::Arguments;", "uses crate::cli"),
        ("server", "use crate::domain::policy::Policy;", "uses crate::domain"),
        ("server", "use upgrade_guard::admission::Admission;", "uses crate::admission"),
    ] {
        let found = violations(layer(name), source);
        assert!(found.iter().any(|what| what == expected), "{name}: {source}\nwanted '{expected}', found {found:?}");
    }
}

#[test]
fn a_good_file_is_left_alone() {
    let layer = |name: &str| LAYERS.iter().find(|layer| layer.name == name).unwrap();
    for (name, source) in [
        ("domain", "use std::collections::BTreeMap;\nuse jiff::Timestamp;\nuse super::view::View;"),
        ("domain", "use crate::domain::{line::Line, version::Version};"),
        ("domain", "// tokio, async, std::fs and Timestamp::now are for others\nfn f() {}"),
        ("domain", "/// See [`crate::cluster`].\nfn f() {}"),
        ("domain", "/* use tokio; /* nested */ use kube; */ fn f() {}"),
        ("domain", "const TEXT: &str = \"use crate::server; \\\" async tokio::main\";"),
        ("domain", "const TEXT: &str = r#\"async \" crate::api\"#;"),
        ("domain", "const QUOTE: char = '\\''; const TEXT: &str = \"async\"; fn f<'a>(x: &'a str) {}"),
        ("domain", "fn instant_of(apis: &Apis, clients: u32) {}"),
        ("cluster", "use crate::api::Platform;\nuse crate::domain::view::View;\nuse super::record;"),
        ("admission", "use crate::cluster::snapshot::Snapshot;\npub(crate) fn f() {}"),
        ("server", "use crate::server::tls;\nuse std::time::Duration;"),
    ] {
        assert_eq!(violations(layer(name), source), Vec::<String>::new(), "{name}: {source}");
    }
}
