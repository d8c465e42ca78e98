//! The real `upgrade-guard serve` beside a test cluster, with no other rights than `manifests/rbac.yaml` gives it.
//!
//! A shell stands between: it ends the guard when its own standard input does, so the guard goes whatever becomes of the
//! test process, a kill included.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::config::Kubeconfig;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::cluster::{Cluster, Output};
use super::wait::{DEADLINE, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_upgrade-guard");

/// Starts the guard and waits for the end of its own input, then kills it; a line is a request to end.
const KEEPER: &str =
    r#""$@" & guard=$!; while read -r _; do kill -TERM "$guard"; done; kill -KILL "$guard"; wait "$guard""#;

/// How much of the log an error shows.
const LOG_LINES: usize = 12;

/// How the guard is found by the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    /// The test writes the address: nothing is refused in between, which the other tests of a shared cluster need.
    ByTest,
    /// The guard itself writes it into what `manifests/webhook.yaml` left: `--register`.
    ByGuard,
}

/// A running guard. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Guard {
    keeper: Child,
    https: String,
    ops: String,
    log: PathBuf,
}

impl Guard {
    /// The one guard of the shared cluster, started by whoever asks first. `None` when these tests are skipped.
    pub(crate) async fn shared() -> Result<Option<(&'static Cluster, &'static Self)>> {
        static SHARED: OnceCell<Result<Guard, String>> = OnceCell::const_new();
        let Some(cluster) = Cluster::shared().await? else { return Ok(None) };
        let start = async || {
            install(cluster, &["manifests/crds/", "manifests/namespace.yaml", "manifests/rbac.yaml"]).await?;
            Self::start(cluster, Registration::ByTest).await
        };
        let shared = SHARED.get_or_init(|| async { start().await.map_err(|e: anyhow::Error| format!("{e:#}")) }).await;
        let guard = shared.as_ref().map_err(|e| anyhow!(e.clone()))?;
        Ok(Some((cluster, guard)))
    }

    /// Starts a guard and waits until it is ready. What [`install`] applies must be there.
    pub(crate) async fn start(cluster: &Cluster, registration: Registration) -> Result<Self> {
        Self::start_with(cluster, registration, &[]).await
    }

