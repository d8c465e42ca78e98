//! A real Kubernetes control plane for the tests: etcd, API server, controllers and fake nodes, on 127.0.0.1 only.
//!
//! A supervisor (`cluster up`, see `tests/cluster/README.md`) starts and stops the programs. It stops them when its
//! standard input ends, so they go whatever becomes of the test process: an end, a panic or a kill.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Once};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace as KubeNamespace, ServiceAccount};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OnceCell;

use super::wait::wait_for;

/// The programs a cluster is made of; `cluster` is the supervisor.
const PROGRAMS: [&str; 7] =
    ["cluster", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok"];

/// How much of a cluster a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Controllers, a scheduler and two fake nodes too: Deployments roll out.
    Whole,
    /// Only etcd and the API server: up in a few seconds.
    ApiServer,
}

/// A running control plane. Dropped, it stops, and with it goes its folder.
#[derive(Debug)]
pub(crate) struct Cluster {
    shape: Shape,
    programs: Programs,
    report: Report,
    supervisor: Arc<Mutex<Supervisor>>,
}

#[derive(Debug)]
struct Supervisor {
    process: Child,
    /// `None` once it was told to stop.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What the supervisor says when the cluster is ready.
#[derive(Debug, Deserialize)]
struct Report {
    dir: PathBuf,
    kubeconfig: PathBuf,
    server: String,
    etcd: String,
    pids: BTreeMap<String, u32>,
    seconds: f64,
}

/// What a `kubectl` call gave.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit code was 0.
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A namespace of its own for one test.
#[derive(Clone)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    client: Client,
}

