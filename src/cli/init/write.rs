//! The policy as text, with comments that say what was found, what is missing and what to do.
//!
//! A line with `#` and a space is prose; without the space, or with two, it is YAML that may be taken in as it stands by
//! deleting the `#`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::hints::Order;
use super::survey::{Part, Survey, Why};
use crate::cli::output::{COLUMNS, wrap};
use crate::domain::image::ImageRef;
use crate::domain::version::{Version, parse};

/// What is written.
pub(super) struct Draft<'a> {
    pub(super) namespace: &'a str,
    pub(super) policy: &'a str,
    pub(super) survey: &'a Survey,
    pub(super) order: &'a Order,
    /// The policies that govern the namespace already.
    pub(super) governed_by: &'a [String],
}

const PART_OF: &str = "app.kubernetes.io/part-of";
/// `sha256:` and twelve digits.
const SHOWN_OF_DIGEST: usize = 19;
/// More workloads than this are counted.
const MOST_PLACES: usize = 4;

/// What to do about a version that cannot be told.
pub(super) const NAME_A_VERSION: &str = "Use a version tag, state it by the pod-template annotation guard.gostoa.dev/version, or list the tag or digest in a \
     PlatformRelease. Until then UG-VERSION refuses its changes once it is enforced.";

/// A version as people read it: of a digest the beginning.
pub(super) fn shown(version: &Version) -> String {
    match version {
        Version::Unknown(text) if text.starts_with("sha256:") && text.len() > SHOWN_OF_DIGEST => {
            format!("{}...", &text[..SHOWN_OF_DIGEST])
        }
        version => version.to_string(),
    }
}

/// A value as YAML writes a text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A name, quoted where YAML could read it as something else.
pub(super) fn plain(name: &str) -> String {
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&name.to_ascii_lowercase().as_str());
    if word { name.to_owned() } else { quoted(name) }
}

/// Writes `text` as a comment that is indented by `indent`.
fn comment(out: &mut String, indent: usize, text: &str) {
    for line in wrap(text, COLUMNS - indent - 2) {
        let _ = writeln!(out, "{:indent$}# {line}", "");
    }
}

/// The policy.
pub(super) fn policy(draft: &Draft<'_>) -> String {
    let mut out = String::new();
    head(draft, &mut out);
    let namespace = draft.namespace;
    let _ = write!(
        out,
        "apiVersion: guard.gostoa.dev/v1alpha1\nkind: UpgradePolicy\nmetadata:\n  name: {}\nspec:\n  \
         # Each namespace is an install of its own; versions are compared inside one only.\n  namespaces: [{}]\n",
        plain(draft.policy),
        plain(namespace)
    );
    out.push_str(
        "  # Audit only records, Warn also warns whoever makes a change, Enforce refuses. When it is quiet, go on to Warn, \
         then\n  # delete the line: Enforce is the default. spec.modes sets single rules; upgrade-guard rules lists them.\n  \
         mode: Audit\n  \
         # How many release lines (minor versions, unless PlatformReleases say otherwise) one change may cross.\n  \
         maxHop: 1\n  \
         # Deny refuses a change that only has to wait; Hold stores it and holds its rollout until it may go on.\n  \
         onNotYet: Deny\n  \
         # The order of this list means nothing: `after` makes the order.\n  components:\n",
    );
    for index in 0..draft.survey.components.len() {
        component(draft, index, &mut out);
    }
    left_out(draft, &mut out);
    out
}

fn head(draft: &Draft<'_>, out: &mut String) {
    comment(out, 0, &format!("What runs in namespace {}, as a first policy.", draft.namespace));
    let order = "It refuses nothing yet, and it knows no order: that cannot be read from a cluster. Look for TODO, say \
                 in `after` who is upgraded first and in `skew` how far two may be apart. What is commented out there \
                 is a guess, with what it was read from: take it in if it is right.";
    comment(out, 0, order);
    comment(out, 0, "Every field: kubectl explain upgradepolicy.spec, or docs/policy.md.");
    if !draft.governed_by.is_empty() {
        let governed = format!(
            "TODO: namespace {} is governed already, by {}. Change that policy instead, or delete it before this one is \
             applied: both would be asked.",
            draft.namespace,
            draft.governed_by.join(" and ")
        );
        comment(out, 0, &governed);
    }
    let parts: BTreeSet<&String> =
        draft.survey.workloads.iter().filter_map(|workload| workload.labels.get(PART_OF)).collect();
    if parts.len() > 1 {
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
        let several = format!(
            "TODO: by their label {PART_OF} these workloads are part of {}. Where they are upgraded apart, make a policy \
             of each.",
            parts.join(", ")
        );
        comment(out, 0, &several);
    }
}