    /// As [`Guard::start`], with more arguments of `serve`.
    pub(crate) async fn start_with(
        cluster: &Cluster,
        registration: Registration,
        args: &'static [&'static str],
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("guard-").tempdir_in(cluster.folder())?.keep();
        write_kubeconfig(cluster, &folder.join("kubeconfig")).await?;
        let guard = tokio::task::spawn_blocking(move || Self::spawn(&folder, registration, args)).await??;
        let by_test = registration == Registration::ByTest;
        // It is not ready as long as another guard's certificates are registered.
        let again = ["get", "validatingwebhookconfigurations", "upgrade-guard"];
        let again = by_test && cluster.kubectl(&again).await?.success;
        if again {
            guard.register(cluster).await?;
        }
        guard.ready().await?;
        if by_test && !again {
            guard.register(cluster).await?;
        }
        Ok(guard)
    }

    /// Starts a guard with these arguments of `serve`, among them where it has its certificates from; waits for nothing.
    #[allow(dead_code, reason = "only the tests of certificates start some")]
    pub(crate) async fn launch(cluster: &Cluster, args: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("guard-").tempdir_in(cluster.folder())?.keep();
        write_kubeconfig(cluster, &folder.join("kubeconfig")).await?;
        let args = args.to_vec();
        tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            Self::run(&folder, Registration::ByTest, &args)
        })
        .await?
    }

    /// Starts one of several replicas, which share the certificates in `certs` (see [`make_certs`]) and are registered
    /// by the test. It finds the API server at `server`.
    #[allow(dead_code, reason = "only the races have replicas")]
    pub(crate) async fn replica(cluster: &Cluster, certs: &Path, server: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("guard-").tempdir_in(cluster.folder())?.keep();
        let kubeconfig = folder.join("kubeconfig");
        write_kubeconfig(cluster, &kubeconfig).await?;
        let text = std::fs::read_to_string(&kubeconfig)?;
        std::fs::write(&kubeconfig, text.replace(cluster.server(), server))?;
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            std::fs::copy(certs.join(file), folder.join(file))?;
        }
        let guard = tokio::task::spawn_blocking(move || Self::run(&folder, Registration::ByTest, &[])).await??;
        guard.ready().await?;
        Ok(guard)
    }

    /// Its address for reviews, `127.0.0.1:PORT`.
    #[allow(dead_code, reason = "only the races have replicas")]
    pub(crate) fn https(&self) -> &str {
        &self.https
    }

    /// The folder in which it finds the URLs of databases.
    #[allow(dead_code, reason = "few have a database")]
    pub(crate) fn databases(&self) -> PathBuf {
        self.log.with_file_name("databases")
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        let ready = eventually("the guard to be ready", async || {
            let (status, body) = self.get("/readyz").await?;
            Ok(if status == 200 { Ok(()) } else { Err(body) })
        });
        ready.await.with_context(|| self.log_tail(""))
    }

    fn spawn(folder: &Path, registration: Registration, args: &[&str]) -> Result<Self> {
        make_certs(folder)?;
        Self::run(folder, registration, args)
    }

    /// Runs the guard with the kubeconfig and the certificates in `folder`.
    fn run(folder: &Path, registration: Registration, args: &[&str]) -> Result<Self> {
        let log = folder.join("guard.log");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", KEEPER, "keeper", PROGRAM, "serve"]);
        command.args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]);
        if !args.iter().any(|arg| ["--self-signed", "--certs"].contains(arg)) {
            command.arg("--certs").arg(folder);
        }
        let databases = folder.join("databases");
        std::fs::create_dir_all(&databases)?;
        command.arg("--databases").arg(databases).args(["--databases-every", "1"]);
        command.args(args);
        if registration == Registration::ByGuard {
            command.args(["--register", "https://127.0.0.1:0"]);
        }
        let mut keeper = command
            // Neither a proxy nor a cluster of whoever runs the tests is its business.
            .env_clear()
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("RUST_LOG", "info,upgrade_guard=debug")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("cannot run /bin/sh")?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let mut guard = Self { keeper, https: String::new(), ops: String::new(), log };
        let Some((https, ops)) = line.trim().strip_prefix("listening https=").and_then(|rest| rest.split_once(" ops="))
        else {
            bail!("the guard did not start: {line:?} {}", guard.log_tail(""));
        };
        https.clone_into(&mut guard.https);
        ops.clone_into(&mut guard.ops);
        Ok(guard)
    }

    /// Applies the registration as it is printed for a guard at this address.
    async fn register(&self, cluster: &Cluster) -> Result<()> {
        register(cluster, &self.https, self.log.parent().context("the log is in a folder")?).await
    }

    /// Kills the guard; returns when it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        tokio::task::spawn_blocking(move || {
            drop(self.keeper.stdin.take());
            self.keeper.wait()?;
            Ok(())
        })
        .await?
    }

    /// Asks the guard to end, as the kubelet does.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        let input = self.keeper.stdin.as_mut().context("it runs")?;
        writeln!(input)?;
        Ok(input.flush()?)
    }

    /// `GET` on the operations port.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let exchange = async {
            let mut stream = TcpStream::connect(&self.ops).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: guard\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut response = String::new();
            stream.read_to_string(&mut response).await?;
            anyhow::Ok(response)
        };
        let response = tokio::time::timeout(DEADLINE, exchange).await.context("no answer")??;
        let (head, body) = response.split_once("\r\n\r\n").context("no end of the head")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// The samples of `/metrics`, by name with labels.
    pub(crate) async fn metrics(&self) -> Result<Samples> {
        let (status, text) = self.get("/metrics").await?;
        ensure!(status == 200, "/metrics: {status} {text}");
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        samples.map(|(name, value)| Ok((name.to_owned(), value.parse()?))).collect::<Result<_>>().map(Samples)
    }

    /// The end of the log as far as it speaks of `word`.
    pub(crate) fn log_tail(&self, word: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(word)).collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        format!("the guard's log ({word}):\n{}", tail.join("\n"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// What `/metrics` said.
#[derive(Debug)]
pub(crate) struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// The sum over the samples of `name` that carry all of `labels`, such as `verdict="Never"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let chosen = self.0.iter().filter(|(key, _)| {
            key.split_once('{').map_or(key.as_str(), |(name, _)| name) == name
                && labels.iter().all(|label| key.contains(label))
        });
        chosen.map(|(_, value)| value).sum()
    }
}