impl Cluster {
    /// The one cluster that all tests of this process share, started by whoever asks first.
    ///
    /// `None` means that the caller of the tests asked to skip them; a cluster that cannot be started is an error.
    pub(crate) async fn shared() -> Result<Option<&'static Self>> {
        static SHARED: OnceCell<Result<Cluster, String>> = OnceCell::const_new();
        if skipped() {
            return Ok(None);
        }
        // A failure is kept too: the next test need not wait for the same failure again.
        let shared =
            SHARED.get_or_init(|| async { Self::start(Shape::Whole).await.map_err(|e| format!("{e:#}")) }).await;
        shared.as_ref().map(Some).map_err(|e| anyhow!(e.clone()))
    }

    /// A cluster for one test alone, such as one that restarts the API server. `None` as for [`Cluster::shared`].
    pub(crate) async fn alone(shape: Shape) -> Result<Option<Self>> {
        if skipped() {
            return Ok(None);
        }
        Self::start(shape).await.map(Some)
    }

    /// As [`Cluster::alone`], with an API server that notes in [`Cluster::audit_log`] what `policy` asks for.
    pub(crate) async fn audited(shape: Shape, policy: &Path) -> Result<Option<Self>> {
        if skipped() {
            return Ok(None);
        }
        Self::start_with(shape, Some(policy.to_owned())).await.map(Some)
    }

    async fn start(shape: Shape) -> Result<Self> {
        Self::start_with(shape, None).await
    }

    async fn start_with(shape: Shape, audit: Option<PathBuf>) -> Result<Self> {
        let cluster = tokio::task::spawn_blocking(move || Self::start_blocking(shape, audit.as_deref())).await??;
        say(&format!("ready after {:.1} s: {}", cluster.report.seconds, cluster.report.server));
        Ok(cluster)
    }

    fn start_blocking(shape: Shape, audit: Option<&Path>) -> Result<Self> {
        let programs = Programs::locate()?;
        let mut command = Command::new(programs.path("cluster"));
        command.arg("up").arg("--stages").arg(source_folder().join("stages"));
        if shape == Shape::ApiServer {
            command.arg("--without-controllers");
        }
        if let Some(policy) = audit {
            command.arg("--audit-policy").arg(policy);
        }
        for name in PROGRAMS {
            command.arg(format!("--program={name}={}", programs.path(name).display()));
        }
        // The folder of a named place is kept, with the logs.
        if let Some(dir) = std::env::var_os("UPGRADE_GUARD_CLUSTER_DIR") {
            command.arg("--dir").arg(tempfile::Builder::new().prefix("run-").tempdir_in(dir)?.keep());
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", programs.path("cluster").display()))?;
        let mut supervisor = Supervisor {
            input: process.stdin.take(),
            output: BufReader::new(process.stdout.take().context("its output is piped")?),
            process,
        };
        let report = supervisor.answer().context("the test cluster did not start")?;
        Ok(Self {
            shape,
            programs,
            report: serde_json::from_value(report)?,
            supervisor: Arc::new(Mutex::new(supervisor)),
        })
    }

    /// A client with every right. Each test takes its own: a client dies with the runtime that it was made in.
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// What [`Cluster::client`] is made of, for a test that wants another user or other time limits.
    pub(crate) async fn config(&self) -> Result<Config> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // An error says that another provider is installed already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // A proxy of the environment has no business on the way to 127.0.0.1.
        config.proxy_url = None;
        Ok(config)
    }

    /// The kubeconfig of a user with every right.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.report.kubeconfig
    }

    /// The address of the API server, `https://127.0.0.1:PORT`.
    pub(crate) fn server(&self) -> &str {
        &self.report.server
    }

    /// The address of etcd, `http://127.0.0.1:PORT`.
    pub(crate) fn etcd(&self) -> &str {
        &self.report.etcd
    }

    /// The folder of this run, with the logs of the programs under `logs/`.
    pub(crate) fn folder(&self) -> &Path {
        &self.report.dir
    }

    /// What the API server has noted, an event a line.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder().join("logs/audit.log")
    }

    /// The process ids, by name of the program, as of the start of the cluster.
    pub(crate) fn pids(&self) -> impl Iterator<Item = (&str, u32)> {
        self.report.pids.iter().map(|(name, pid)| (name.as_str(), *pid))
    }

    /// Runs `kubectl` with every right.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_with(args, "").await
    }

    /// The file of one of the cluster's programs, such as `kubectl`.
    pub(crate) fn program(&self, name: &str) -> &Path {
        self.programs.path(name)
    }

    /// The file of `kubectl`, for what needs no cluster.
    pub(crate) fn kubectl_program() -> Result<PathBuf> {
        Ok(Programs::locate()?.path("kubectl").to_owned())
    }

    /// Runs `kubectl` with something on its standard input: `&["apply", "-f", "-"]`.
    pub(crate) async fn kubectl_with(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut process = tokio::process::Command::new(self.programs.path("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(args)
            // Its caches and the settings of whoever runs the tests stay apart.
            .env("HOME", &self.report.dir)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run kubectl")?;
        if let Some(mut stdin) = process.stdin.take() {
            // A kubectl that reads nothing closes early; its exit code tells what matters.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = process.wait_with_output().await?;
        Ok(Output {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A fresh namespace whose pods can start: its `default` `ServiceAccount` is there.
    pub(crate) async fn namespace(&self, prefix: &str) -> Result<Namespace> {
        let client = self.client().await?;
        let namespace: KubeNamespace =
            serde_json::from_value(json!({"metadata": {"generateName": format!("{prefix}-")}}))?;
        let namespace = Api::all(client.clone()).create(&<_>::default(), &namespace).await?;
        let namespace = Namespace { name: namespace.name_any(), client };
        // Without controllers nobody makes one, and nothing needs it.
        if self.shape == Shape::Whole {
            let accounts: Api<ServiceAccount> = namespace.api();
            wait_for(&accounts, "default", "the ServiceAccount", |_| true).await?;
        }
        Ok(namespace)
    }

    /// Stops a program and starts it again with the same data; returns when the API server is ready again.
    ///
    /// Only for a cluster of one's own: it disturbs everyone.
    pub(crate) async fn restart(&self, program: &str) -> Result<()> {
        let (supervisor, command) = (Arc::clone(&self.supervisor), format!("restart {program}"));
        tokio::task::spawn_blocking(move || {
            let mut supervisor = supervisor.lock();
            let input = supervisor.input.as_mut().context("the cluster was stopped")?;
            writeln!(input, "{command}")?;
            supervisor.answer().map(drop)
        })
        .await?
    }

    /// Stops the cluster and waits until all of it is gone.
    pub(crate) async fn stop(self) -> Result<()> {
        tokio::task::spawn_blocking(move || {
            let status = self.supervisor.lock().stop()?;
            ensure!(status.success(), "the supervisor ended with {status}");
            Ok(())
        })
        .await?
    }

    /// Kills the supervisor without a chance to tidy up.
    pub(crate) async fn kill(self) -> Result<()> {
        tokio::task::spawn_blocking(move || Ok(self.supervisor.lock().process.kill()?)).await?
    }
}

impl Supervisor {
    /// Reads one line of JSON.
    fn answer(&mut self) -> Result<serde_json::Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the supervisor ended without a word");
        let value: serde_json::Value = serde_json::from_str(&line)?;
        match value.get("error").and_then(serde_json::Value::as_str) {
            Some(error) => bail!("{error}"),
            None => Ok(value),
        }
    }

    fn stop(&mut self) -> Result<std::process::ExitStatus> {
        // The end of its input is what the supervisor stops for.
        drop(self.input.take());
        Ok(self.process.wait()?)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

impl Namespace {
    /// The objects of one kind in this namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }
}

/// Where each program is.
#[derive(Debug)]
struct Programs {
    paths: Vec<(&'static str, PathBuf)>,
}

impl Programs {
    /// Each by itself: prebuilt ones first, the rest from the build, which is quick when it was done before.
    fn locate() -> Result<Self> {
        let prebuilt = std::env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let found = |name: &str| prebuilt.as_ref().map(|dir| dir.join(name)).filter(|path| path.is_file());
        let missing: Vec<&str> = PROGRAMS.into_iter().filter(|name| found(name).is_none()).collect();
        let built = match missing.as_slice() {
            [] => PathBuf::new(),
            _ => build().with_context(|| {
                format!(
                    "the test cluster lacks {}: not in KUBEBUILDER_ASSETS, and not built \
                     (UPGRADE_GUARD_SKIP_CLUSTER=1 skips these tests)",
                    missing.join(", "),
                )
            })?,
        };
        let path = |name| found(name).unwrap_or_else(|| built.join(name));
        Ok(Self { paths: PROGRAMS.into_iter().map(|name| (name, path(name))).collect() })
    }

    fn path(&self, name: &str) -> &Path {
        let entry = self.paths.iter().find(|(known, _)| *known == name);
        entry.map_or_else(|| Path::new("no such program"), |(_, path)| path)
    }
}

/// Runs `tests/cluster/build`; its progress goes to the terminal, also when the test's own output is captured.
fn build() -> Result<PathBuf> {
    let output = Command::new(source_folder().join("build")).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "tests/cluster/build failed ({})", output.status);
    let stdout = String::from_utf8(output.stdout)?;
    stdout.lines().last().map(PathBuf::from).context("tests/cluster/build named no folder")
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster")
}

/// Whether these tests are to be skipped; says so where it is seen.
fn skipped() -> bool {
    let skip = std::env::var("UPGRADE_GUARD_SKIP_CLUSTER").is_ok_and(|value| value == "1");
    if skip {
        let thread = std::thread::current();
        say(&format!("{} SKIPPED, for UPGRADE_GUARD_SKIP_CLUSTER=1", thread.name().unwrap_or("a test")));
    }
    skip
}

/// Past the test runner, which swallows what `eprintln!` says in a test that passes.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "test cluster: {text}");
}
