//! Objects in the cluster, held against the new schema of their CRD.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use upgrade_guard::crds::apply::Action;
use upgrade_guard::crds::check::Severity;
use upgrade_guard::crds::objects::{Findings, MOST_NAMED, PAGE, look};
use upgrade_guard::crds::source::Wanted;
use upgrade_guard::report::{News, Report, Stage};

use crate::scene::{self, Group, refusals, told};
use crate::support::cluster::{Cluster, Shape};

/// A schema of `spec` with a number that may be at most `most`, and whatever else.
fn most(most: i64) -> Value {
    json!({"type": "object", "properties": {
        "size": {"type": "integer", "maximum": most}, "padding": {"type": "string"}, "extra": {"type": "string"},
    }})
}

/// Makes `count` objects named `ant-00000` and so on, the size of each its number.
async fn fill(group: &Group, count: usize, padding: &str) -> Result<()> {
    let made = futures::stream::iter(0..count).map(|number| async move {
        let spec = json!({"size": number, "padding": padding});
        group.create("Ant", "v1", &format!("ant-{number:05}"), &spec).await
    });
    made.buffer_unordered(64).try_collect().await
}

#[tokio::test]
async fn objects_that_would_be_invalid_are_named_and_nothing_is_applied() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "offenders").await?;
    let old = [group.crd("Ant", &[("v1", most(1000))])];
    group.apply(&old, |_| {}).await.0?;
    fill(&group, 25, "").await?;
    let before = group.installed(&old[0]).await?;
    let wanted = [group.crd("Ant", &[("v1", most(12))])];
    let (done, news) = group.apply(&wanted, |_| {}).await;
    let refused = refusals(done);
    assert_eq!((refused.len(), refused[0].check), (1, "liveObjects"));
    insta::assert_snapshot!(group.plain(&refused[0].to_string()));
    let progress = told(&news, Stage::Progress);
    assert_eq!(progress, [format!("{}: 25 objects read, 12 would be invalid", wanted[0].name())]);
    assert_eq!(group.installed(&old[0]).await?, before);

    // A policy may want only to be told, or not even that.
    let severity = |severity| {
        move |options: &mut upgrade_guard::crds::apply::Options| {
            options.severities.0.insert("liveObjects".to_owned(), severity);
            options.dry_run = true;
        }
    };
    let warned = group.apply(&wanted, severity(Severity::Warn)).await.0?;
    assert_eq!(warned.warnings.len(), 1, "{warned:?}");
    assert!(warned.warnings[0].contains("12 of 25 objects would be invalid"), "{warned:?}");
    let (done, news) = group.apply(&wanted, severity(Severity::Off)).await;
    assert_eq!((done?.warnings.len(), told(&news, Stage::Progress).len()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn what_is_invalid_already_and_what_is_lost_is_only_told() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "already").await?;
    let old = [group.crd("Ant", &[("v1", most(1000))])];
    group.apply(&old, |_| {}).await.0?;
    fill(&group, 20, "x").await?;
    // The objects from 11 on are made invalid, by someone who wanted so.
    let stricter = [group.crd("Ant", &[("v1", most(10))])];
    group
        .apply(&stricter, |options| {
            options.severities.0.insert("liveObjects".to_owned(), Severity::Off);
        })
        .await
        .0?;
    let mut schema = most(10);
    schema["properties"].as_object_mut().unwrap().remove("padding");
    let wanted = [group.crd("Ant", &[("v1", schema)])];
    let done = group.apply(&wanted, |_| {}).await.0?;
    assert_eq!(done.crds[0].action, Action::Updated);
    insta::assert_snapshot!(group.plain(&done.warnings.join("\n")));
    Ok(())
}

#[tokio::test]
async fn objects_are_held_against_the_version_they_will_be_stored_in() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "versions").await?;
    group.apply(&[group.crd("Ant", &[("v1", most(1000))])], |_| {}).await.0?;
    fill(&group, 10, "").await?;
    let wanted = [group.crd("Ant", &[("v1", most(1000)), ("v2", most(8))])];
    let refused = refusals(group.apply(&wanted, |_| {}).await.0);
    assert!(refused[0].message.starts_with("1 of 10 objects would be invalid."), "{refused:?}");
    assert!(refused[0].message.contains("ant-00009: v2 spec.size"), "{refused:?}");
    // In a version that takes them all they go through, and are there in the new version at once.
    let wanted = [group.crd("Ant", &[("v1", most(1000)), ("v2", most(2000))])];
    group.apply(&wanted, |_| {}).await.0?;
    assert_eq!(group.objects("Ant", "v2").list(&<_>::default()).await?.items.len(), 10);
    Ok(())
}

#[tokio::test]
async fn schemas_that_say_the_same_need_no_look_at_objects() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "same").await?;
    group.apply(&[group.crd("Ant", &[("v1", most(1000))])], |_| {}).await.0?;
    fill(&group, 3, "").await?;
    let mut schema = most(1000);
    schema["properties"]["size"]["description"] = "How big it is.".into();
    let (done, news) = group.apply(&[group.crd("Ant", &[("v1", schema)])], |_| {}).await;
    assert_eq!(done?.crds[0].action, Action::Updated);
    assert!(!told(&news, Stage::Progress).iter().any(|news| news.contains("objects read")), "{news:?}");
    Ok(())
}

