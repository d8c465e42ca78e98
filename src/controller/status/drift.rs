//! What pods really run: a tag may move without any change of a workload.

use std::collections::{BTreeMap, BTreeSet};

use super::{LONGEST_NAME, Scene, most, shown};
use crate::domain::image::ImageRef;
use crate::domain::policy::{ComponentId, VersionSource};
use crate::domain::version::Version;

/// How much of a digest is shown: enough to tell two apart.
const SHORT_DIGEST: usize = "sha256:".len() + 12;

/// The digests that pods run.
#[derive(Default)]
pub(super) struct Digests {
    by_version: BTreeMap<(ComponentId, Version), BTreeSet<String>>,
    /// How many pods run what under one image reference that pins nothing.
    by_image: BTreeMap<(ComponentId, String), BTreeMap<String, u32>>,
    /// Versions that some template pins by digest: another digest is another request there.
    pinned: BTreeSet<(ComponentId, Version)>,
}

/// A tag that holds something else than before.
pub(super) struct Moved {
    pub(super) component: ComponentId,
    /// The version under which the pods run.
    pub(super) version: String,
    /// What it was, with a short digest.
    pub(super) from: String,
    /// What it is now, with a short digest.
    pub(super) to: String,
}

impl Digests {
    pub(super) fn of(scene: &Scene<'_>) -> Self {
        let mut found = Self::default();
        for (workload, pods) in scene.images {
            for pod in pods {
                let version = scene.inventory.pod_version(scene.policy, workload, &pod.container, &pod.image);
                let (Some((id, version)), Some(digest)) = (version, digest(&pod.image_id)) else { continue };
                if ImageRef::parse(&pod.image).digest.is_some() {
                    found.pinned.insert((id, version.clone()));
                } else {
                    let digests = found.by_image.entry((id, pod.image.clone())).or_default();
                    *digests.entry(digest.clone()).or_default() += 1;
                }
                found.by_version.entry((id, version)).or_default().insert(digest);
            }
        }
        found
    }

    /// The digests that pods of this version run.
    pub(super) fn of_version(&self, id: ComponentId, version: &Version) -> Vec<String> {
        let digests = self.by_version.get(&(id, version.clone()));
        digests.into_iter().flatten().take(most::IMAGES).cloned().collect()
    }

    /// What is wrong with what pods run: one reference that is several images, and a digest that is another version.
    pub(super) fn violations(&self, scene: &Scene<'_>) -> Vec<(ComponentId, String)> {
        let mut found = Vec::new();
        for ((id, image), digests) in self.by_image.iter().filter(|(_, digests)| digests.len() > 1) {
            let pods = |(digest, count): (&String, &u32)| {
                format!("{} ({count} {})", short(digest), if *count == 1 { "pod" } else { "pods" })
            };
            let all: Vec<String> = digests.iter().map(pods).collect();
            let tag = ImageRef::parse(image).tag.unwrap_or("latest");
            found.push((*id, format!("pods of {tag} run {}: the tag has moved", all.join(" and "))));
        }
        for ((id, version), digests) in &self.by_version {
            let known = scene.policy.component(*id).sources.contains(&VersionSource::Release);
            for digest in digests.iter().filter(|_| known) {
                let listed = scene.policy.lines.listed_image(*id, None, Some(digest));
                if let Some((listed, release)) = listed.filter(|(listed, _)| version.known() != Some(*listed)) {
                    let digest = short(digest);
                    found
                        .push((*id, format!("pods of {version} run {digest}, which release {release} calls {listed}")));
                }
            }
        }
        found
    }
}

/// The tags that hold something else than the status said before.
pub(super) fn moves(scene: &Scene<'_>, seen: &Digests) -> Vec<Moved> {
    let mut moves = Vec::new();
    for ((id, version), digests) in seen.by_version.iter().filter(|(key, _)| !seen.pinned.contains(key)) {
        let text = shown(version);
        let old = scene.before(scene.name(*id)).and_then(|old| old.running.iter().find(|old| old.version == text));
        let Some((old, before)) = old.and_then(|old| Some((old, old.images.first()?))) else { continue };
        let new = digests.iter().take(most::IMAGES).find(|digest| !old.images.contains(digest));
        moves.extend(new.map(|new| Moved {
            component: *id,
            from: with_digest(&text, before),
            to: with_digest(&text, new),
            version: text.clone(),
        }));
    }
    moves
}

/// A version with the start of a digest, as history has it.
pub(super) fn with_digest(version: &str, digest: &str) -> String {
    format!("{version} ({})", short(digest))
}

/// The version of what [`with_digest`] made; `None` for a mere version.
pub(super) fn version_with_digest(text: &str) -> Option<&str> {
    text.split_once(" (sha256:").map(|(version, _)| version)
}

fn short(digest: &str) -> &str {
    digest.get(..SHORT_DIGEST).unwrap_or(digest)
}

/// The digest in what a container runtime says of an image.
fn digest(image_id: &str) -> Option<String> {
    let at = image_id.rfind("sha256:")?;
    let digest = image_id.get(at..).filter(|digest| digest.len() > "sha256:".len())?;
    Some(digest.chars().take(LONGEST_NAME).collect())
}

/// A message without the numbers of pods in it, by which it is known again.
pub(super) fn uncounted(message: &str) -> String {
    let mut parts = message.split(" (");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((count, rest)) if count.ends_with(" pod") || count.ends_with(" pods") => text.push_str(rest),
            _ => text.extend([" (", part]),
        }
    }
    text
}
