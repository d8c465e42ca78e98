//! `upgrade-guard status` beside a real API server: what it says as things change, and when it ends.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use upgrade_guard::api::{Platform, PlatformSpec};

use crate::support::cluster::Cluster;
use crate::support::guard::Guard;
use crate::support::wait::DEADLINE;

const NAME: &str = "no-policy";

/// One install that nobody but the test writes.
struct Install<'a> {
    cluster: &'a Cluster,
    namespace: String,
    platforms: Api<Platform>,
}

impl Install<'_> {
    /// In a fresh namespace, without a Platform. `None` when these tests are skipped.
    async fn new() -> Result<Option<Self>> {
        // The CRDs are installed with the guard.
        let Some((cluster, _)) = Guard::shared().await? else { return Ok(None) };
        let namespace = cluster.namespace("status").await?.name;
        let platforms = Api::namespaced(cluster.client().await?, &namespace);
        Ok(Some(Self { cluster, namespace, platforms }))
    }

    async fn create(&self) -> Result<()> {
        let platform = Platform::new(NAME, PlatformSpec { policy: NAME.to_owned(), acknowledged: vec![] });
        self.platforms.create(&PostParams::default(), &platform).await?;
        Ok(())
    }

    /// Writes a status with these conditions and this summary.
    async fn is(&self, ready: &str, stalled: &str, summary: &str) -> Result<()> {
        let condition = |kind, status| {
            let at = "2026-07-01T10:00:00Z";
            json!({"type": kind, "status": status, "reason": "Test", "message": "", "lastTransitionTime": at})
        };
        let status = json!({
            "observedGeneration": 1,
            "conditions": [condition("Ready", ready), condition("Stalled", stalled)],
            "summary": summary,
        });
        let patch = Patch::Merge(json!({"status": status}));
        self.platforms.patch_status(NAME, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    fn status(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
        command.args(["status", "-n", &self.namespace]).args(arguments).env("KUBECONFIG", self.cluster.kubeconfig());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs it to its end: the exit code and both outputs.
    async fn said(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        let output = timeout(DEADLINE, self.status(arguments).output()).await??;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ok((output.status.code(), text.replace(&self.namespace, "NAMESPACE")))
    }

    /// Starts it to follow the changes.
    fn follow(&self) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
        let mut child = self.status(&["--watch"]).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("its output is piped")?;
        Ok((child, BufReader::new(stdout).lines()))
    }

    /// The next lines that it says.
    async fn next(&self, lines: &mut Lines<BufReader<ChildStdout>>, count: usize) -> Result<Vec<String>> {
        let mut said = Vec::new();
        while said.len() < count {
            let line = timeout(DEADLINE, lines.next_line()).await.with_context(|| format!("after {said:?}"))??;
            said.push(line.with_context(|| format!("it ended after {said:?}"))?.replace(&self.namespace, "NAMESPACE"));
        }
        Ok(said)
    }
}

#[tokio::test]
async fn status_tells_what_the_api_server_knows() -> Result<()> {
    let Some(install) = Install::new().await? else { return Ok(()) };
    let (code, text) = install.said(&[]).await?;
    assert!(code == Some(2) && text.contains("there is no Platform in namespace NAMESPACE"), "{code:?} {text}");

    install.create().await?;
    let (code, text) = install.said(&[]).await?;
    assert!(code == Some(2) && text.contains("the guard has not looked at NAMESPACE yet"), "{code:?} {text}");

    install.is("True", "False", "all is well").await?;
    let (code, text) = install.said(&[NAME]).await?;
    assert_eq!((code, text.as_str()), (Some(0), "NAMESPACE, policy no-policy: ready\n  all is well\n"));
    let (code, text) = install.said(&["-o", "json"]).await?;
    let list: Value = serde_json::from_str(&text)?;
    assert_eq!((code, &list["items"][0]["status"]["summary"]), (Some(0), &json!("all is well")));
    assert_eq!(list.pointer("/items/0/metadata/managedFields"), None);

    install.is("False", "True", "stuck").await?;
    let (code, text) = install.said(&[]).await?;
    assert_eq!((code, text.as_str()), (Some(1), "NAMESPACE, policy no-policy: stalled\n  stuck\n"));
    Ok(())
}

#[tokio::test]
async fn status_follows_the_changes_until_it_is_told_to_stop() -> Result<()> {
    let Some(install) = Install::new().await? else { return Ok(()) };
    let (mut child, mut lines) = install.follow()?;
    assert_eq!(install.next(&mut lines, 1).await?, ["no Platform yet"]);
    install.create().await?;
    assert_eq!(install.next(&mut lines, 2).await?, ["---", "NAMESPACE, policy no-policy: not known yet"]);
    // What is not shown is no change.
    let patch = Patch::Merge(json!({"metadata": {"labels": {"any": "label"}}}));
    install.platforms.patch(NAME, &PatchParams::default(), &patch).await?;
    install.is("True", "False", "all is well").await?;
    let said = install.next(&mut lines, 3).await?;
    assert_eq!(said, ["---", "NAMESPACE, policy no-policy: ready", "  all is well"]);

    let pid = child.id().context("it runs")?.to_string();
    ensure!(Command::new("kill").args(["-INT", &pid]).status().await?.success());
    assert_eq!(timeout(DEADLINE, child.wait()).await??.code(), Some(0), "the last answer was: ready");
    Ok(())
}

#[tokio::test]
async fn status_ends_when_nobody_reads_it_any_more() -> Result<()> {
    let Some(install) = Install::new().await? else { return Ok(()) };
    install.create().await?;
    let (mut child, mut lines) = install.follow()?;
    install.next(&mut lines, 1).await?;
    drop(lines);
    install.is("False", "True", "stuck").await?;
    assert_eq!(timeout(DEADLINE, child.wait()).await??.code(), Some(1), "the last answer was: stalled");
    Ok(())
}
