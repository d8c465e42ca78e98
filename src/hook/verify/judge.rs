//! What was seen, judged: a function of its arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::table::{Check, Row, Standing, Table};
use super::{Schema, Sight, asked};
use crate::cluster::pod::PodState;
use crate::database::revision::Revision;
use crate::domain::policy::ComponentId;
use crate::domain::schema::standing;
use crate::domain::version::Version;
use crate::domain::view::{Missing, Rollout, WorkloadView};
use crate::hook::http::Wrong;

/// What an install should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What people call it; `None` when it should be what its workloads ask for.
    pub target: Option<String>,
    /// The version of each component; of those that are not here nothing is asked. Several are wanted only where
    /// workloads ask for several.
    pub versions: BTreeMap<ComponentId, BTreeSet<Version>>,
    /// The revision of the database's schema.
    pub revision: Option<String>,
}

/// What is known of restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// One look is all there is.
    OneLook,
    /// They are still watched, for so long.
    Watching(Duration),
    /// They were watched.
    Since {
        /// How many there were of each pod, by its uid.
        before: BTreeMap<String, i64>,
        /// For how long.
        watched: Duration,
    },
}

impl Restarts {
    /// Whether any pod was restarted since. A pod that was not there had none.
    #[must_use]
    pub fn rose(&self, pods: &[PodState]) -> bool {
        let Self::Since { before, .. } = self else { return false };
        pods.iter().any(|pod| pod.restarts() > before.get(&pod.uid).copied().unwrap_or(0))
    }
}

/// Judges what was seen: every check, whatever the others say.
#[must_use]
pub fn judge(sight: &Sight, restarts: &Restarts) -> Table {
    let mut rows = Vec::new();
    for (id, wanted) in &sight.wanted.versions {
        let mut add = |check, (standing, found)| {
            let of = sight.policy.component(*id).name.clone();
            rows.push(Row { of, check, standing, found });
        };
        add(Check::Version, version(sight, *id, wanted));
        if !sight.view.component(*id).workloads.is_empty() {
            let pods = pods_of(sight, *id);
            add(Check::Rollout, rollout(sight, *id));
            add(Check::Pods, health(&pods));
            add(Check::Restarts, restarted(&pods, restarts));
        }
    }
    rows.extend(sight.http.iter().map(|checked| {
        let (standing, found) = match &checked.found {
            Ok(found) => (Standing::Holds, found.clone()),
            Err(Wrong::Answer(found)) => (Standing::Fails, found.clone()),
            Err(Wrong::Asking(found)) => (Standing::Unknown, found.clone()),
        };
        Row { of: checked.name.clone(), check: Check::Http, standing, found }
    }));
    rows.extend(schema(sight).map(|(standing, found)| Row {
        of: "database".to_owned(),
        check: Check::Schema,
        standing,
        found,
    }));
    if rows.is_empty() {
        // Nothing that was looked at is nothing that is fine.
        let found = "the policy finds no workload here: is this the right namespace?".to_owned();
        rows.push(Row { of: "install".to_owned(), check: Check::Version, standing: Standing::Unknown, found });
    }
    Table(rows)
}

type Found = (Standing, String);

