//! The page of each code as a user reads it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;
use upgrade_guard::domain::rules::{ROWS, UNAVAILABLE};

/// The width that the texts of the command line are wrapped to.
const COLUMNS: usize = 100;

fn rules(arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_upgrade-guard")).arg("rules").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout) + &text(&output.stderr), output.status.code())
}

fn codes() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.code).chain([UNAVAILABLE.code])
}

#[test]
fn every_code_has_a_page() {
    for code in codes() {
        let (page, exit) = rules(&[code]);
        assert_eq!(exit, Some(0), "{page}");
        // Commands and annotations are to be copied: they are never wrapped.
        let prose = page.lines().filter(|line| {
            !["upgrade-guard ", "kubectl ", "guard.gostoa.dev/"]
                .iter()
                .any(|start| line.trim_start().starts_with(start))
        });
        for line in prose {
            assert!(line.chars().count() <= COLUMNS, "{code}: {} columns: {line}", line.chars().count());
        }
        assert_snapshot!(code.to_lowercase().replace('-', "_"), page);
    }
}

#[test]
fn a_code_is_found_in_any_case_and_an_unknown_one_names_those_there_are() {
    assert_eq!(rules(&["ug-order"]), rules(&["UG-ORDER"]));
    assert_eq!(
        rules(&["UG-NONE"]),
        (
            "error: there is no code 'UG-NONE'; there are UG-ORDER, UG-SKEW, UG-HOP, UG-SCHEMA, UG-CRD, UG-SUPPORTED, \
             UG-ZERODOWNTIME, UG-PRECONDITION, UG-VERSION and UG-UNAVAILABLE\n"
                .to_owned(),
            Some(2)
        )
    );
}

/// An example that the guard never says would send people looking for the wrong thing.
#[test]
fn every_example_is_what_the_guard_says_in_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut said = String::new();
    for folder in ["tests", "src"] {
        collect(&root.join(folder), &mut said);
    }
    for (code, page) in ROWS.iter().map(|row| (row.code, row.page)).chain([(UNAVAILABLE.code, &UNAVAILABLE.page)]) {
        assert!(said.contains(&plain(page.example)), "nothing says what {code} has as its example: {}", page.example);
    }
}

/// The texts of all tests, apart from those that only repeat the pages.
fn collect(folder: &Path, said: &mut String) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            collect(&path, said);
        } else if path.extension().is_some_and(|extension| extension == "snap" || extension == "rs")
            && !name.starts_with("rules__")
            && name != "pages.rs"
        {
            said.push_str(&plain(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Without what breaks lines and quotes in sources and snapshots.
fn plain(text: &str) -> String {
    text.replace('\\', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}
