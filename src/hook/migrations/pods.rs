//! What has to run, or must not run any more, before a revision.

use jiff::Timestamp;

use crate::api::{Phase, RevisionSpec};
use crate::domain::policy::Policy;
use crate::domain::version::parse;
use crate::domain::view::View;
use crate::hook::presync::target::Target;
use crate::hook::wait::{ComponentNeed, Need, State, component};

/// Whether a revision may run now, by the pods that run: `needs` are met by all of them, and before one that contracts
/// nothing runs of a version before the target's.
///
/// # Errors
/// Why it has to wait.
pub fn may(policy: &Policy, view: &View, target: &Target, spec: &RevisionSpec, now: Timestamp) -> Result<(), String> {
    for need in &spec.needs {
        let least = parse(&need.version).ok_or_else(|| format!("'{}' is no version", need.version))?;
        let need = component(policy, view, &ComponentNeed { name: need.component.clone(), least });
        met(&need)?;
    }
    if spec.phase != Some(Phase::Contract) {
        return Ok(());
    }
    let with_database = policy.ids().filter(|id| policy.component(*id).uses_database);
    for id in with_database {
        let name = &policy.component(id).name;
        let Some(version) = target.versions.get(&id) else {
            return Err(format!("it takes away what {name} may use, whose version the target does not say"));
        };
        // What is asked for and does not run yet may run any moment.
        let before = view.component(id).live(now).find(|live| live.known().is_none() || *live < version);
        if let Some(before) = before {
            return Err(format!("it takes away what versions before {name} {version} use, and {before} runs"));
        }
    }
    Ok(())
}

/// As [`may`], where no cluster can be asked.
///
/// # Errors
/// Why it has to wait.
pub fn unseen(spec: &RevisionSpec) -> Result<(), String> {
    if spec.needs.is_empty() && spec.phase != Some(Phase::Contract) {
        return Ok(());
    }
    Err("which pods run cannot be told without the cluster".to_owned())
}

fn met(need: &Need) -> Result<(), String> {
    if need.state == State::Met { Ok(()) } else { Err(format!("it waits for {need}")) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::NeedSpec;
    use crate::cluster::testing::mk_policy;
    use crate::domain::policy::ComponentId;
    use crate::domain::version::Version;
    use crate::domain::view::{Rollout, WorkloadId, WorkloadView};

    fn policy() -> Policy {
        let mut policy = Policy::try_from(&mk_policy("p", &["ns"], &[("api", "x/api"), ("ui", "x/ui")])).unwrap();
        policy.components[0].uses_database = true;
        policy
    }

    /// An api that runs and asks for these.
    fn view(running: &[&str], desired: &str) -> View {
        let mut view = View::empty(&policy());
        view.components[0].workloads.push(WorkloadView {
            id: WorkloadId { kind: "Deployment".to_owned(), name: "any".to_owned() },
            running: running.iter().map(|version| (Version::read(version), 1)).collect(),
            desired: vec![Version::read(desired)],
            rollout: Rollout::Settled,
        });
        view
    }

    #[test]
    fn what_takes_away_waits_for_the_last_pod_that_uses_it() {
        let versions = BTreeMap::from([(ComponentId(0), Version::read("2.3.0"))]);
        let target = Target { name: "r".to_owned(), versions };
        let elsewhere = Target { versions: BTreeMap::new(), ..target.clone() };
        let contract = RevisionSpec { phase: Some(Phase::Contract), ..RevisionSpec::default() };
        let need = NeedSpec { component: "api".to_owned(), version: "2.2.0".to_owned() };
        let needs = RevisionSpec { needs: vec![need], ..RevisionSpec::default() };
        for (spec, target, running, desired, why) in [
            (&contract, &target, &["2.3.0"][..], "2.3.0", None),
            (&contract, &target, &["2.3.1", "2.3.0"], "2.3.1", None),
            (&contract, &target, &[], "2.3.0", None),
            (&contract, &target, &["2.3.0", "2.2.0"], "2.3.0", Some("and 2.2.0 runs")),
            (&contract, &target, &["2.2.0"], "2.2.0", Some("and 2.2.0 runs")),
            (&contract, &target, &["2.3.0"], "2.2.0", Some("and 2.2.0 runs")),
            (&contract, &target, &["latest"], "2.3.0", Some("and latest runs")),
            (&contract, &elsewhere, &["2.3.0"], "2.3.0", Some("whose version the target does not say")),
            (&needs, &target, &["2.2.0"], "2.2.0", None),
            (&needs, &target, &["2.1.0"], "2.1.0", Some("it waits for api 2.2.0 or later")),
            (&RevisionSpec::default(), &target, &["2.1.0"], "2.1.0", None),
        ] {
            let found = may(&policy(), &view(running, desired), target, spec, Timestamp::UNIX_EPOCH);
            match (found, why) {
                (Ok(()), None) => {}
                (Err(found), Some(why)) => assert!(found.contains(why), "{found}"),
                (found, why) => panic!("{spec:?} with {running:?}: {found:?}, and not {why:?}"),
            }
        }
        assert!(unseen(&contract).is_err() && unseen(&needs).is_err() && unseen(&RevisionSpec::default()).is_ok());
    }
}
