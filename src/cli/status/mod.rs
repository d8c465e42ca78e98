//! `upgrade-guard status`: where is my upgrade, what does it wait for, what may I do next?

use std::io::Write as _;

use anyhow::{Context, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::input::{live, standard_input_once};
use super::{Outcome, Output};
use crate::api::Platform;
use crate::cluster::files::{Manifests, Source};

mod text;
mod watch;

pub(in crate::cli) use text::observed_ago;
pub use text::print;

/// Tell where the upgrade of each install stands: what runs, what waits for what, and what may be done next.
///
/// Exit code 0: every install is ready. 1: one is in progress, stalled or against the rules. 2: that could not be told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the Platform of this name, which is that of its policy.
    name: Option<String>,

    /// Only this namespace; it is also the namespace of manifests that name none.
    #[arg(short, long)]
    namespace: Option<String>,

    /// All namespaces, as without --namespace.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,

    /// Read Platforms from here instead of the cluster: a file, a folder or '-' for standard input, for example what
    /// `kubectl get platforms -A -o yaml` printed.
    #[arg(short, long, value_name = "PATH")]
    file: Vec<Source>,

    /// Go on and print again whenever something changes, until Ctrl-C.
    #[arg(short, long, conflicts_with = "file")]
    watch: bool,

    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// The objects, as a list.
    Json,
    /// The objects, as a list.
    Yaml,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    if args.watch {
        return watch::run(args, out.paint);
    }
    standard_input_once(args.file.iter())?;
    let platforms = if args.file.is_empty() {
        let cluster = live::Cluster::connect()?;
        cluster.platforms(args.namespace.as_deref())?
    } else {
        from_files(args)?
    };
    let platforms = chosen(platforms, args);
    show(&platforms, args.output, Timestamp::now(), out)?;
    outcome(&platforms, args)
}

fn from_files(args: &Args) -> anyhow::Result<Vec<Platform>> {
    let mut platforms = Vec::new();
    for (namespace, install) in Manifests::load(&args.file, args.namespace.as_deref())?.namespaces {
        for platform in install.inventory.platforms().values() {
            let mut platform = platform.clone();
            platform.metadata.namespace = Some(namespace.clone());
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

/// What was asked for, by namespace and name.
fn chosen(mut platforms: Vec<Platform>, args: &Args) -> Vec<Platform> {
    let is = |asked: &Option<String>, found: &Option<String>| asked.is_none() || asked == found;
    platforms.retain(|platform| {
        is(&args.name, &platform.metadata.name) && is(&args.namespace, &platform.metadata.namespace)
    });
    let key = |platform: &Platform| (platform.metadata.namespace.clone(), platform.metadata.name.clone());
    platforms.sort_by_key(key);
    platforms
}

fn show(platforms: &[Platform], format: Format, now: Timestamp, out: &mut Output<'_>) -> anyhow::Result<()> {
    match format {
        Format::Text => text::print(platforms, now, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &list(platforms)?).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Format::Yaml => {
            let yaml = serde_saphyr::to_string(&list(platforms)?).context("cannot write it as YAML")?;
            writeln!(out, "{}", yaml.trim_end())?;
        }
    }
    Ok(())
}

/// The objects as kubectl prints several.
fn list(platforms: &[Platform]) -> anyhow::Result<Value> {
    let objects = platforms.iter().map(|platform| {
        let mut platform = platform.clone();
        platform.metadata.managed_fields = None;
        serde_json::to_value(platform)
    });
    let items: Vec<Value> = objects.collect::<Result<_, _>>().context("cannot write a Platform as JSON")?;
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}

/// Where an install stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// All is complete.
    Ready,
    /// It goes on.
    InProgress,
    /// It does not go on by itself.
    Stalled,
    /// What runs is against the rules.
    Broken,
    /// Nobody looked at it, or not since it was changed.
    Unknown,
}

impl Stand {
    fn of(platform: &Platform) -> Self {
        let Some(status) = &platform.status else { return Self::Unknown };
        let is = |kind: &str| status.conditions.iter().any(|found| found.type_ == kind && found.status == "True");
        let observed = platform.metadata.generation.is_none_or(|made| status.observed_generation == Some(made));
        let told = status.conditions.iter().any(|condition| condition.type_ == "Ready");
        if !observed || !told {
            Self::Unknown
        } else if !status.violations.is_empty() {
            Self::Broken
        } else if is("Stalled") {
            Self::Stalled
        } else if is("Ready") {
            Self::Ready
        } else {
            Self::InProgress
        }
    }
}

/// What it comes to; an error when that cannot be told.
fn outcome(platforms: &[Platform], args: &Args) -> anyhow::Result<Outcome> {
    if platforms.is_empty() {
        let name = args.name.as_deref().map(|name| format!(" named {name}")).unwrap_or_default();
        let place = args.namespace.as_deref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        bail!(
            "there is no Platform{name}{place}: the guard makes one for each namespace that an UpgradePolicy governs"
        );
    }
    let stands: Vec<Stand> = platforms.iter().map(Stand::of).collect();
    let unknown = platforms.iter().zip(&stands).find(|(_, stand)| **stand == Stand::Unknown);
    if let Some((platform, _)) = unknown {
        let namespace = platform.metadata.namespace.as_deref().unwrap_or_default();
        bail!("the guard has not looked at {namespace} yet, or not since it was changed: is it running?");
    }
    let ready = stands.iter().all(|stand| *stand == Stand::Ready);
    Ok(if ready { Outcome::Done } else { Outcome::Refused })
}