fn component(draft: &Draft<'_>, index: usize, out: &mut String) {
    let part = &draft.survey.components[index];
    out.push('\n');
    for (version, runs) in part.versions() {
        let mut places: Vec<String> = Vec::new();
        for run in &runs {
            let source = run.source().map(|source| format!(" ({source})")).unwrap_or_default();
            places.push(format!("{}{source}", run.place));
        }
        places.dedup();
        match version {
            Version::Known(version) => comment(out, 4, &format!("Runs {version}: {}.", listed(&places))),
            Version::Unknown(_) => {
                let todo =
                    format!("TODO: '{}' tells no version: {}. {NAME_A_VERSION}", shown(version), listed(&places));
                comment(out, 4, &todo);
            }
        }
    }
    let known = part.versions().into_keys().filter(|version| version.known().is_some()).count();
    if known > 1 {
        comment(
            out,
            4,
            "Several versions run at once. That is right in the middle of an upgrade; else bring them together.",
        );
    }
    for line in block(part) {
        let _ = writeln!(out, "    {line}");
    }
    order(draft, index, out);
}

/// A component without its order.
fn block(part: &Part) -> Vec<String> {
    let patterns: Vec<String> = part.group.patterns.iter().map(|pattern| quoted(pattern)).collect();
    let mut lines = vec![
        format!("- name: {}", plain(&part.group.name)),
        "  match:".to_owned(),
        format!("    images: [{}]", patterns.join(", ")),
    ];
    if !part.prefixes.is_empty() {
        let prefixes: Vec<String> = part.prefixes.iter().map(|prefix| quoted(prefix)).collect();
        lines.push("  version:".to_owned());
        lines.push(format!("    tagPrefixes: [{}]", prefixes.join(", ")));
    }
    lines
}

fn order(draft: &Draft<'_>, index: usize, out: &mut String) {
    let name = |index: &usize| plain(&draft.survey.components[*index].group.name);
    if let Some(circular) = draft.order.circular.get(&index) {
        let whys: Vec<&str> = circular.values().flatten().map(String::as_str).collect();
        let text = format!("No order can be read from what goes in a circle: {}.", whys.join("; "));
        comment(out, 6, &text);
    }
    if draft.survey.components.len() == 1 {
        return;
    }
    let Some(upstream) = draft.order.upstream.get(&index) else {
        comment(out, 6, "TODO: who is upgraded before it? Nothing here tells.");
        out.push_str("      #after: []\n");
        return;
    };
    let whys: BTreeSet<&str> = upstream.values().flatten().map(String::as_str).collect();
    let whys: Vec<&str> = whys.into_iter().collect();
    comment(out, 6, &format!("TODO: who is upgraded before it? A guess: {}.", whys.join("; ")));
    let names: Vec<String> = upstream.keys().map(name).collect();
    let _ = writeln!(out, "      #after: [{}]", names.join(", "));
    comment(out, 6, "TODO: how many release lines may it be behind? \"N and N-1\" is 1; without an entry, any.");
    out.push_str("      #skew:\n");
    for name in names {
        let _ = writeln!(out, "      #  - {{component: {name}, behind: 1}}");
    }
}

