//! `upgrade-guard install`: put this program where another image can run it.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{Outcome, Output};

/// Anyone may run it, nobody but its owner may change it.
const MODE: u32 = 0o755;

/// Put a copy of this program at a path, for example on a volume that another container of the pod has too.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write, in a folder that is there. What is there already is replaced in one step.
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let program = std::env::current_exe().context("cannot tell where this program is: is /proc mounted?")?;
    install(&program, &args.path)?;
    writeln!(out, "installed {}", args.path.display())?;
    Ok(Outcome::Done)
}

/// Copies `program` to `path`: whoever runs `path` meanwhile meets the old file or the new one, never a part of it.
fn install(program: &Path, path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("cannot install to {}: it is a folder. Name the file, for example {0}/upgrade-guard", path.display());
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let read = || format!("cannot read this program, {}", program.display());
    let mut from = std::fs::File::open(program).with_context(read)?;
    let written = || {
        let folder = folder.display();
        format!("cannot write to {folder}: is there a writable volume mounted there, such as an emptyDir?")
    };
    let mut beside = tempfile::NamedTempFile::new_in(folder).with_context(written)?;
    std::io::copy(&mut from, &mut beside).with_context(written)?;
    beside.as_file().set_permissions(Permissions::from_mode(MODE)).with_context(written)?;
    beside.as_file().sync_all().with_context(written)?;
    // The error of `persist` holds the temporary file, which is removed with it.
    let moved = beside.persist(path).map_err(|error| error.error);
    moved.with_context(|| format!("cannot put the program at {}", path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(error: &anyhow::Error, folder: &Path) -> String {
        format!("{error:#}").replace(&folder.display().to_string(), "DIR")
    }

    #[test]
    fn a_copy_replaces_what_was_there_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (program, path) = (folder.path().join("program"), folder.path().join("upgrade-guard"));
        std::fs::write(&program, "new").unwrap();
        std::fs::write(&path, "something older and longer").unwrap();
        // Whoever has the old file open keeps it: it is not written into.
        let mut old = std::fs::File::open(&path).unwrap();
        for _ in 0..2 {
            install(&program, &path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        }
        let mut still = String::new();
        std::io::Read::read_to_string(&mut old, &mut still).unwrap();
        assert_eq!(still, "something older and longer");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn what_cannot_be_done_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, "new").unwrap();
        let told = |program: &Path, path: &str| {
            let error = install(program, &folder.path().join(path)).unwrap_err();
            text_of(&error, folder.path())
        };
        assert_eq!(
            told(&program, "."),
            "cannot install to DIR/.: it is a folder. Name the file, for example DIR/./upgrade-guard"
        );
        let missing = told(&program, "missing/upgrade-guard");
        let start = "cannot write to DIR/missing: is there a writable volume mounted there, such as an emptyDir?: ";
        assert!(missing.starts_with(start), "{missing}");
        let unread = told(&folder.path().join("no-program"), "upgrade-guard");
        assert!(unread.starts_with("cannot read this program, DIR/no-program: "), "{unread}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
