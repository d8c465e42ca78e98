//! What can be wrong between the components of a policy.

use super::policy::{Component, ComponentId, Problem, closure};

/// All problems between `components`, each with its field path.
pub(super) fn problems(components: &[Component]) -> Vec<Problem> {
    let mut problems = overlaps(components);
    problems.extend(cycle(
        components,
        |id| components[id.0].after.clone(),
        "after",
        "is a cycle: nothing in it could ever be upgraded first. Remove one of the entries",
    ));
    if problems.is_empty() {
        problems.extend(deadlock(components));
    }
    problems
}

/// Two components that claim the same image, label set or name.
fn overlaps(components: &[Component]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, component) in components.iter().enumerate() {
        for (earlier_index, earlier) in components[..index].iter().enumerate() {
            let mut clash = |field: String, what: String| {
                let message = format!(
                    "{what} is already matched by '{}' (spec.components[{earlier_index}]). A workload belongs to one \
                     component: remove it from one of them",
                    earlier.name
                );
                problems.push(Problem::new(format!("spec.components[{index}].match.{field}"), message));
            };
            for (position, image) in component.matcher.images.iter().enumerate() {
                if earlier.matcher.images.iter().any(|other| same_images(image, other)) {
                    clash(format!("images[{position}]"), format!("image '{image}'"));
                }
            }
            for (position, name) in component.matcher.names.iter().enumerate() {
                if earlier.matcher.names.contains(name) {
                    clash(format!("names[{position}]"), format!("name '{name}'"));
                }
            }
            if !component.matcher.labels.is_empty() && component.matcher.labels == earlier.matcher.labels {
                clash("labels".to_owned(), "this label set".to_owned());
            }
        }
    }
    problems
}

/// Whether some repository fits both patterns.
fn same_images(a: &str, b: &str) -> bool {
    use super::image::ImageRef;
    match (a.strip_prefix("*/"), b.strip_prefix("*/")) {
        (Some(a), Some(b)) => a == b || a.ends_with(&format!("/{b}")) || b.ends_with(&format!("/{a}")),
        (Some(_), None) => ImageRef::parse(b).is_from(a),
        (None, _) => ImageRef::parse(a).is_from(b),
    }
}

/// Windows that contradict the order: with `behind: 0` the peer cannot move first, with `ahead: 0` (or the order)
/// this component cannot. If such constraints form a cycle no first move is legal, ever.
fn deadlock(components: &[Component]) -> Option<Problem> {
    for (index, component) in components.iter().enumerate() {
        for (position, skew) in component.skew.iter().enumerate() {
            if skew.behind == 0 && skew.ahead == 0 {
                let peer = &components[skew.peer.0].name;
                return Some(Problem::new(
                    format!("spec.components[{index}].skew[{position}]"),
                    format!(
                        "allows '{}' neither behind nor ahead of '{peer}', so neither could ever move first. Set \
                         behind or ahead to 1",
                        component.name
                    ),
                ));
            }
        }
    }
    cycle(
        components,
        |id| movers_before(components, id),
        "skew",
        "is a cycle of 'must move first': the windows and the order leave no legal first move. Allow one of them to \
         be behind or ahead by 1",
    )
}

/// The components that have to move up before `id` can.
fn movers_before(components: &[Component], id: ComponentId) -> Vec<ComponentId> {
    let component = &components[id.0];
    let ahead_of = |peer: ComponentId| component.skew.iter().find(|skew| skew.peer == peer).map_or(0, |s| s.ahead);
    let ordered = closure(components, id).into_iter().filter(|peer| ahead_of(*peer) == 0);
    let windowed = component.skew.iter().filter(|skew| skew.ahead == 0).map(|skew| skew.peer);
    let lagging = (0..components.len())
        .map(ComponentId)
        .filter(|other| components[other.0].skew.iter().any(|skew| skew.peer == id && skew.behind == 0));
    ordered.chain(windowed).chain(lagging).collect()
}

/// The first cycle over `edges`, told at the component where it was met.
fn cycle(
    components: &[Component],
    edges: impl Fn(ComponentId) -> Vec<ComponentId>,
    field: &str,
    explanation: &str,
) -> Option<Problem> {
    let mut done = vec![false; components.len()];
    for start in 0..components.len() {
        let mut path = Vec::new();
        if let Some(found) = walk(ComponentId(start), &edges, &mut done, &mut path) {
            let names: Vec<&str> = found.iter().map(|id| components[id.0].name.as_str()).collect();
            let at = found.first().map_or(start, |id| id.0);
            let message = format!("{} {explanation}", names.join(" -> "));
            return Some(Problem::new(format!("spec.components[{at}].{field}"), message));
        }
    }
    None
}

/// Depth-first search; returns the nodes of the first cycle, the first one repeated at the end.
fn walk(
    node: ComponentId,
    edges: &impl Fn(ComponentId) -> Vec<ComponentId>,
    done: &mut [bool],
    path: &mut Vec<ComponentId>,
) -> Option<Vec<ComponentId>> {
    if let Some(position) = path.iter().position(|seen| *seen == node) {
        let mut found = path[position..].to_vec();
        found.push(node);
        return Some(found);
    }
    if done[node.0] {
        return None;
    }
    path.push(node);
    let found = edges(node).into_iter().find_map(|next| walk(next, edges, done, path));
    path.pop();
    done[node.0] = true;
    found
}