fn left_out(draft: &Draft<'_>, out: &mut String) {
    let (sidecars, offered): (Vec<_>, Vec<_>) =
        draft.survey.left_out.iter().partition(|(_, why)| matches!(why, Why::Known(known) if known.is_sidecar));
    if !offered.is_empty() {
        out.push('\n');
        comment(out, 4, "Left out. Take in what belongs to the order of your upgrades.");
    }
    for (part, why) in offered {
        comment(out, 4, &format!("{}: {}.", reason(*why), places(part)));
        for line in block(part) {
            let _ = writeln!(out, "    #{line}");
        }
    }
    if !sidecars.is_empty() {
        out.push('\n');
        comment(out, 4, "Never components of their own, so left out:");
    }
    for (part, why) in sidecars {
        let repositories: Vec<&str> = part.group.repositories.iter().map(String::as_str).collect();
        comment(out, 4, &format!("{}, {}.", repositories.join(" and "), reason(*why).to_lowercase()));
    }
}

/// Why something is left out, as a sentence begins.
pub(super) fn reason(why: Why) -> String {
    match why {
        Why::OnlyInit => "Only in init containers".to_owned(),
        Why::TooMany => "A policy has room for 32 components, this would be one more".to_owned(),
        Why::Known(known) => {
            let mut letters = known.what.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        }
    }
}

/// Where a part runs.
pub(super) fn places(part: &Part) -> String {
    let places: Vec<String> = part.runs.iter().map(|run| run.place.clone()).collect();
    listed(&places)
}

fn listed(places: &[String]) -> String {
    match places.get(MOST_PLACES..).map(<[String]>::len) {
        Some(more) if more > 0 => format!("{} and {more} more", places[..MOST_PLACES].join("; ")),
        _ => places.join("; "),
    }
}

/// The release of what runs now, or `None` when no version can be told.
pub(super) fn release(draft: &Draft<'_>, version: &str) -> Option<String> {
    let mut lines = String::new();
    let mut known = 0;
    for part in &draft.survey.components {
        let name = plain(&part.group.name);
        let versions = part.versions();
        let certain: Vec<&Version> = versions.keys().copied().filter(|version| version.known().is_some()).collect();
        if let ([only], 1) = (certain.as_slice(), versions.len()) {
            known += 1;
            let _ = writeln!(lines, "    - {{name: {name}, version: {}}}", quoted(&only.to_string()));
            continue;
        }
        let all: Vec<String> = versions.keys().copied().map(shown).collect();
        comment(
            &mut lines,
            4,
            &format!("TODO: {} runs {}: say which version of it belongs here.", part.group.name, all.join(" and ")),
        );
        let _ = writeln!(lines, "    #- {{name: {name}, version: X.Y.Z{}}}", unversioned(part));
    }
    if known == 0 {
        return None;
    }
    let mut out = String::from("---\n");
    let text = "What runs now as one tested set of versions. From here on the order of such releases makes the lines: list \
                the next one before you upgrade to it. Without any release a line is a minor version, and a major step \
                cannot be measured.";
    comment(&mut out, 0, text);
    let _ = write!(
        out,
        "apiVersion: guard.gostoa.dev/v1alpha1\nkind: PlatformRelease\nmetadata:\n  name: {}\nspec:\n  policy: {}\n  \
         version: {}\n  components:\n{lines}",
        quoted(&format!("{}-{version}", draft.policy)),
        plain(draft.policy),
        quoted(version)
    );
    Some(out)
}

/// The tags and digests that tell no version, so that a release can say which one they are.
fn unversioned(part: &Part) -> String {
    let unknown = part.runs.iter().filter(|run| run.version.version.known().is_none());
    let images: Vec<ImageRef<'_>> = unknown.map(|run| ImageRef::parse(&run.image)).collect();
    // A tag that moves must not be listed: what it stands for tomorrow is not this version. One that is a version is
    // contradicted by something else, and listing it would change nothing.
    let moving =
        |tag: &str| ["latest", "stable", "main", "master", "edge", "nightly"].iter().any(|word| tag.contains(word));
    let list = |values: BTreeSet<&str>, field: &str| {
        let values: Vec<String> = values.into_iter().map(quoted).collect();
        if values.is_empty() { String::new() } else { format!(", {field}: [{}]", values.join(", ")) }
    };
    let tags = images.iter().filter_map(|image| image.tag).filter(|tag| !moving(tag) && parse(tag).is_none()).collect();
    format!("{}{}", list(tags, "tags"), list(images.iter().filter_map(|image| image.digest).collect(), "digests"))
}