/// Makes the API server and etcd forget the past as soon as the first page is read: a list goes on from the API
/// server's memory as long as it can.
struct Forgetful {
    cluster: Arc<Cluster>,
    news: Vec<News>,
}

impl Report for Forgetful {
    fn tell(&mut self, news: News) {
        if self.news.is_empty() {
            compact(self.cluster.etcd()).unwrap();
            let cluster = Arc::clone(&self.cluster);
            let restart = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(cluster.restart("kube-apiserver"))
            });
            restart.join().unwrap().unwrap();
        }
        self.news.push(news);
    }
}

fn compact(etcd: &str) -> Result<()> {
    // What is compacted is what was before this.
    let answer = ask(etcd, "/v3/kv/put", &json!({"key": "dGVzdA==", "value": ""}))?;
    let revision: i64 = answer["header"]["revision"].as_str().context("a revision")?.parse()?;
    ask(etcd, "/v3/kv/compaction", &json!({"revision": revision, "physical": true}))?;
    Ok(())
}

/// A request to etcd's gateway.
fn ask(etcd: &str, path: &str, body: &Value) -> Result<Value> {
    let host = etcd.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    let body = body.to_string();
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a body")?;
    ensure!(head.contains(" 200 "), "{answer}");
    Ok(serde_json::from_str(body)?)
}

#[tokio::test]
async fn a_list_goes_on_when_the_api_server_forgot_its_place() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let cluster = Arc::new(cluster);
    let group = Group::new(&cluster, "expired").await?;
    let old = group.crd("Ant", &[("v1", most(1000))]);
    let installed = group.install(&old, "someone").await?;
    let count = 2 * PAGE as usize + 100;
    fill(&group, count, "").await?;
    let wanted = group.crd("Ant", &[("v1", most(i64::try_from(count)? - 6))]);
    let mut forgetful = Forgetful { cluster: Arc::clone(&cluster), news: vec![] };
    let (client, calls) = scene::noting(&cluster).await?;
    let found = look(&client, &installed, &wanted.definition, &mut forgetful).await?.unwrap();
    assert_eq!((found.read, found.invalid), (count, 5), "{:?}", forgetful.news);
    println!("{} calls for {count} objects: {:?}", calls.lock().len(), forgetful.news);
    assert!(calls.lock().len() > 3, "no page was asked for twice: {:?}", calls.lock());
    Ok(())
}

/// Objects of the test of memory.
const MANY: usize = 10_000;
/// What each of them carries, in bytes, as real ones do.
const PADDING: usize = 2_000;
/// Memory that may be needed for it.
const MOST_MEMORY: usize = 48 * 1024 * 1024;

#[tokio::test]
async fn ten_thousand_objects_need_the_memory_of_a_page() -> Result<()> {
    if let Ok(wanted) = std::env::var("LOOK_AT") {
        return look_and_tell(&wanted).await;
    }
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "many").await?;
    let old = group.crd("Ant", &[("v1", most(1_000_000))]);
    group.install(&old, "someone").await?;
    let began = Instant::now();
    fill(&group, MANY, &"x".repeat(PADDING)).await?;
    println!("{MANY} objects made in {:?}", began.elapsed());
    let wanted = group.crd("Ant", &[("v1", most(9_000))]);
    // A process of its own: the memory of this one is that of all tests.
    let output = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "objects::ten_thousand_objects_need_the_memory_of_a_page", "--nocapture"])
        .env("LOOK_AT", serde_json::to_string(&wanted.definition)?)
        .env("LOOK_AT_KUBECONFIG", cluster.kubeconfig())
        .stdout(Stdio::piped())
        .output()
        .await?;
    let output = String::from_utf8_lossy(&output.stdout);
    let line = output.lines().find_map(|line| line.strip_prefix("LOOKED ")).with_context(|| output.to_string())?;
    let looked: Value = serde_json::from_str(line)?;
    println!("{looked}");
    assert_eq!((&looked["read"], &looked["invalid"]), (&json!(MANY), &json!(999)));
    assert_eq!(looked["named"], json!(MOST_NAMED));
    assert_eq!(looked["pages"], json!(MANY / PAGE as usize));
    let memory = usize::try_from(looked["bytes"].as_u64().context("bytes")?)?;
    assert!(memory < MOST_MEMORY, "{memory} bytes more than before");
    Ok(())
}

/// What [`ten_thousand_objects_need_the_memory_of_a_page`] does in that process.
async fn look_and_tell(wanted: &str) -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(std::env::var_os("LOOK_AT_KUBECONFIG").context("a kubeconfig")?)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    let client = Client::try_from(config)?;
    let definition = serde_json::from_str(wanted)?;
    let wanted = Wanted { definition, origin: String::new() };
    let group = Group { client: client.clone(), name: wanted.definition.spec.group.clone() };
    let installed = group.installed(&wanted).await?;
    let before = peak()?;
    let began = Instant::now();
    let mut news: Vec<News> = vec![];
    let found = look(&client, &installed, &wanted.definition, &mut news).await?.unwrap();
    let (took, after) = (began.elapsed(), peak()?);
    let Findings { read, invalid, ref offenders, .. } = found;
    let looked = json!({
        "read": read, "invalid": invalid, "named": offenders.len(), "pages": news.len(),
        "bytes": after - before, "milliseconds": u64::try_from(took.as_millis())?,
    });
    println!("\nLOOKED {looked}");
    Ok(())
}

/// The most memory that this process had so far, in bytes.
fn peak() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<usize>()? * 1024)
}
