//! `upgrade-guard init`: a first policy from what runs in a namespace.
//!
//! It invents nothing: components are what runs, and an order is only offered, commented out, with what it was read from.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use self::read::Read;
use self::survey::{Survey, Why};
use self::write::{Draft, places, reason, shown};
use super::input::standard_input_once;
use super::{Outcome, Output};
use crate::cluster::documents::Source;

mod hints;
mod images;
mod known;
mod read;
mod survey;
#[cfg(test)]
mod tests;
mod write;

/// Write a first policy from what runs in a namespace.
///
/// It has a component for each image repository with versions, refuses nothing (mode: Audit), and leaves out databases,
/// proxies and the like. It does not know the order of upgrades: look for TODO. What was found and what comes next is
/// told on standard error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The namespace to govern: that of the kubeconfig, or the only one of the manifests, where it is left out. It is
    /// also the namespace of manifests that name none.
    #[arg(short, long)]
    namespace: Option<String>,

    /// Read manifests instead of the cluster: a file, a folder or '-' for standard input, for example what
    /// `kubectl get deployments,statefulsets,daemonsets,services -o yaml` printed.
    #[arg(short, long, value_name = "PATH")]
    file: Vec<Source>,

    /// The policy's name, where it is not to be that of the namespace.
    #[arg(long)]
    name: Option<String>,

    /// Take in databases, caches, web servers and the like, too.
    #[arg(long)]
    all: bool,

    /// Add a `PlatformRelease` of this version with what runs now, for example 2026.07.
    #[arg(long, value_name = "VERSION", value_parser = release_version)]
    release: Option<String>,

    /// Write into this file instead of printing.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Overwrite that file.
    #[arg(long, requires = "output")]
    force: bool,
}

/// Reads the version of a release, as its schema wants it.
fn release_version(text: &str) -> Result<String, String> {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if text.len() <= 63 && text.split('.').all(number) {
        Ok(text.to_owned())
    } else {
        Err("write numbers with dots, such as 2026.07 or 2.3.0".to_owned())
    }
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    standard_input_once(args.file.iter())?;
    if let Some(path) = args.output.as_deref().filter(|path| !args.force && path.exists()) {
        bail!("{}", there_is(path));
    }
    let namespace = args.namespace.as_deref();
    let read = if args.file.is_empty() { read::cluster(namespace)? } else { read::files(&args.file, namespace)? };
    if read.namespace == "kube-system" {
        bail!("kube-system is never governed: name another namespace with -n");
    }
    let survey = Survey::of(&read.objects, args.all);
    if survey.components.is_empty() {
        bail!("{}", nothing(&read, &survey));
    }
    let governs = |policy: &&crate::api::UpgradePolicy| policy.spec.namespaces.contains(&read.namespace);
    let governing = read.policies.iter().filter(governs).filter_map(|policy| policy.metadata.name.as_deref());
    let governed_by: Vec<String> = governing.map(|name| format!("UpgradePolicy {name}")).collect();
    let wanted = args.name.as_deref().unwrap_or(&read.namespace);
    let policy = args.name.clone().unwrap_or_else(|| read::free_name(wanted, &read.policies));
    let order = hints::order(&survey, &read.objects, &read.namespace);
    let draft = Draft {
        namespace: &read.namespace,
        policy: &policy,
        survey: &survey,
        order: &order,
        governed_by: &governed_by,
    };
    let mut text = write::policy(&draft);
    let release = args.release.as_deref().map(|version| write::release(&draft, version));
    if let Some(Some(release)) = &release {
        text.push_str(release);
    }
    match &args.output {
        Some(path) => save(path, &text, args.force)?,
        None => out.write_all(text.as_bytes())?,
    }
    let mut notes = read.notes.clone();
    if release == Some(None) {
        notes.push("there is no PlatformRelease, because no version can be told".to_owned());
    }
    eprint!("{}", summary(&draft, &notes, args.output.as_deref()));
    Ok(Outcome::Done)
}

fn there_is(path: &Path) -> String {
    format!(
        "{} is there already, and may have been changed by hand: write another file, or say --force",
        path.display()
    )
}

fn save(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!("{}", there_is(path)),
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// Why there is no policy to write.
fn nothing(read: &Read, survey: &Survey) -> String {
    let namespace = &read.namespace;
    if survey.workloads.is_empty() {
        return format!(
            "namespace {namespace} has no Deployment, StatefulSet, DaemonSet or Rollout: nothing to govern. Is it the \
             right one (-n), in the right cluster?"
        );
    }
    let mut text = format!("namespace {namespace} has nothing that looks like a component. Left out:");
    for (part, why) in &survey.left_out {
        let _ = write!(text, "\n{}: {} ({})", part.group.name, reason(*why).to_lowercase(), places(part));
    }
    text.push_str("\n--all takes in databases and the like");
    text
}

/// What was found, and what comes next.
fn summary(draft: &Draft<'_>, notes: &[String], file: Option<&Path>) -> String {
    let survey = draft.survey;
    let mut text = String::new();
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let (components, left_out) = (survey.components.len(), survey.left_out.len());
    let _ = writeln!(
        text,
        "namespace {}: {} of {}, {} left out",
        draft.namespace,
        count(components, "component"),
        count(survey.workloads.len(), "workload"),
        count(left_out, "image")
    );
    let rows: Vec<(&str, String)> = survey
        .components
        .iter()
        .map(|part| {
            let versions: Vec<String> = part.versions().into_keys().map(shown).collect();
            (part.group.name.as_str(), versions.join(" and "))
        })
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, versions) in &rows {
        let _ = writeln!(text, "  {name:width$}  {versions}");
    }
    for (part, why) in survey.left_out.iter().filter(|(_, why)| *why == Why::TooMany) {
        let _ = writeln!(text, "left out: {} ({})", part.group.name, reason(*why).to_lowercase());
    }
    let unknown =
        survey.components.iter().filter(|part| part.versions().keys().any(|version| version.known().is_none()));
    let unknown: Vec<&str> = unknown.map(|part| part.group.name.as_str()).collect();
    if !unknown.is_empty() {
        let _ = writeln!(text, "no version can be told of {}: the comments there say what to do", unknown.join(", "));
    }
    if !draft.governed_by.is_empty() {
        let _ =
            writeln!(text, "namespace {} is governed already, by {}", draft.namespace, draft.governed_by.join(" and "));
    }
    for note in notes {
        let _ = writeln!(text, "note: {note}");
    }
    let file = file.map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
    let namespace = draft.namespace;
    let _ = write!(
        text,
        "next:\n  1. read {file}: every TODO, above all who is upgraded first (after) and how far apart (skew)\n  \
         2. kubectl apply -f {file}\n  \
         3. upgrade-guard status -n {namespace}, and upgrade-guard plan --live -n {namespace} --to COMPONENT=VERSION\n  \
         4. when Audit is quiet: mode: Warn, then no mode at all, which refuses\n"
    );
    text
}
