//! The program inside of the image: an empty root that cannot be written, a user that nobody knows, no environment, and a
//! network that is only a loopback.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::archive::{Archive, built, untar};

/// The user of the image.
const USER: u32 = 65532;
/// Set for a test that runs in its namespaces.
const ALONE: &str = "UPGRADE_GUARD_TEST_ALONE";

/// Runs the test called `name` in a network, a process tree and mounts of its own, which end with it.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return body();
    }
    let mut test = Command::new("unshare");
    test.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    test.arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]).env(ALONE, "1");
    let output = test.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{name} (run it as root):\n{text}");
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).status().unwrap();
    assert!(done.success(), "{program} {args:?}: {done}");
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The files of a container of the image. Dropped, it is unmounted and gone.
#[derive(Debug)]
pub(crate) struct Container {
    root: PathBuf,
    _folder: TempDir,
}

impl Container {
    /// The image with what Kubernetes mounts into it: files, given by path and content, and `/proc`.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        Self::made(|root| {
            for (path, content) in files {
                put(&root.join(path.trim_start_matches('/')), content);
            }
        })
    }

    /// The image with what `add` puts into its root.
    pub(crate) fn made(add: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        untar(&Archive::read(&built().join("upgrade-guard.tar")).layer(), &root);
        std::fs::create_dir(root.join("proc")).unwrap();
        add(&root);
        let path = root.to_str().unwrap();
        run("mount", &["--bind", path, path]);
        run("mount", &["-o", "remount,bind,ro", path]);
        run("mount", &["-t", "proc", "proc", root.join("proc").to_str().unwrap()]);
        assert!(std::fs::write(root.join("tmp/file"), "").is_err(), "the root can be written");
        Self { root, _folder: folder }
    }

    fn command(&self, args: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(format!("--userspec={USER}:{USER}")).arg(format!("--groups={USER}"));
        command.arg(&self.root).arg("/upgrade-guard").args(args).env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> Ended {
        let output = self.command(args, environment).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Ended { code: output.status.code(), out, err }
    }

    /// Starts the program.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args, &[]).spawn().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-R").arg(&self.root).status();
    }
}

/// Writes a file that the program may read, with its folders.
pub(crate) fn put(file: &Path, content: &str) {
    let folder = file.parent().unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(file, content).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o400)).unwrap();
    chown(file, Some(USER), Some(USER)).unwrap();
}

/// The user that a process runs as and the capabilities that it has, as the kernel tells them.
pub(crate) fn rights(process: u32) -> (String, String) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    (line("Uid:"), line("CapEff:"))
}