fn listed<'a>(versions: impl IntoIterator<Item = &'a Version>) -> String {
    versions.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn version(sight: &Sight, id: ComponentId, wanted: &BTreeSet<Version>) -> Found {
    let component = sight.view.component(id);
    let name = &sight.policy.component(id).name;
    let running = component.running();
    let runs: BTreeSet<&Version> = running.iter().filter(|(_, pods)| **pods > 0).map(|(version, _)| *version).collect();
    let asks = asked(&sight.view, id);
    let described = component.describe();
    if component.workloads.is_empty() {
        return (
            Standing::Fails,
            format!("wanted {}, and no workload of it is here; if that is right: --without {name}", listed(wanted)),
        );
    }
    if let Some(unread) = runs.iter().chain(&asks).find(|version| version.known().is_none()) {
        return (Standing::Unknown, format!("nothing tells which version '{unread}' is: {described}"));
    }
    let wanted: BTreeSet<&Version> = wanted.iter().collect();
    if runs == wanted && asks == wanted {
        return (Standing::Holds, described);
    }
    // What is not even asked for does not come by waiting.
    if asks == wanted {
        (Standing::Fails, format!("wanted {}: {described}", listed(wanted)))
    } else {
        (Standing::Fails, format!("wanted {}, asked for {}: {described}", listed(wanted), listed(asks)))
    }
}

fn rollout(sight: &Sight, id: ComponentId) -> Found {
    let component = sight.view.component(id);
    let several = component.workloads.len() > 1;
    let missing = |workload: &WorkloadView| match &workload.rollout {
        Rollout::Settled => None,
        Rollout::Progressing(missing) if several => Some(format!("{}: {missing}", workload.id)),
        Rollout::Progressing(missing) => Some(missing.to_string()),
    };
    let open: Vec<String> = component.workloads.iter().filter_map(missing).collect();
    if !open.is_empty() {
        return (Standing::Fails, open.join("; "));
    }
    match component.intents.first() {
        Some(intent) => (Standing::Fails, format!("its move to {} is admitted and not complete", intent.version)),
        None => (Standing::Holds, "complete".to_owned()),
    }
}

fn pods_of(sight: &Sight, id: ComponentId) -> Vec<&PodState> {
    let workloads: BTreeSet<_> = sight.view.component(id).workloads.iter().map(|workload| &workload.id).collect();
    let own = |pod: &&PodState| pod.owner.as_ref().is_some_and(|owner| workloads.contains(owner));
    sight.pods.iter().filter(own).collect()
}

fn health(pods: &[&PodState]) -> Found {
    let mut troubles: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for container in pods.iter().flat_map(|pod| &pod.containers) {
        if let Some(trouble) = &container.trouble {
            *troubles.entry((&container.name, trouble)).or_default() += 1;
        }
    }
    let told: Vec<String> =
        troubles.iter().map(|((name, trouble), count)| format!("{name} {trouble} in {count}")).collect();
    let ready = pods.iter().filter(|pod| pod.ready).count();
    let all = pods.len();
    if all == 0 {
        return (Standing::Fails, "no pod of it is there".to_owned());
    }
    let unit = if all == 1 { "pod" } else { "pods" };
    match (ready == all, told.is_empty()) {
        (true, true) => (Standing::Holds, format!("{ready} of {all} {unit} ready")),
        (_, true) => (Standing::Fails, format!("{ready} of {all} {unit} ready")),
        (_, false) => (Standing::Fails, format!("{ready} of {all} {unit} ready: {}", told.join(", "))),
    }
}

fn restarted(pods: &[&PodState], restarts: &Restarts) -> Found {
    let total: i64 = pods.iter().map(|pod| pod.restarts()).sum();
    let so_far = if total == 1 { "1 restart".to_owned() } else { format!("{total} restarts") };
    match restarts {
        Restarts::OneLook => (Standing::Holds, format!("{so_far} so far, not watched")),
        // No number: what is told changes only when something happens.
        Restarts::Watching(_) => (Standing::Unknown, "not watched for long enough yet".to_owned()),
        Restarts::Since { before, watched } => {
            let had = |pod: &&PodState| before.get(&pod.uid).copied().unwrap_or(0);
            let rose: i64 = pods.iter().map(|pod| (pod.restarts() - had(pod)).max(0)).sum();
            let seconds = watched.as_secs_f32();
            if rose == 0 {
                (Standing::Holds, format!("{so_far}, none in {seconds} s"))
            } else {
                (Standing::Fails, format!("{so_far}, {rose} in {seconds} s"))
            }
        }
    }
}

fn schema(sight: &Sight) -> Option<Found> {
    let wanted = sight.wanted.revision.as_deref()?;
    Some(match &sight.schema {
        Schema::NotWanted => return None,
        Schema::Skipped => (Standing::Holds, format!("wanted {wanted}, not looked at as was asked for")),
        Schema::NotLooked(why) => (Standing::Unknown, format!("wanted {wanted}, not looked at: {why}")),
        Schema::Read(Ok(Revision::One(found))) if found == wanted => (Standing::Holds, format!("at {found}")),
        Schema::Read(Ok(revision)) if is_ahead(sight, revision, wanted) => {
            (Standing::Holds, format!("wanted {wanted}: {revision}, ahead by revisions that only add"))
        }
        Schema::Read(Ok(revision)) => (Standing::Fails, format!("wanted {wanted}: {revision}")),
        Schema::Read(Err(error)) => (Standing::Unknown, format!("wanted {wanted}: {error}")),
    })
}

/// Whether the record knows all that the database has more as additive: as after a way back.
fn is_ahead(sight: &Sight, revision: &Revision, wanted: &str) -> bool {
    let known = sight.view.schema.as_ref();
    known.is_some_and(|known| standing(&known.read_as(revision.heads()), wanted).is_accepted())
}

impl WorkloadView {
    /// The versions that the guard holds it back from, where it does.
    pub(super) fn held_from(&self) -> Option<&Vec<Version>> {
        match &self.rollout {
            Rollout::Progressing(Missing::Held(to)) => Some(to),
            _ => None,
        }
    }
}
