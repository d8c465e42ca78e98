//! What the hook recorded on a `Platform`, as the rules see it.

use crate::api::{PlatformPreparation, PreparationOutcome};
use crate::domain::policy::Policy;
use crate::domain::preparation::Preparation;
use crate::domain::version::Version;

/// `recorded` in the terms of `policy`; components that it does not have are passed over.
#[must_use]
pub fn preparation(policy: &Policy, recorded: &PlatformPreparation) -> Preparation {
    let versions = recorded.components.iter().filter_map(|component| {
        let version = Version::read(&component.version);
        // What cannot be read is no version that anything could be prepared for.
        version.known()?;
        Some((policy.component_named(&component.name)?, version))
    });
    let found = recorded.preconditions.iter().map(|found| {
        let why = (!found.held).then(|| found.message.clone());
        (found.name.clone(), why)
    });
    Preparation {
        target: recorded.target.clone(),
        versions: versions.collect(),
        ended: recorded.ended.as_ref().map(|ended| ended.0),
        prepared: recorded.outcome == PreparationOutcome::Prepared,
        preconditions: found.collect(),
        crds: recorded.crds.iter().map(|crd| (crd.name.clone(), crd.content.clone())).collect(),
    }
}
