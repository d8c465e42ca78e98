use std::collections::BTreeMap;

use super::*;

fn object(kind: Kind, key: &str, name: &str, facts: &[(&str, &str)]) -> Object {
    let facts: BTreeMap<_, _> = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (key, name) = (key.to_owned(), name.to_owned());
    Object { kind, key, parent: None, full: name.clone(), name, facts, links: BTreeMap::new() }
}

/// What changes and has no rule is told, of whatever kind it is.
#[test]
fn nothing_changes_in_silence() {
    let kinds = [
        Kind::Schema,
        Kind::Extension,
        Kind::Table,
        Kind::View,
        Kind::MaterializedView,
        Kind::Sequence,
        Kind::Composite,
        Kind::Column,
        Kind::Constraint,
        Kind::Index,
        Kind::Trigger,
        Kind::Rule,
        Kind::Policy,
        Kind::Enum,
        Kind::Domain,
        Kind::Type,
        Kind::Function,
        Kind::Right,
        Kind::DefaultRight,
        Kind::Role,
        Kind::Member,
        Kind::Setting,
        Kind::Other,
    ];
    for kind in kinds {
        let look = |value| Catalog::new("1 d".to_owned(), vec![object(kind, "k1", "x", &[("shape", value)])]);
        let (before, after) = (look("round"), look("square"));
        let found: Vec<Check> = compare(&before, &before, &after, None).iter().map(|found| found.check).collect();
        assert_eq!(found, [Check::Unhandled], "{kind:?}");
        assert_ne!(before.digest(), after.digest());
        assert_eq!(compare(&before, &before, &before, None), []);
    }
}
