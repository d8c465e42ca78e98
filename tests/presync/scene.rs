//! One install with a policy, releases and CRDs of its own, and the program that prepares its upgrade.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use upgrade_guard::api::{Platform, PlatformPreparation, PlatformStatus, UpgradePolicy};

use crate::gate::{Gate, Stop};
use crate::platform::deployment;
use crate::support::cluster::Cluster;
use crate::support::guard::{install, succeeded};

pub(crate) struct Scene {
    pub(crate) cluster: &'static Cluster,
    pub(crate) client: Client,
    /// Also the name of the policy; the group of the CRDs ends in it.
    pub(crate) namespace: String,
    /// What the program finds in its environment besides.
    pub(crate) environment: Vec<(String, String)>,
    /// What differs from run to run in what it prints, and what is shown instead.
    pub(crate) hidden: Vec<(String, String)>,
    folder: PathBuf,
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Scene {
    /// An install of an API and a gateway at 2.2.0 that goes to release 2.3.0; `None` when these tests are skipped.
    pub(crate) async fn open(name: &str, policy: Value) -> Result<Option<Self>> {
        static READY: OnceCell<()> = OnceCell::const_new();
        let Some(cluster) = Cluster::shared().await? else { return Ok(None) };
        READY.get_or_try_init(async || install(cluster, &["manifests/crds/"]).await).await?;
        let namespace = cluster.namespace(name).await?.name;
        let folder = tempfile::Builder::new().prefix("presync-").tempdir_in(cluster.folder())?.keep();
        let (environment, hidden) = (vec![], vec![]);
        let scene = Self { cluster, client: cluster.client().await?, namespace, environment, hidden, folder };
        scene.lay(policy).await?;
        Ok(Some(scene))
    }

    async fn lay(&self, mut policy: Value) -> Result<()> {
        let name = &self.namespace;
        let mut spec = json!({
            "namespaces": [name],
            "components": [
                {"name": "api", "match": {"images": ["x/api"]}, "crds": [self.crd_name("tools")]},
                {"name": "gateway", "match": {"images": ["x/gateway"]}, "after": ["api"],
                 "skew": [{"component": "api", "behind": 1}]},
            ],
        });
        let more = policy.as_object_mut().context("the policy is an object")?;
        spec.as_object_mut().context("the spec is an object")?.append(more);
        let release = |version: &str| {
            json!({
                "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "PlatformRelease",
                "metadata": {"name": format!("{name}-{version}")},
                "spec": {"policy": name, "version": version, "components": [
                    {"name": "api", "version": version}, {"name": "gateway", "version": version}]},
            })
        };
        let items = json!([
            {"apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": name}, "spec": spec},
            release("2.2.0"), release("2.3.0"), release("2.4.0"),
            deployment("api", "x/api:2.2.0"), deployment("gateway", "x/gateway:2.2.0"),
            // A backup that nobody runs by the clock.
            {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backup"}, "spec": {
                "schedule": "0 0 29 2 *", "jobTemplate": {"spec": {"template": {"spec": {
                    "restartPolicy": "Never", "containers": [{"name": "dump", "image": "x/dump:1"}]}}}}}},
        ]);
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items})).await?;
        std::fs::create_dir_all(self.crds())?;
        self.write_crd("tools", &["name"])
    }

    /// Takes everything away, so that many scenes fit on two nodes.
    pub(crate) async fn close(self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &<_>::default()).await?;
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for plural in ["tools", "skills"] {
            if self.crd(plural).await?.is_some() {
                crds.delete(&self.crd_name(plural), &<_>::default()).await?;
            }
        }
        let policies: Api<UpgradePolicy> = Api::all(self.client.clone());
        policies.delete(&self.namespace, &<_>::default()).await?;
        Ok(())
    }

    /// Applies objects with every right, in the namespace.
    pub(crate) async fn apply(&self, objects: &Value) -> Result<()> {
        let arguments = ["-n", &self.namespace, "apply", "-f", "-"];
        succeeded(self.cluster.kubectl_with(&arguments, &objects.to_string()).await?).map(drop)
    }

    pub(crate) fn crd_name(&self, plural: &str) -> String {
        format!("{plural}.{}.example.org", self.namespace)
    }

    /// The folder of the wanted CRDs.
    pub(crate) fn crds(&self) -> PathBuf {
        self.folder.join("crds")
    }

    /// Writes a wanted CRD whose objects have these texts.
    pub(crate) fn write_crd(&self, plural: &str, fields: &[&str]) -> Result<()> {
        let properties: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": self.crd_name(plural)},
            "spec": {
                "group": format!("{}.example.org", self.namespace), "scope": "Namespaced",
                "names": {"plural": plural, "kind": format!("Kind{plural}")},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        });
        Ok(std::fs::write(self.crds().join(format!("{plural}.yaml")), crd.to_string())?)
    }

    pub(crate) async fn crd(&self, plural: &str) -> Result<Option<CustomResourceDefinition>> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        Ok(crds.get_opt(&self.crd_name(plural)).await?)
    }

    /// What is recorded.
    pub(crate) async fn status(&self) -> Result<PlatformStatus> {
        let platforms: Api<Platform> = Api::namespaced(self.client.clone(), &self.namespace);
        let platform = platforms.get_opt(&self.namespace).await?;
        Ok(platform.and_then(|platform| platform.status).unwrap_or_default())
    }

    /// The runs that are recorded, newest first.
    pub(crate) async fn preparations(&self) -> Result<Vec<PlatformPreparation>> {
        Ok(self.status().await?.preparations)
    }

    /// The usual arguments for release 2.3.0.
    pub(crate) fn usual(&self) -> Vec<String> {
        let crds = self.crds().display().to_string();
        ["--release", "2.3.0", "--crds", &crds, "--timeout", "80s"].map(str::to_owned).to_vec()
    }

    /// Starts `presync` with `args`, with every right, through a gate.
    pub(crate) async fn start(&self, args: &[String], stop: Option<Stop>) -> Result<(Gate, Child)> {
        let gate = Gate::open(self.client.clone(), stop).await?;
        let kubeconfig = self.folder.join(format!("kubeconfig-{}", gate.address.port()));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "gate",
            "clusters": [{"name": "gate", "cluster": {"server": format!("http://{}", gate.address)}}],
            "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "none", "namespace": self.namespace}}],
            "users": [{"name": "none", "user": {}}],
        });
        std::fs::write(&kubeconfig, config.to_string())?;
        let child = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"))
            .arg("presync")
            .args(args)
            .env("KUBECONFIG", &kubeconfig)
            .env("HOSTNAME", "hook")
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .env_remove("DATABASE_URL")
            .env_remove("PGHOST")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok((gate, child))
    }

    /// Runs `presync` to its end.
    pub(crate) async fn run(&self, args: &[String]) -> Result<Ran> {
        Ok(self.run_counted(args).await?.0)
    }

    /// Runs `presync` to its end, and tells the requests that it made.
    pub(crate) async fn run_counted(&self, args: &[String]) -> Result<(Ran, Gate)> {
        let (gate, child) = self.start(args, None).await?;
        let output = child.wait_with_output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.stderr.is_empty(), "{}", text(&output.stderr));
        Ok((Ran { code: output.status.code(), text: self.told(&text(&output.stdout)) }, gate))
    }

    /// What was printed, with what differs from run to run left out.
    fn told(&self, text: &str) -> String {
        let times = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").unwrap();
        let text = text.replace(&self.crds().display().to_string(), "CRDS").replace(&self.namespace, "NAMESPACE");
        let text = self.hidden.iter().fold(text, |text, (found, shown)| text.replace(found, shown));
        let text = times.replace_all(&text, "TIME");
        // How long the cluster takes is not always enough to say that it is waited for.
        text.lines()
            .filter(|line| !line.contains("... ") || !line.contains(" waits for "))
            .fold(String::new(), |text, line| text + line + "\n")
    }
}
