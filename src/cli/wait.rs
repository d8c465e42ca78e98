//! `upgrade-guard wait`: holds a pod until what it needs is there.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};

use super::input::database::Database;
use super::input::governed::Governed;
use super::input::live;
use super::verify::Progress;
use super::{Outcome, Output};
use crate::api::duration;
use crate::cluster::error::said;
use crate::database::revision::revision;
use crate::database::url::DatabaseUrl;
use crate::domain::policy::ComponentId;
use crate::domain::schema::Schema;
use crate::domain::version::Version;
use crate::hook::Exit;
use crate::hook::wait::{ComponentNeed, CrdNeed, Need, Waited, component, crd, schema, until_met, upstream};

/// Why there is no record to ask.
const NO_CLUSTER: &str = "no install is named (--namespace, --policy) whose record could tell which come after it";
/// How long the database or the API server may take to answer once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait until what a pod needs is there; for its init container.
///
/// All that is given has to be met. An API server or a database that does not answer is waited for, too.
///
/// Exit code 0: everything is there. 4: something was not there, or of another version, when the time was over. 1: it
/// could not be told in that time, or what is given cannot be followed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The schema has to be at this revision, or ahead of it by revisions that the install's `Platform` has as additive.
    /// The cluster is asked for that where --policy or --namespace is given; else only this very one is right.
    #[arg(long, value_name = "REVISION")]
    schema_revision: Option<String>,

    /// A CRD has to be established, and have this content, as `crds digest` prints it, where one is given.
    #[arg(long, value_name = "NAME[=DIGEST]")]
    crd: Vec<CrdNeed>,

    /// A component has to run this version or a later one everywhere, with its rollout complete.
    #[arg(long, value_name = "NAME>=VERSION")]
    component: Vec<ComponentNeed>,

    /// Wait for everything that the component named by --for needs in this `PlatformRelease`: its upstream components, its
    /// CRDs, and the schema's revision where the environment names a database.
    #[arg(long, value_name = "NAME", requires = "component_of")]
    release: Option<String>,

    /// The component that waits, for --release.
    #[arg(long = "for", id = "component_of", value_name = "COMPONENT", requires = "release")]
    component_of: Option<String>,

    /// The policy, where several govern the namespace.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,

    /// The namespace of the install; that of the pod or the kubeconfig, or the only one that is governed.
    #[arg(short, long)]
    namespace: Option<String>,

    #[command(flatten)]
    database: Database,

    /// How long to wait, for example 10m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    timeout: SignedDuration,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let waited = match waited(args) {
        Ok(waited) => waited,
        Err(error) => Waited { exit: Exit::CouldNot, message: format!("{error:#}") },
    };
    let paint = out.paint;
    let shown = if waited.exit == Exit::Done { paint.good(&waited.message) } else { paint.bad(&waited.message) };
    writeln!(out, "{shown}")?;
    Ok(Outcome::Hook(waited.exit))
}

fn waited(args: &Args) -> anyhow::Result<Waited> {
    // A database that nobody asks for may be named in any way.
    let wants_database = args.schema_revision.is_some() || args.release.is_some();
    let url = if wants_database { args.database.url()? } else { None };
    if args.schema_revision.is_some() && url.is_none() {
        bail!("--schema-revision needs a database: {}", args.database.remedy());
    }
    if args.schema_revision.is_none() && args.crd.is_empty() && args.component.is_empty() && args.release.is_none() {
        bail!("nothing to wait for: give --schema-revision, --crd, --component, or --release with --for");
    }
    let patience = args.timeout.unsigned_abs();
    let names_install = args.policy.is_some() || args.namespace.is_some();
    if args.crd.is_empty() && args.component.is_empty() && args.release.is_none() && !names_install {
        // No cluster is asked for what only the database knows.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let look = async || Ok(of_schema(args, url.as_ref(), Err(NO_CLUSTER)).await);
        return Ok(runtime.context("cannot start the asynchronous runtime")?.block_on(until_met(
            look,
            patience,
            &mut Progress,
        )));
    }
    let cluster = live::Cluster::connect()?;
    Ok(cluster.block_on(async |client| {
        let look = async || look(args, &cluster, &client, url.as_ref()).await.map_err(|error| format!("{error:#}"));
        until_met(look, patience, &mut Progress).await
    }))
}

