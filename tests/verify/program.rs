//! The program, run beside the cluster.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::platform::{API, GATEWAY, PORTAL, UI};
use crate::scene::Scene;
use crate::support::wait::DEADLINE;

/// A run of the program; dropped, it is killed.
pub(crate) struct Run {
    child: Child,
    news: Lines<BufReader<ChildStderr>>,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Run {
    /// Starts `upgrade-guard` with the rights of `kubeconfig` and nothing of the environment but `environment`.
    pub(crate) fn start(kubeconfig: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"))
            .args(args)
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let news = BufReader::new(child.stderr.take().context("it is piped")?).lines();
        Ok(Self { child, news })
    }

    /// Waits for a line of progress with `text`.
    pub(crate) async fn says(&mut self, text: &str) -> Result<()> {
        let mut seen = Vec::new();
        loop {
            match timeout(DEADLINE, self.news.next_line()).await {
                Ok(Ok(Some(line))) if line.contains(text) => return Ok(()),
                Ok(Ok(Some(line))) => seen.push(line),
                ended => bail!("never said '{text}', but {seen:?}; then {ended:?}"),
            }
        }
    }

    pub(crate) async fn end(mut self) -> Result<Ended> {
        // What it still says must not stop it.
        let drained = tokio::spawn(async move { while let Ok(Some(_)) = self.news.next_line().await {} });
        let output = timeout(DEADLINE, self.child.wait_with_output()).await.context("it does not end")??;
        drained.await?;
        let code = output.status.code().context("it was killed")?;
        Ok(Ended { code, text: String::from_utf8(output.stdout)? })
    }
}

impl Scene<'_> {
    /// Starts `upgrade-guard COMMAND -n NAMESPACE ...`.
    pub(crate) fn start(&self, command: &str, args: &[&str], environment: &[(&str, &str)]) -> Result<Run> {
        let args: Vec<&str> = [command, "-n", &self.namespace].into_iter().chain(args.iter().copied()).collect();
        Run::start(self.cluster.kubeconfig(), &args, environment)
    }

    /// Runs `upgrade-guard verify` to its end; what it printed is without names that differ from run to run.
    pub(crate) async fn verify(&self, args: &[&str], environment: &[(&str, &str)]) -> Result<Ended> {
        let ended = self.start("verify", args, environment)?.end().await?;
        Ok(Ended { text: self.anonymous(&ended.text), ..ended })
    }

    /// Two releases of this install's policy, `NAMESPACE-06` and `NAMESPACE-07`, the second with a schema revision.
    pub(crate) async fn releases(&self) -> Result<()> {
        let release = |month: &str, version: &str, revision: Value| {
            let components: Vec<Value> =
                [API, GATEWAY, UI, PORTAL].map(|name| json!({"name": name, "version": version})).into();
            let mut spec =
                json!({"policy": self.namespace, "version": format!("2026.{month}"), "components": components});
            spec["schemaRevision"] = revision;
            json!({
                "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "PlatformRelease",
                "metadata": {"name": format!("{}-{month}", self.namespace)}, "spec": spec,
            })
        };
        let items = [release("06", "2.2.0", Value::Null), release("07", "2.3.0", json!("b2"))];
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items})).await
    }
}
