//! A real Prometheus for the tests, on 127.0.0.1, as the chart's `ServiceMonitor` would have it scrape.
//!
//! A shell stands between: it stops the server and clears its folder away when its own standard input ends, so they go
//! whatever becomes of the test process: an end, a panic or a kill.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::wait::{DEADLINE, eventually};

/// Starts the server and waits for the end of its own input, then kills it: nobody wants what it stored.
const KEEPER: &str =
    r#"folder=$1; shift; "$@" & server=$!; read -r _; kill -KILL "$server"; wait "$server"; rm -rf "$folder""#;

/// A running server. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct Prometheus {
    keeper: Child,
    folder: PathBuf,
    address: String,
}

impl Prometheus {
    /// Starts a server that scrapes `target`, `127.0.0.1:PORT`, each second and evaluates the rules of a file.
    pub(crate) async fn start(target: &str, rules: &Path) -> Result<Self> {
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": "upgrade-guard",
                "honor_labels": true,
                "static_configs": [{
                    "targets": [target],
                    "labels": {"namespace": "upgrade-guard", "service": "upgrade-guard", "pod": "upgrade-guard-0"},
                }],
            }],
        });
        let mut server = tokio::task::spawn_blocking(move || Self::launch(&config)).await??;
        let address = eventually("the address of Prometheus", async || {
            let log = std::fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            let listening = log.lines().find(|line| line.contains("msg=\"Listening on\""));
            let address =
                listening.and_then(|line| line.split_once(" address=")).map(|(_, address)| address.to_owned());
            Ok(address.ok_or(log))
        });
        server.address = address.await?;
        eventually("Prometheus to be ready", async || {
            Ok(match server.request("GET", "/-/ready", "").await {
                Ok((200, _)) => Ok(()),
                other => Err(other),
            })
        })
        .await?;
        Ok(server)
    }

    fn launch(config: &Value) -> Result<Self> {
        let program = programs()?.join("prometheus");
        let folder = tempfile::Builder::new().prefix("prometheus-").tempdir()?.keep();
        // JSON is YAML.
        std::fs::write(folder.join("prometheus.yml"), config.to_string())?;
        let log = std::fs::File::create(folder.join("log"))?;
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&folder).arg(program);
        keeper.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        keeper.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        keeper.arg("--web.listen-address=127.0.0.1:0");
        let keeper = keeper.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { keeper, folder, address: String::new() })
    }

    /// What a query gives now: its series, or its one number.
    pub(crate) async fn query(&self, expr: &str) -> Result<Vec<Value>> {
        let data = self.ask("/api/v1/query", &[("query", expr)]).await.with_context(|| expr.to_owned())?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The `data` of an answer of the HTTP API.
    pub(crate) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let form: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let (method, path, body) = match parameters {
            [] => ("GET", path.to_owned(), String::new()),
            _ if path.contains("/label/") => ("GET", format!("{path}?{}", form.join("&")), String::new()),
            _ => ("POST", path.to_owned(), form.join("&")),
        };
        let (status, text) = self.request(method, &path, &body).await?;
        ensure!(status == 200, "{path}: {status} {text}");
        let answer: Value = serde_json::from_str(&text)?;
        ensure!(answer["status"] == "success", "{answer}");
        Ok(answer["data"].clone())
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let exchange = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            // HTTP/1.0 is answered in one piece.
            let head = format!(
                "{method} {path} HTTP/1.0\r\nHost: prometheus\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
            let mut response = String::new();
            stream.read_to_string(&mut response).await?;
            anyhow::Ok(response)
        };
        let response = timeout(DEADLINE, exchange).await.context("no answer")??;
        let (head, body) = response.split_once("\r\n\r\n").context("no end of the head")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// As a form has it.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}

/// The folder of `prometheus` and `promtool`.
pub(crate) fn programs() -> Result<PathBuf> {
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prometheus/install");
    let output = Command::new(install).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "tests/prometheus/install: {}", output.status);
    let printed = String::from_utf8(output.stdout)?;
    printed.lines().last().map(PathBuf::from).context("tests/prometheus/install printed nothing")
}
