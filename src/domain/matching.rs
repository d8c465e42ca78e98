//! Which containers of a workload are which component: by image first, then by label, then by name.

use std::collections::BTreeMap;

use super::image::ImageRef;
use super::policy::{ComponentId, Policy};

/// A container's name and image, as far as matching cares.
pub trait ContainerLike {
    /// The container's name.
    fn name(&self) -> &str;
    /// Its image reference.
    fn image(&self) -> &str;
}

/// The governed containers of a workload: for each its component and its position in `containers`.
///
/// A container whose image is of a component's repository is that component, whatever the workload is called: a
/// sidecar counts. A component that finds none that way is looked for by the workload's labels, then by its name;
/// then it is the container that bears the component's or the workload's name, or the first one that is nobody's.
#[must_use]
pub fn governed<C: ContainerLike>(
    policy: &Policy,
    workload: &str,
    labels: &BTreeMap<String, String>,
    containers: &[C],
) -> Vec<(ComponentId, usize)> {
    let mut found: Vec<(ComponentId, usize)> = Vec::new();
    for (position, container) in containers.iter().enumerate() {
        let image = ImageRef::parse(container.image());
        let component = policy.ids().find(|id| policy.component(*id).matcher.has_image(image));
        found.extend(component.map(|id| (id, position)));
    }
    // An image tells more than a label or a name: a workload with a governed container is what its images say.
    if !found.is_empty() {
        return found;
    }
    let by_workload = policy
        .ids()
        .filter_map(|id| policy.component(id).matcher.has_workload(workload, labels).map(|by| (by, id)))
        .min();
    by_workload
        .and_then(|(_, id)| {
            let own = &policy.component(id).name;
            let named = containers.iter().position(|container| container.name() == own || container.name() == workload);
            let position = named.or_else(|| (!containers.is_empty()).then_some(0))?;
            Some((id, position))
        })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {

    use super::super::policy::{Component, Matcher, PolicyParts};
    use super::*;

    impl ContainerLike for (&str, &str) {
        fn name(&self) -> &str {
            self.0
        }
        fn image(&self) -> &str {
            self.1
        }
    }

    fn policy() -> Policy {
        let component = |name: &str, matcher: Matcher| Component { matcher, ..Component::named(name) };
        Policy::new(PolicyParts::new(
            "p",
            vec![
                component("api", Matcher { images: vec!["ghcr.io/x/api".into()], ..Matcher::default() }),
                component(
                    "gateway",
                    Matcher {
                        images: vec!["ghcr.io/x/gateway".into()],
                        labels: BTreeMap::from([("app".into(), "gateway".into())]),
                        names: vec!["gw".into()],
                    },
                ),
            ],
        ))
        .unwrap()
    }

    #[test]
    fn images_come_first_then_labels_then_names() {
        let app = |name: &str| BTreeMap::from([("app".to_owned(), name.to_owned())]);
        let (api, gateway) = (ComponentId(0), ComponentId(1));
        for (workload, labels, containers, expected) in [
            ("any", app("any"), vec![("a", "ghcr.io/x/api:1")], vec![(api, 0)]),
            ("kong", app("kong"), vec![("kong", "kong:3"), ("sidecar", "ghcr.io/x/gateway:1")], vec![(gateway, 1)]),
            (
                "two",
                app("two"),
                vec![("a", "ghcr.io/x/gateway:1"), ("b", "ghcr.io/x/gateway:2")],
                vec![(gateway, 0), (gateway, 1)],
            ),
            (
                "both",
                app("both"),
                vec![("a", "ghcr.io/x/gateway:1"), ("b", "ghcr.io/x/api:2")],
                vec![(gateway, 0), (api, 1)],
            ),
            ("x", app("gateway"), vec![("c", "mirror/gateway:1")], vec![(gateway, 0)]),
            ("gw", app("x"), vec![("log", "log:1"), ("gw", "mirror/gateway:1")], vec![(gateway, 1)]),
            ("gw", app("x"), vec![("log", "log:1"), ("gateway", "mirror/gateway:1")], vec![(gateway, 1)]),
            ("gw", app("x"), vec![("c", "ghcr.io/x/api:1")], vec![(api, 0)]),
            ("gw", app("x"), vec![], vec![]),
            ("other", app("other"), vec![("c", "nginx")], vec![]),
        ] {
            assert_eq!(governed(&policy(), workload, &labels, &containers), expected, "workload {workload}");
        }
    }
}
