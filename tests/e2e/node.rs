//! The node, from the outside and from the inside of its network.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::alembic::installed;
use crate::say;

/// What the one outside tells the one inside, as JSON.
const INSIDE: &str = "UPGRADE_GUARD_E2E_NODE";
/// Where `make image` puts the guard's image.
const IMAGE: &str = "target/image/upgrade-guard.tar";

/// What the one inside has to know.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Given {
    /// The folder of this run.
    pub(crate) dir: PathBuf,
    /// A kubeconfig with every right.
    pub(crate) kubeconfig: PathBuf,
    /// The programs: kubectl, helm, those of `PostgreSQL` and of Alembic.
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// The supervisor's input, as a file.
    control: PathBuf,
}

/// The node as the scenes see it.
pub(crate) struct Inside {
    pub(crate) given: Given,
    control: Mutex<(File, BufReader<std::io::Stdin>)>,
}

/// What the supervisor says when the node is ready.
#[derive(Debug, Deserialize)]
struct Report {
    dir: PathBuf,
    kubeconfig: PathBuf,
    pid: u32,
    seconds: f64,
}

/// This process is in the node's network, or `None`.
pub(crate) fn inside() -> Result<Option<Inside>> {
    let Some(given) = std::env::var_os(INSIDE) else { return Ok(None) };
    // Whoever set the variable by hand shall not dial anybody.
    let routes = std::fs::read_to_string("/proc/net/route")?;
    let out = routes.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    ensure!(!out, "there is a route out of here: this is not the node's network\n{routes}");
    // Killed, the one outside takes this one along, and the node goes.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let given: Given = serde_json::from_str(given.to_str().context("text")?)?;
    let input = OpenOptions::new().write(true).open(&given.control).context("the supervisor's input")?;
    Ok(Some(Inside { given, control: Mutex::new((input, BufReader::new(std::io::stdin()))) }))
}

impl Inside {
    /// Stops a program of the node and starts it again; returns when the API server is ready again. Blocks.
    pub(crate) fn restart(&self, program: &str) -> Result<()> {
        let (input, output) = &mut *self.control.lock();
        writeln!(input, "restart {program}")?;
        answer(output).map(drop)
    }
}

/// One line of JSON from the supervisor.
fn answer(output: &mut impl std::io::BufRead) -> Result<serde_json::Value> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    ensure!(!line.is_empty(), "the supervisor ended without a word");
    let value: serde_json::Value = serde_json::from_str(&line)?;
    match value.get("error").and_then(serde_json::Value::as_str) {
        Some(error) => bail!("{error}"),
        None => Ok(value),
    }
}

/// Starts a node, runs this program again in its network, and looks that nothing is left at the end.
pub(crate) fn start_and_enter() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "needs root: it makes namespaces, mounts and cgroups for a real node"
    );
    let began = Instant::now();
    let image = in_repository(IMAGE);
    ensure!(image.is_file(), "there is no {IMAGE}: run 'make image', or 'make e2e', which does");
    let programs = programs()?;
    let before = traces()?;
    say(&format!("the tools are there ({:.1} s)", began.elapsed().as_secs_f32()));

    let (mut supervisor, input, mut output) = start(&image, &programs)?;
    let report: Report = serde_json::from_value(answer(&mut output).context("the node did not start")?)?;
    say(&format!("the node is ready ({:.1} s)", report.seconds));
    let given = Given {
        control: format!("/proc/{}/fd/{}", std::process::id(), input.as_raw_fd()).into(),
        dir: report.dir,
        kubeconfig: report.kubeconfig,
        programs,
    };
    // Not 'ip netns exec': that would hide the cgroups.
    let played = Command::new("nsenter")
        .arg(format!("--net=/proc/{}/ns/net", report.pid))
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, serde_json::to_string(&given)?)
        // What the supervisor answers goes to the one inside.
        .stdin(Stdio::from(output.into_inner()))
        .status()
        .context("cannot run nsenter")?;
    let stopping = Instant::now();
    drop(input);
    let stopped = supervisor.wait()?;
    say(&format!(
        "the node is gone ({:.1} s); {:.0} s in all",
        stopping.elapsed().as_secs_f32(),
        began.elapsed().as_secs_f32()
    ));
    ensure!(played.success(), "a scene failed: {played}");
    ensure!(stopped.success(), "the supervisor ended with {stopped}");
    nothing_is_left(&given.dir, supervisor.id(), &before)
}

fn start(image: &Path, programs: &BTreeMap<String, PathBuf>) -> Result<(Child, ChildStdin, BufReader<ChildStdout>)> {
    let program = |name: &str| programs.get(name).with_context(|| format!("no {name}"));
    let mut command = Command::new(program("cluster")?);
    command.args(["up", "--node", "--tools"]).arg(program("tools")?);
    command.arg("--image").arg(image).arg("--image").arg(program("toys")?);
    // The folder of a named place is kept, with the logs.
    if let Some(dir) = std::env::var_os("UPGRADE_GUARD_CLUSTER_DIR") {
        command.arg("--dir").arg(tempfile::Builder::new().prefix("run-").tempdir_in(dir)?.keep());
    }
    let mut supervisor = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot run cluster")?;
    let input = supervisor.stdin.take().context("its input is piped")?;
    let output = BufReader::new(supervisor.stdout.take().context("its output is piped")?);
    Ok((supervisor, input, output))
}

/// Everything that has to be fetched or built, while there is a network.
fn programs() -> Result<BTreeMap<String, PathBuf>> {
    let cluster = installed("tests/cluster/build")?;
    let found = [
        ("cluster", cluster.join("cluster")),
        ("kubectl", cluster.join("kubectl")),
        ("tools", installed("tests/node/install")?),
        ("toys", installed("tests/node/images")?.join("toys.tar")),
        ("helm", installed("tests/helm/install")?.join("helm")),
        ("alembic", installed("tests/postgres/alembic")?),
        ("postgres", installed("tests/postgres/install")?),
    ];
    Ok(found.into_iter().map(|(name, path)| (name.to_owned(), path)).collect())
}

/// A file of this repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a node could leave behind on this machine: mounts, interfaces, cgroups, named networks.
fn traces() -> Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let mut mounts = String::new();
    File::open("/proc/self/mountinfo")?.read_to_string(&mut mounts)?;
    found.extend(mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| format!("mount {path}")));
    let mut list = |what: &str, folder: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| format!("{what} {}", entry.path().display())));
    };
    list("interface", "/sys/class/net");
    list("network", "/run/netns");
    list("cgroup", "/sys/fs/cgroup");
    for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        list("cgroup", &entry.path().display().to_string());
    }
    found.sort();
    Ok(found)
}

/// Nothing of the node is on the machine; others may have come and gone meanwhile.
fn nothing_is_left(dir: &Path, supervisor: u32, before: &[String]) -> Result<()> {
    let cgroup = format!("upgrade-guard-node-{supervisor}");
    let new: Vec<String> = traces()?.into_iter().filter(|trace| !before.contains(trace)).collect();
    let ours: Vec<&String> = new
        .iter()
        .filter(|trace| [cgroup.as_str(), "kubepods", "cni", "veth", "k8s.io"].iter().any(|name| trace.contains(name)))
        .collect();
    ensure!(ours.is_empty(), "left behind: {ours:?}");
    let began = Instant::now();
    loop {
        let processes = processes_of(dir);
        if processes.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(10), "processes are left: {processes:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The command lines of processes that name this folder.
fn processes_of(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    let dir = dir.display().to_string();
    lines.filter(|line| line.contains(&dir)).collect()
}
