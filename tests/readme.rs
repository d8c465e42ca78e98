//! README and docs say nothing that is not so: their commands run, their tables are complete. `documents.rs` looks at links.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use upgrade_guard::server::metrics::DESCRIPTORS;

#[path = "support/readme.rs"]
mod readme;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<(PathBuf, String)> {
    let pages = [
        "README.md",
        "docs/architecture.md",
        "docs/local.md",
        "docs/migrations.md",
        "docs/rules.md",
        "certs/README.md",
        "tests/cluster/README.md",
    ];
    pages.iter().map(|page| (root().join(page), std::fs::read_to_string(root().join(page)).unwrap())).collect()
}

#[test]
fn every_block_of_commands_is_run_somewhere() {
    let known = ["ci", "offline", "cluster", "cluster, in the background"];
    for block in readme::blocks() {
        // What cannot be run says why.
        if block.run.strip_prefix("not here, ").is_some_and(|why| why.len() > 10) {
            continue;
        }
        assert!(known.contains(&block.run.as_str()), "nobody runs this ('{}'):\n{}", block.run, block.commands);
    }
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    for command in readme::blocks().iter().filter(|block| block.run == "ci").flat_map(|block| block.commands.lines()) {
        assert!(ci.lines().any(|line| line == command), "CI does not run '{command}'");
    }
}

#[test]
fn the_offline_commands_work() {
    let program = Path::new(env!("CARGO_BIN_EXE_upgrade-guard")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let blocks: Vec<_> = readme::blocks().into_iter().filter(|block| block.run == "offline").collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let mut shell = Command::new("sh");
        shell.args(["-euc", &block.commands]).current_dir(root()).env("PATH", &path);
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}\n{}", block.commands, String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn make_targets_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let target = regex::Regex::new(r"`make ([a-z]+)`").unwrap();
    let mut found = 0;
    for (page, text) in pages() {
        for name in target.captures_iter(&text).map(|found| found[1].to_owned()) {
            let rule = format!("\n{name}:");
            assert!(makefile.contains(&rule), "{}: there is no target '{name}'", page.display());
            found += 1;
        }
    }
    assert!(found > 5);
}

#[test]
fn the_metrics_it_names_exist() {
    let readme = include_str!("../README.md");
    let name = regex::Regex::new(r"`(upgrade_guard_[a-z_]+)`").unwrap();
    let named: Vec<&str> = name.captures_iter(readme).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(named.len() > 4, "{named:?}");
    for name in named {
        assert!(DESCRIPTORS.iter().any(|descriptor| descriptor.name == name), "there is no metric '{name}'");
    }
}