/// Makes the certificates of a guard in `folder`.
pub(crate) fn make_certs(folder: &Path) -> Result<()> {
    let made = Command::new(PROGRAM).arg("certs").arg("--dir").arg(folder).stdout(Stdio::null()).status()?;
    ensure!(made.success(), "upgrade-guard certs: {made}");
    Ok(())
}

/// Applies the registration as it is printed for guards at `address` with the certificates in `certs`.
async fn register(cluster: &Cluster, address: &str, certs: &Path) -> Result<()> {
    let printed = printed_registration(address, certs)?;
    succeeded(cluster.kubectl_with(&["apply", "-f", "-"], &printed).await?).map(drop)
}

/// The registration as it is printed for guards at `address` with the certificates in `certs`.
pub(crate) fn printed_registration(address: &str, certs: &Path) -> Result<String> {
    let printed = Command::new(PROGRAM)
        .args(["webhook", "--url", &format!("https://{address}"), "--ca-file"])
        .arg(certs.join("ca.crt"))
        .output()?;
    ensure!(printed.status.success(), "upgrade-guard webhook: {}", printed.status);
    Ok(String::from_utf8(printed.stdout)?)
}

/// Applies manifests of this repository.
pub(crate) async fn install(cluster: &Cluster, paths: &[&str]) -> Result<()> {
    let mut args = vec!["apply".to_owned()];
    for path in paths {
        args.extend(["-f".to_owned(), Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    succeeded(cluster.kubectl(&args).await?)?;
    let crds = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    succeeded(cluster.kubectl(&crds).await?).map(drop)
}

/// What `kubectl` printed, when it succeeded.
pub(crate) fn succeeded(output: Output) -> Result<String> {
    ensure!(output.success, "kubectl failed: {}", output.stderr);
    Ok(output.stdout)
}

/// A kubeconfig of the guard's `ServiceAccount`.
async fn write_kubeconfig(cluster: &Cluster, path: &Path) -> Result<()> {
    write_kubeconfig_of(cluster, ("upgrade-guard", "upgrade-guard"), path).await
}

/// A kubeconfig with the rights of a ServiceAccount, given by namespace and name.
pub(crate) async fn write_kubeconfig_of(cluster: &Cluster, account: (&str, &str), path: &Path) -> Result<()> {
    let (namespace, account) = account;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client().await?, namespace);
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 7200}}))?;
    let made = accounts.create_token_request(account, &<_>::default(), &request).await?;
    let token = made.status.context("a token")?.token;
    let admin = Kubeconfig::read_from(cluster.kubeconfig())?;
    let cluster = serde_json::to_value(admin.clusters.first().context("a cluster")?)?;
    let name = cluster["name"].clone();
    let own = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [{"name": "guard", "user": {"token": token}}],
        "contexts": [{"name": "guard", "context": {"cluster": name, "user": "guard", "namespace": namespace}}],
        "current-context": "guard",
    });
    let mut file = std::fs::File::create(path)?;
    file.write_all(own.to_string().as_bytes())?;
    Ok(())
}
