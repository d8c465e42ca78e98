//! What is known of the database: at which revision its schema is, which revision versions need, and how the two stand
//! to each other.
//!
//! Revisions are a graph with merges, of which the record may hold only a part: what it does not hold is never guessed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::line::Release;
use super::policy::{ComponentId, Policy};
use super::version::Version;

/// The pod-template annotation that states the revision that every governed container of the pod needs. With
/// `.COMPONENT` appended it states that of this component alone.
pub const REVISION_ANNOTATION: &str = "guard.gostoa.dev/schema-revision";

/// What is known of the database of an install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The revisions that it notes, of which a sound one has one and an empty one none; or why that is not known.
    pub at: Result<Vec<String>, String>,
    /// When someone looked last.
    pub observed: Option<Timestamp>,
    /// Whether the guard itself looks again and again, and not only the hook when it runs.
    pub live: bool,
    /// Which revision versions need, as it was recorded.
    pub needs: Vec<Need>,
    /// The revisions that are recorded.
    pub known: BTreeMap<String, Recorded>,
    /// Whether the hook is still to run, which brings it to where it has to be: then only what the hook cannot mend
    /// stands in the way.
    pub hook_comes: bool,
}

/// Which revision a version needs, as the hook learnt it from its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The component.
    pub component: ComponentId,
    /// Its version.
    pub version: Version,
    /// The digest of the image, where it is known.
    pub image: Option<String>,
    /// The revision.
    pub revision: String,
}

/// What is recorded of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The revisions before it.
    pub down: Vec<String>,
    /// What it does to versions that do not know it.
    pub nature: Nature,
}

/// What a revision does to versions that do not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nature {
    /// They go on as before.
    Additive,
    /// Nobody looked.
    Unknown,
    /// They break.
    Breaking,
}

/// How a database stands to a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Same,
    /// It is before it: migrations are pending.
    Behind,
    /// It is after it, by revisions that are all recorded as additive.
    AheadAdditive,
    /// It is after it, by some revisions that are not.
    AheadBreaking(Against),
    /// It has several heads.
    Several,
    /// That cannot be told, and why.
    Unknown(String),
}

/// The revisions that stand against a version that does not know them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Against {
    /// Those that are recorded as breaking.
    pub breaking: BTreeSet<String>,
    /// Those that nobody looked at.
    pub unknown: BTreeSet<String>,
}

impl Against {
    /// Whether nothing stands against it that does not stand against `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let all = |of: &Self| -> BTreeSet<String> { of.breaking.union(&of.unknown).cloned().collect() };
        all(self).is_subset(&all(other))
    }
}

impl Standing {
    /// Whether a version that needs the revision runs on the database.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Same | Self::AheadAdditive)
    }
}

/// What a version needs of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// This revision, as this source says.
    At {
        /// The revision.
        revision: String,
        /// Who says so.
        source: String,
    },
    /// Nobody says.
    Untold,
    /// Sources say different things: each revision with who says so.
    Disputed(Vec<(String, String)>),
}

/// A version about which is asked, with what its pod template says.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The component.
    pub component: ComponentId,
    /// Its version.
    pub version: &'a Version,
    /// What the pod template says it needs.
    pub stated: Option<&'a str>,
    /// The digest of its image, where the template names it.
    pub image: Option<&'a str>,
}

impl Schema {
    /// What is known where nobody has looked, for this reason.
    #[must_use]
    pub fn unread(why: impl Into<String>) -> Self {
        Self {
            at: Err(why.into()),
            observed: None,
            live: false,
            needs: vec![],
            known: BTreeMap::new(),
            hook_comes: false,
        }
    }

    /// The same database, read again just now.
    #[must_use]
    pub fn read_as(&self, heads: Vec<String>) -> Self {
        Self { at: Ok(heads), ..self.clone() }
    }