async fn of_schema(args: &Args, url: Option<&DatabaseUrl>, known: Result<&Schema, &str>) -> Vec<Need> {
    let mut needs = Vec::new();
    if let (Some(wanted), Some(url)) = (&args.schema_revision, url) {
        needs.push(at_revision(args, wanted, url, known).await);
    }
    needs
}

async fn at_revision(args: &Args, wanted: &str, url: &DatabaseUrl, known: Result<&Schema, &str>) -> Need {
    schema(wanted, &revision(url, &args.database.noted(), ANSWER_TIMEOUT).await, known)
}

/// Looks at every need once.
async fn look(
    args: &Args,
    cluster: &live::Cluster,
    client: &Client,
    url: Option<&DatabaseUrl>,
) -> anyhow::Result<Vec<Need>> {
    let mut needs = Vec::new();
    let mut crds = args.crd.clone();
    let needs_install = !args.component.is_empty() || args.release.is_some();
    let asks_record = args.schema_revision.is_some() && (args.policy.is_some() || args.namespace.is_some());
    if !needs_install && !asks_record {
        needs.extend(of_schema(args, url, Err(NO_CLUSTER)).await);
    } else {
        let governed = Governed::read(cluster, args.policy.as_deref(), args.namespace.as_deref()).await;
        let governed = match governed {
            Ok(governed) => governed,
            // The very same revision is right, whatever the cluster says.
            Err(error) if !needs_install => {
                let why = format!("the cluster cannot be asked: {error:#}");
                needs.extend(of_schema(args, url, Err(&why)).await);
                return Ok(with_crds(client, needs, &crds).await);
            }
            Err(error) => return Err(error),
        };
        let view = governed.install.inventory.view(&governed.policy, Timestamp::now());
        let known = view.schema.as_ref().ok_or("the policy has no spec.database");
        needs.extend(of_schema(args, url, known).await);
        needs.extend(args.component.iter().map(|wanted| component(&governed.policy, &view, wanted)));
        if let (Some(release), Some(own)) = (&args.release, &args.component_of) {
            let released = Released::of(&governed, release, own)?;
            needs.extend(upstream(&governed.policy, &view, released.id, &released.version));
            crds.extend(released.crds);
            if let (Some(wanted), Some(url), None) = (&released.revision, url, &args.schema_revision) {
                needs.push(at_revision(args, wanted, url, known).await);
            }
        }
    }
    Ok(with_crds(client, needs, &crds).await)
}

async fn with_crds(client: &Client, mut needs: Vec<Need>, crds: &[CrdNeed]) -> Vec<Need> {
    for wanted in crds {
        needs.push(of_crd(client, wanted).await);
    }
    needs
}

async fn of_crd(client: &Client, wanted: &CrdNeed) -> Need {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    match tokio::time::timeout(ANSWER_TIMEOUT, api.get_opt(&wanted.name)).await {
        Ok(Ok(found)) => crd(wanted, found.as_ref()),
        Ok(Err(error)) => Need::unknown(format!("CRD {}", wanted.name), format!("cannot get it: {}", said(&error))),
        Err(_) => Need::unknown(format!("CRD {}", wanted.name), "the API server does not answer".to_owned()),
    }
}

/// What a release says of one component.
struct Released {
    id: ComponentId,
    version: Version,
    crds: Vec<CrdNeed>,
    revision: Option<String>,
}

impl Released {
    fn of(governed: &Governed, release: &str, own: &str) -> anyhow::Result<Self> {
        let policy = &governed.policy;
        let found = governed.release(release);
        let found = found.with_context(|| format!("policy {} has no PlatformRelease {release}", policy.name))?;
        let id = policy.component_named(own);
        let id = id.with_context(|| format!("policy {} has no component {own}", policy.name))?;
        let lines = policy.lines.releases();
        // What a release leaves out it has from the one before.
        let listed =
            lines.iter().find(|line| line.name == found.spec.version).and_then(|line| line.components.get(&id));
        let listed = listed.with_context(|| format!("PlatformRelease {release} and those before list no {own}"))?;
        let content = |name: &String| found.spec.crds.iter().find(|crd| crd.name == *name)?.content.clone();
        let crds = policy.component(id).crds.iter();
        Ok(Self {
            id,
            version: Version::Known(listed.version.clone()),
            crds: crds.map(|name| CrdNeed { name: name.clone(), content: content(name) }).collect(),
            revision: found.spec.schema_revision.clone(),
        })
    }
}
