//! The cluster and the guard in it, as the scenes use them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::node::{Inside, in_repository};
use crate::say;
use crate::wait::{eventually, wait_for};

/// Where the guard is.
pub(crate) const NAMESPACE: &str = "upgrade-guard";
/// The pods of the guard.
pub(crate) const PODS: &str = "app.kubernetes.io/name=upgrade-guard,app.kubernetes.io/component=guard";

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Its standard output, when it succeeded.
    pub(crate) fn succeeded(self) -> Result<String> {
        ensure!(self.success, "{}{}", self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// The node with its cluster.
pub(crate) struct World {
    pub(crate) node: Inside,
    pub(crate) client: Client,
}

impl World {
    pub(crate) async fn open(node: Inside) -> Result<Self> {
        // An error says that another provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(&node.given.kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.proxy_url = None;
        Ok(Self { node, client: Client::try_from(config)? })
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The file or folder of a program.
    pub(crate) fn program(&self, name: &str) -> Result<&Path> {
        self.node.given.programs.get(name).map(AsRef::as_ref).with_context(|| format!("no program {name}"))
    }

    async fn run(&self, program: &Path, args: &[&str], input: &str) -> Result<Said> {
        let mut process = Command::new(program)
            .args(args)
            // Neither a proxy nor a cluster of whoever runs the tests is its business.
            .env_clear()
            .env("HOME", &self.node.given.dir)
            .env("KUBECONFIG", &self.node.given.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        if let Some(mut stdin) = process.stdin.take() {
            // A program that reads nothing closes early; its exit code tells what matters.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = process.wait_with_output().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// Runs `kubectl` with every right.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<Said> {
        self.run(self.program("kubectl")?, args, "").await
    }

    /// `kubectl apply` of one object or a List; must succeed.
    pub(crate) async fn apply(&self, objects: &Value) -> Result<()> {
        self.apply_text(&objects.to_string()).await
    }

    /// `kubectl apply` of YAML; must succeed.
    pub(crate) async fn apply_text(&self, text: &str) -> Result<()> {
        self.run(self.program("kubectl")?, &["apply", "-f", "-"], text).await?.succeeded().map(drop)
    }

    /// Runs Helm; must succeed.
    pub(crate) async fn helm(&self, args: &[&str]) -> Result<String> {
        let said = self.run(self.program("helm")?, args, "").await?;
        said.succeeded().with_context(|| format!("helm {}", args.join(" ")))
    }

    /// Runs the guard's program on this side, without a cluster.
    pub(crate) async fn guard(&self, args: &[&str]) -> Result<String> {
        self.run(Path::new(env!("CARGO_BIN_EXE_upgrade-guard")), args, "").await?.succeeded()
    }

    /// Installs the chart as it is delivered; only the log says more.
    pub(crate) async fn install(&self) -> Result<()> {
        let chart = in_repository("charts/upgrade-guard").display().to_string();
        let args =
            ["install", NAMESPACE, &chart, "--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout"];
        let values = ["3m", "--set", "presets.stoa.enabled=true", "--set", "log.level=info\\,upgrade_guard=debug"];
        self.helm(&[&args[..], &values].concat()).await.map(drop)
    }

    /// `kubectl set image` of a component of the toy platform.
    pub(crate) async fn set_image(&self, namespace: &str, component: &str, version: &str) -> Result<Said> {
        let (deployment, image) = (format!("deployment/{component}"), crate::toys::image(component, version));
        self.kubectl(&["-n", namespace, "set", "image", &deployment, &format!("{component}={image}")]).await
    }

    /// Waits until a Deployment has rolled out its newest template.
    pub(crate) async fn rolled_out(&self, namespace: &str, name: &str) -> Result<()> {
        wait_for::<Deployment>(&self.api(namespace), name, "its rollout", |deployment| {
            let (Some(spec), Some(status)) = (&deployment.spec, &deployment.status) else { return false };
            let all = spec.replicas;
            status.observed_generation == deployment.metadata.generation
                && [status.replicas, status.updated_replicas, status.available_replicas].iter().all(|one| *one == all)
        })
        .await
        .map(drop)
    }

    /// The guard's pods, none that is about to go.
    pub(crate) async fn guards(&self) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = self.api(NAMESPACE);
        let found = pods.list(&ListParams::default().labels(PODS)).await?;
        Ok(found.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// Waits until so many guards are ready, and no other is there.
    pub(crate) async fn guards_ready(&self, count: usize) -> Result<()> {
        eventually("the guards to be ready", async || {
            let pods = self.guards().await?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            Ok(if (ready, pods.len()) == (count, count) { Ok(()) } else { Err((ready, pods.len())) })
        })
        .await
    }

    /// The guard's pod that holds the Lease.
    pub(crate) async fn leader(&self) -> Result<Pod> {
        eventually("a leader that is there", async || {
            let lease: Lease = self.api(NAMESPACE).get("upgrade-guard").await?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
            let pods = self.guards().await?;
            Ok(pods.into_iter().find(|pod| holder.contains(&pod.name_any())).ok_or(holder))
        })
        .await
    }

    /// Kills the process of a guard's pod, as a failing machine would, and waits until the kubelet has noticed.
    pub(crate) async fn kill(&self, pod: &Pod) -> Result<()> {
        let uid = pod.uid().context("a uid")?;
        let processes = processes_of(&uid, "upgrade-guard")?;
        ensure!(!processes.is_empty(), "pod {} has no process", pod.name_any());
        for process in processes {
            let process = rustix::process::Pid::from_raw(process).context("a process id")?;
            rustix::process::kill_process(process, rustix::process::Signal::KILL)?;
        }
        let restarts = restarts(pod);
        let what = "the kubelet to notice";
        wait_for::<Pod>(&self.api(NAMESPACE), &pod.name_any(), what, |pod| self::restarts(pod) > restarts).await?;
        Ok(())
    }

    /// What a URL of the cluster answers.
    pub(crate) async fn http(&self, host: &str, path: &str) -> Result<Value> {
        let exchange = async {
            use tokio::io::AsyncReadExt as _;
            let mut stream = tokio::net::TcpStream::connect((host, 80)).await?;
            let request = format!("GET {path} HTTP/1.0\r\nHost: toy\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut response = String::new();
            stream.read_to_string(&mut response).await?;
            anyhow::Ok(response)
        };
        let response = tokio::time::timeout(Duration::from_secs(10), exchange).await.context("no answer")??;
        let (_, body) = response.split_once("\r\n\r\n").context("no end of the head")?;
        serde_json::from_str(body).with_context(|| response.clone())
    }

    /// Shows what there is when a scene failed.
    pub(crate) async fn explain(&self) {
        let mut shown: Vec<Vec<&str>> = vec![
            vec!["get", "pods,deployments,jobs", "-A", "-o", "wide"],
            vec!["get", "events", "-A", "--sort-by=.lastTimestamp"],
            vec!["get", "platforms", "-A", "-o", "yaml"],
        ];
        let logs = ["-n", NAMESPACE, "logs", "--tail=60", "--prefix", "-l"];
        shown.push([&logs[..], &[PODS]].concat());
        for args in shown {
            if let Ok(said) = self.kubectl(&args).await {
                let text = format!("{}{}", said.stdout, said.stderr);
                let lines: Vec<&str> = text.lines().collect();
                say(&format!("kubectl {}:\n{}", args.join(" "), lines[lines.len().saturating_sub(150)..].join("\n")));
            }
        }
    }
}

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).sum()
}

/// The processes of a pod that run this program, by the ids of this machine.
fn processes_of(uid: &str, program: &str) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        // Of the name the kernel keeps fifteen characters.
        if read("cgroup").contains(uid) && program.starts_with(read("comm").trim()) && !read("comm").trim().is_empty() {
            found.push(id);
        }
    }
    Ok(found)
}