    /// The revisions in `of` and all before them, as far as they are recorded.
    fn ancestors<'a>(&'a self, of: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut todo = vec![of];
        while let Some(revision) = todo.pop() {
            if found.insert(revision)
                && let Some(recorded) = self.known.get(revision)
            {
                todo.extend(recorded.down.iter().map(String::as_str));
            }
        }
        found
    }

    /// Of `revisions` those that come after none of the others.
    #[must_use]
    pub fn first<'a>(&self, revisions: &'a BTreeSet<String>) -> Vec<&'a str> {
        let is_first = |revision: &&'a String| {
            let before = self.ancestors(revision);
            !revisions.iter().any(|other| other != *revision && before.contains(other.as_str()))
        };
        revisions.iter().filter(is_first).map(String::as_str).collect()
    }

    /// What the record says that the version needs, else a release, else the line that it is a patch of.
    #[must_use]
    pub fn needed(&self, policy: &Policy, asked: &Asked<'_>) -> Needed {
        let Asked { component, version, stated, image } = *asked;
        let mut told: Vec<(String, String)> = Vec::new();
        let mut add = |revision: &str, source: String| {
            if told.iter().all(|(other, _)| other != revision) {
                told.push((revision.to_owned(), source));
            }
        };
        if let Some(stated) = stated {
            add(stated, format!("annotation {REVISION_ANNOTATION}"));
        }
        let known = version.known();
        let of_releases = |of: &semver::Version| -> Vec<(&Release, &str)> {
            let listed = policy.lines.releases().iter().filter(|release| {
                let listed = release.components.get(&component);
                listed.is_some_and(|listed| listed.version.cmp_precedence(of).is_eq())
            });
            listed.filter_map(|release| Some((release, release.revision.as_deref()?))).collect()
        };
        for (release, revision) in known.map(of_releases).unwrap_or_default() {
            add(revision, format!("PlatformRelease {}", release.name));
        }
        let of_image = |need: &&Need| match (&need.image, image) {
            (Some(recorded), Some(asked)) => recorded == asked,
            _ => true,
        };
        let own = self.needs.iter().filter(|need| need.component == component && need.version == *version);
        for need in own.filter(of_image) {
            add(&need.revision, "recorded by the hook".to_owned());
        }
        if told.is_empty()
            && let Some(listed) = known.and_then(|known| policy.lines.listed(component, known))
        {
            for (release, revision) in of_releases(listed) {
                let source = format!("PlatformRelease {}", release.name);
                if told.iter().all(|(other, _)| other != revision) {
                    told.push((revision.to_owned(), source));
                }
            }
        }
        match told.pop() {
            None => Needed::Untold,
            Some((revision, source)) if told.is_empty() => Needed::At { revision, source },
            Some(last) => Needed::Disputed(told.into_iter().chain([last]).collect()),
        }
    }

    /// Of the versions of `component` that are known, the highest that this database accepts and that `wanted` admits.
    #[must_use]
    pub fn safe_version(
        &self,
        policy: &Policy,
        component: ComponentId,
        wanted: impl Fn(&semver::Version) -> bool,
    ) -> Option<semver::Version> {
        let of_releases = policy.lines.releases().iter().filter_map(|release| release.components.get(&component));
        let of_releases = of_releases.map(|listed| &listed.version);
        let of_record = self.needs.iter().filter(|need| need.component == component);
        let versions = of_releases.chain(of_record.filter_map(|need| need.version.known()));
        let is_accepted = |version: &&semver::Version| {
            let version = Version::Known((*version).clone());
            let asked = Asked { component, version: &version, stated: None, image: None };
            match self.needed(policy, &asked) {
                Needed::At { revision, .. } => standing(self, &revision).is_accepted(),
                Needed::Untold | Needed::Disputed(_) => false,
            }
        };
        let safe = versions.filter(|version| wanted(version)).filter(is_accepted);
        safe.max_by(|a, b| a.cmp_precedence(b)).cloned()
    }
}

/// How the database stands to the revision `wanted`: what design section 3 makes `UG-SCHEMA` of.
///
/// It is ahead when the revision is among those before the one that it notes; then every revision that it has, and that
/// does not belong to the one that is wanted, counts: through all the branches that were merged on the way.
#[must_use]
pub fn standing(schema: &Schema, wanted: &str) -> Standing {
    let heads = match &schema.at {
        Ok(heads) => heads,
        Err(why) => return Standing::Unknown(why.clone()),
    };
    let at = match heads.as_slice() {
        // Every revision comes after none.
        [] => return Standing::Behind,
        [only] => only.as_str(),
        _ => return Standing::Several,
    };
    if at == wanted {
        return Standing::Same;
    }
    let (has, belongs) = (schema.ancestors(at), schema.ancestors(wanted));
    if has.contains(wanted) {
        return ahead(schema, has.difference(&belongs).copied());
    }
    if belongs.contains(at) {
        return Standing::Behind;
    }
    let is_recorded = |revision: &&str| schema.known.contains_key(*revision);
    Standing::Unknown(if has.iter().chain(&belongs).all(is_recorded) {
        format!("the database is at {at}, which is neither before nor after {wanted}")
    } else {
        format!("the database is at {at}, and no record says whether that is before or after {wanted}")
    })
}

/// How it stands when it has these revisions more than are needed.
fn ahead<'a>(schema: &Schema, more: impl Iterator<Item = &'a str>) -> Standing {
    let mut against = Against::default();
    for revision in more {
        match schema.known.get(revision).map_or(Nature::Unknown, |recorded| recorded.nature) {
            Nature::Additive => {}
            Nature::Unknown => _ = against.unknown.insert(revision.to_owned()),
            Nature::Breaking => _ = against.breaking.insert(revision.to_owned()),
        }
    }
    if against == Against::default() { Standing::AheadAdditive } else { Standing::AheadBreaking(against) }
}

#[cfg(test)]
mod tests;
