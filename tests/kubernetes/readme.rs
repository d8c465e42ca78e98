//! The commands of README and docs that need a cluster, as a user types them.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::json;
use tokio::process::{Child, Command};

use super::platform::{API, GATEWAY, budget, deployment, image};
use crate::support::cluster::{Cluster, Shape};
use crate::support::readme::blocks;
use crate::support::wait::{eventually, wait_for};

const NAMESPACE: &str = "stoa-system";
/// What stands behind a command that README expects to fail.
const REFUSED: &str = " # refused";

/// Where the commands run: with the cluster's kubectl, the program that is tested, and files of their own.
struct Shell<'a> {
    cluster: &'a Cluster,
    files: tempfile::TempDir,
    ports: [u16; 2],
}

impl<'a> Shell<'a> {
    fn new(cluster: &'a Cluster) -> Result<Self> {
        let files = tempfile::tempdir()?;
        std::os::unix::fs::symlink(cluster.program("kubectl"), files.path().join("kubectl"))?;
        // README's ports may be taken here.
        let free = || Ok::<_, std::io::Error>(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        Ok(Self { cluster, files, ports: [free()?, free()?] })
    }

    fn command(&self, text: &str) -> Result<Command> {
        let program = Path::new(env!("CARGO_BIN_EXE_upgrade-guard")).parent().context("the program has a folder")?;
        let path = format!("{}:{}:{}", self.files.path().display(), program.display(), std::env::var("PATH")?);
        let text = text
            .replace("certs/dev", &self.files.path().join("certs").display().to_string())
            .replace("my-policy.yaml", &self.files.path().join("my-policy.yaml").display().to_string())
            .replace("target/debug:$PWD/target/image", "target/none")
            .replace("9443", &self.ports[0].to_string())
            .replace("9080", &self.ports[1].to_string());
        let mut shell = Command::new("sh");
        shell.args(["-euc", &text]).current_dir(env!("CARGO_MANIFEST_DIR")).env("PATH", path);
        shell.env("KUBECONFIG", self.cluster.kubeconfig()).env("HOME", self.files.path());
        shell.stdin(Stdio::null()).kill_on_drop(true);
        Ok(shell)
    }

    /// Runs one command and returns whether it succeeded, and what it said.
    async fn run(&self, text: &str) -> Result<(bool, String)> {
        let output = self.command(text)?.output().await?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success(), said))
    }

    /// Runs a block command by command. What is right may take a moment to be seen, so it is asked again.
    async fn play(&self, commands: &str) -> Result<()> {
        for command in commands.lines() {
            let (command, refused) = match command.strip_suffix(REFUSED) {
                Some(command) => (command, true),
                None => (command, false),
            };
            eventually(command, async || {
                let (succeeded, said) = self.run(command).await?;
                let expected = if refused { !succeeded && said.contains("[UG-ORDER]") } else { succeeded };
                Ok(if expected { Ok(()) } else { Err(said) })
            })
            .await?;
        }
        Ok(())
    }

    /// Starts what README leaves running in a terminal; dropped, it is killed.
    fn start(&self, command: &str) -> Result<Child> {
        Ok(self.command(&format!("exec {command}"))?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }
}

#[tokio::test]
async fn the_commands_of_readme_refuse_the_wrong_order_and_let_the_right_one_pass() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::Whole).await? else { return Ok(()) };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let placed = [API, GATEWAY].map(|name| {
        let mut workload = deployment(name, &image(name, "2.2.0"));
        workload["metadata"]["namespace"] = json!(NAMESPACE);
        workload
    });
    let mut budget = budget();
    budget["metadata"]["namespace"] = json!(NAMESPACE);
    let items: Vec<_> = [namespace, budget].into_iter().chain(placed).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let applied = cluster.kubectl_with(&["apply", "-f", "-"], &list).await?;
    ensure!(applied.success, "{applied:?}");
    let deployments: Api<Deployment> = Api::namespaced(cluster.client().await?, NAMESPACE);
    for name in [API, GATEWAY] {
        let available =
            |found: &Deployment| found.status.as_ref().and_then(|status| status.available_replicas) == Some(2);
        wait_for(&deployments, name, "2 available pods", available).await?;
    }

    let shell = Shell::new(&cluster)?;
    let mut running = Vec::new();
    let mut count = 0;
    for block in blocks() {
        match block.run.as_str() {
            "cluster" => shell.play(&block.commands).await?,
            "cluster, in the background" => running.push(shell.start(&block.commands)?),
            _ => continue,
        }
        count += 1;
    }
    assert!(count >= 3, "README has only {count} blocks for a cluster");
    for mut process in running {
        process.kill().await?;
    }
    cluster.stop().await
}
