//! From watches into the index.

use kube::core::ApiResource;

use super::{Kind, Sink};
use crate::api::{PlatformRelease, UpgradePolicy};
use crate::cluster::feed::{Feed, Source, stripped};
use crate::cluster::index::{Listed, ObjectKey, ObjectProblem, SharedIndex};

impl From<Source> for Kind {
    fn from(source: Source) -> Self {
        Self { plural: source.as_str(), group: source.group() }
    }
}

/// The objects of governed namespaces.
pub(super) struct Namespaced<F>(pub F);

impl<F: Feed> Sink for Namespaced<F> {
    type Object = F::Object;
    type Record = F::Record;

    fn kind(&self) -> Kind {
        self.0.source().into()
    }
    fn resource(&self) -> ApiResource {
        self.0.resource()
    }
    fn is_selected(&self) -> bool {
        true
    }
    fn select(&self, index: &SharedIndex, key: &ObjectKey, object: F::Object) -> Option<F::Record> {
        index.select(self.0, &key.namespace, object)
    }
    fn apply(&self, index: &SharedIndex, key: &ObjectKey, object: F::Object) -> Vec<ObjectProblem> {
        index.apply(self.0, key, object);
        vec![]
    }
    fn unreadable(&self, _: &SharedIndex, key: ObjectKey, message: String) -> Vec<ObjectProblem> {
        vec![ObjectProblem { source: self.0.source(), key, message }]
    }
    fn delete(&self, index: &SharedIndex, key: &ObjectKey) -> Vec<ObjectProblem> {
        index.remove(self.0, key);
        vec![]
    }
    fn reset(&self, index: &SharedIndex, generation: u64, listed: Listed<F::Record>) -> Option<Vec<ObjectProblem>> {
        let source = self.0.source();
        let problem = |(key, message): (&ObjectKey, &String)| ObjectProblem {
            source,
            key: key.clone(),
            message: message.clone(),
        };
        let problems = listed.unreadable.iter().map(problem).collect();
        index.write(|index| index.reset(self.0, generation, listed)).then_some(problems)
    }
}

/// The policies.
pub(super) struct Policies;

impl Sink for Policies {
    type Object = UpgradePolicy;
    type Record = UpgradePolicy;

    fn kind(&self) -> Kind {
        Source::Policies.into()
    }
    fn resource(&self) -> ApiResource {
        ApiResource::erase::<UpgradePolicy>(&())
    }
    fn is_selected(&self) -> bool {
        false
    }
    fn select(&self, _: &SharedIndex, _: &ObjectKey, policy: UpgradePolicy) -> Option<UpgradePolicy> {
        Some(stripped(policy))
    }
    fn apply(&self, index: &SharedIndex, _: &ObjectKey, policy: UpgradePolicy) -> Vec<ObjectProblem> {
        index.write(|index| index.put_policy(&policy))
    }
    fn unreadable(&self, index: &SharedIndex, key: ObjectKey, message: String) -> Vec<ObjectProblem> {
        index.write(|index| index.unreadable(Source::Policies, &key.name, &message))
    }
    fn delete(&self, index: &SharedIndex, key: &ObjectKey) -> Vec<ObjectProblem> {
        index.write(|index| index.remove_policy(&key.name))
    }
    fn reset(&self, index: &SharedIndex, _: u64, listed: Listed<UpgradePolicy>) -> Option<Vec<ObjectProblem>> {
        Some(index.write(|index| index.reset_policies(listed)))
    }
}

/// The releases.
pub(super) struct Releases;

impl Sink for Releases {
    type Object = PlatformRelease;
    type Record = PlatformRelease;

    fn kind(&self) -> Kind {
        Source::Releases.into()
    }
    fn resource(&self) -> ApiResource {
        ApiResource::erase::<PlatformRelease>(&())
    }
    fn is_selected(&self) -> bool {
        false
    }
    fn select(&self, _: &SharedIndex, _: &ObjectKey, release: PlatformRelease) -> Option<PlatformRelease> {
        Some(stripped(release))
    }
    fn apply(&self, index: &SharedIndex, _: &ObjectKey, release: PlatformRelease) -> Vec<ObjectProblem> {
        index.write(|index| index.put_release(release))
    }
    fn unreadable(&self, index: &SharedIndex, key: ObjectKey, message: String) -> Vec<ObjectProblem> {
        index.write(|index| index.unreadable(Source::Releases, &key.name, &message))
    }
    fn delete(&self, index: &SharedIndex, key: &ObjectKey) -> Vec<ObjectProblem> {
        index.write(|index| index.remove_release(&key.name))
    }
    fn reset(&self, index: &SharedIndex, _: u64, listed: Listed<PlatformRelease>) -> Option<Vec<ObjectProblem>> {
        Some(index.write(|index| index.reset_releases(listed)))
    }
}
