use proptest::prelude::*;

use super::*;
use crate::domain::line::{Lines, Listed};
use crate::domain::policy::{Component, PolicyParts};

const API: ComponentId = ComponentId(0);

fn additive(down: &[&str]) -> Recorded {
    recorded(down, Nature::Additive)
}

fn recorded(down: &[&str], nature: Nature) -> Recorded {
    Recorded { down: down.iter().map(ToString::to_string).collect(), nature }
}

/// `r1 <- r2 <- r3 (breaking) <- m`, and `r2 <- s3 <- m`: two branches and their merge; after it `r5`, of which nobody
/// knows the nature, and `r6`.
fn known() -> BTreeMap<String, Recorded> {
    let all = [
        ("r1", additive(&[])),
        ("r2", additive(&["r1"])),
        ("r3", recorded(&["r2"], Nature::Breaking)),
        ("s3", additive(&["r2"])),
        ("m", additive(&["r3", "s3"])),
        ("r5", recorded(&["m"], Nature::Unknown)),
        ("r6", additive(&["r5"])),
    ];
    all.into_iter().map(|(revision, recorded)| (revision.to_owned(), recorded)).collect()
}

fn at(heads: &[&str]) -> Schema {
    let heads = heads.iter().map(ToString::to_string).collect();
    Schema { at: Ok(heads), known: known(), ..Schema::unread("") }
}

fn against(breaking: &[&str], unknown: &[&str]) -> Standing {
    let all = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Standing::AheadBreaking(Against { breaking: all(breaking), unknown: all(unknown) })
}

#[test]
fn a_database_stands_to_a_revision_by_the_graph() {
    use Standing::{AheadAdditive, Behind, Same, Several};
    let unrelated = |at: &str, wanted: &str| {
        Standing::Unknown(format!("the database is at {at}, which is neither before nor after {wanted}"))
    };
    let untold = |at: &str, wanted: &str| {
        Standing::Unknown(format!(
            "the database is at {at}, and no record says whether that is before or after {wanted}"
        ))
    };
    for (heads, wanted, expected) in [
        (&["r2"][..], "r2", Same),
        (&["not-recorded"], "not-recorded", Same),
        (&[], "r1", Behind),
        (&["r1"], "r2", Behind),
        (&["s3"], "m", Behind),
        (&["r2"], "r1", AheadAdditive),
        (&["s3"], "r1", AheadAdditive),
        (&["r3"], "r2", against(&["r3"], &[])),
        // The other branch of a merge counts.
        (&["m"], "s3", against(&["r3"], &[])),
        (&["m"], "r3", AheadAdditive),
        (&["m"], "r2", against(&["r3"], &[])),
        (&["r6"], "m", against(&[], &["r5"])),
        (&["r6"], "r2", against(&["r3"], &["r5"])),
        (&["r6"], "r5", AheadAdditive),
        (&["r3"], "s3", unrelated("r3", "s3")),
        (&["r6"], "x", untold("r6", "x")),
        (&["x"], "r6", untold("x", "r6")),
        (&["r3", "s3"], "r3", Several),
        (&["r3", "s3"], "m", Several),
    ] {
        assert_eq!(standing(&at(heads), wanted), expected, "at {heads:?}, wanted {wanted}");
    }
    let unread = Schema { known: known(), ..Schema::unread("no answer") };
    assert_eq!(standing(&unread, "r1"), Standing::Unknown("no answer".to_owned()));
}

#[test]
fn what_the_record_lost_is_not_taken_for_additive() {
    let mut schema = at(&["m"]);
    schema.known.remove("s3");
    assert_eq!(standing(&schema, "r3"), against(&[], &["s3"]));
    // Beyond what is recorded nothing can be told.
    let mut schema = at(&["r2"]);
    schema.known.remove("r2");
    assert!(matches!(standing(&schema, "r1"), Standing::Unknown(_)));
}

#[test]
fn the_first_of_several_are_those_that_come_after_none_of_them() {
    let first = |names: &[&str]| {
        let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        at(&[]).first(&names).join(" ")
    };
    assert_eq!(first(&["r6", "r3", "m"]), "r3");
    assert_eq!(first(&["r3", "s3", "m"]), "r3 s3");
    assert_eq!(first(&["x", "r2"]), "r2 x");
}

/// Releases 1, 2 and 3 with the api at 2.1.0, 2.2.0 and 2.2.0, at these revisions.
fn policy(revisions: [Option<&str>; 3]) -> Policy {
    let parts =
        PolicyParts { min_replicas: 1, ..PolicyParts::new("p", vec![Component::named("api"), Component::named("ui")]) };
    let mut policy = Policy::new(parts).unwrap();
    let release = |(name, version, revision): (&str, &str, Option<&str>)| {
        let version = version.parse().unwrap();
        let listed = Listed { version, tags: vec![], digests: vec![], needs: BTreeMap::new() };
        Release {
            name: name.to_owned(),
            components: BTreeMap::from([(API, listed)]),
            revision: revision.map(str::to_owned),
            ..Release::default()
        }
    };
    let [one, two, three] = revisions;
    policy.lines = Lines::new([("1", "2.1.0", one), ("2", "2.2.0", two), ("3", "2.2.0", three)].map(release).into());
    policy
}

fn need(component: usize, version: &str, image: Option<&str>, revision: &str) -> Need {
    Need {
        component: ComponentId(component),
        version: Version::read(version),
        image: image.map(str::to_owned),
        revision: revision.to_owned(),
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn what_a_version_needs_is_what_all_sources_say() {
    let releases = [None, Some("r7"), None];
    let said_twice = [None, Some("r7"), Some("r8")];
    let hook =
        |image: Option<&str>, revision: &str| vec![need(0, "2.2.0", image, revision), need(1, "2.2.0", None, "u1")];
    for (what, releases, needs, version, stated, image, expected) in [
        ("nobody says", [None; 3], vec![], "2.2.0", None, None, "untold"),
        ("of another component", [None; 3], vec![need(1, "2.2.0", None, "u1")], "2.2.0", None, None, "untold"),
        ("of another version", [None; 3], vec![need(0, "2.1.0", None, "r5")], "2.2.0", None, None, "untold"),
        (
            "the template",
            [None; 3],
            vec![],
            "2.2.0",
            Some("r7"),
            None,
            "r7 by annotation guard.gostoa.dev/schema-revision",
        ),
        ("a release", releases, vec![], "2.2.0", None, None, "r7 by PlatformRelease 2"),
        ("the hook", [None; 3], hook(None, "r7"), "2.2.0", None, None, "r7 by recorded by the hook"),
        (
            "the hook, of this image",
            [None; 3],
            hook(Some("sha256:a"), "r7"),
            "2.2.0",
            None,
            Some("sha256:a"),
            "r7 by recorded by the hook",
        ),
        (
            "the hook, of any image",
            [None; 3],
            hook(Some("sha256:a"), "r7"),
            "2.2.0",
            None,
            None,
            "r7 by recorded by the hook",
        ),
        (
            "the hook, of another image",
            [None; 3],
            hook(Some("sha256:a"), "r7"),
            "2.2.0",
            None,
            Some("sha256:b"),
            "untold",
        ),
        (
            "all the same",
            releases,
            hook(None, "r7"),
            "2.2.0",
            Some("r7"),
            None,
            "r7 by annotation guard.gostoa.dev/schema-revision",
        ),
        (
            "release and hook differ",
            releases,
            hook(None, "r8"),
            "2.2.0",
            None,
            None,
            "r7 by PlatformRelease 2 or r8 by recorded by the hook",
        ),
        (
            "template and release differ",
            releases,
            vec![],
            "2.2.0",
            Some("r8"),
            None,
            "r8 by annotation guard.gostoa.dev/schema-revision or r7 by PlatformRelease 2",
        ),
        (
            "releases differ",
            said_twice,
            vec![],
            "2.2.0",
            None,
            None,
            "r7 by PlatformRelease 2 or r8 by PlatformRelease 3",
        ),
        ("a patch that is not listed", releases, vec![], "2.2.3", None, None, "r7 by PlatformRelease 2"),
        (
            "a patch of which the hook knows more",
            releases,
            vec![need(0, "2.2.3", None, "r7b")],
            "2.2.3",
            None,
            None,
            "r7b by recorded by the hook",
        ),
        ("a line that no release has", releases, vec![], "2.9.0", None, None, "untold"),
        (
            "a tag that says nothing",
            releases,
            vec![],
            "latest",
            Some("r7"),
            None,
            "r7 by annotation guard.gostoa.dev/schema-revision",
        ),
    ] {
        let schema = Schema { needs, ..Schema::unread("") };
        let version = Version::read(version);
        let asked = Asked { component: API, version: &version, stated, image };
        let said = match schema.needed(&policy(releases), &asked) {
            Needed::Untold => "untold".to_owned(),
            Needed::At { revision, source } => format!("{revision} by {source}"),
            Needed::Disputed(told) => {
                let told: Vec<String> =
                    told.iter().map(|(revision, source)| format!("{revision} by {source}")).collect();
                told.join(" or ")
            }
        };
        assert_eq!(said, expected, "{what}");
    }
}

#[test]
fn a_safe_version_is_the_highest_that_the_database_accepts() {
    let needs = vec![need(0, "2.0.0", None, "r2"), need(0, "2.3.0", None, "r6"), need(0, "2.4.0", None, "x")];
    let schema = Schema { needs, ..at(&["r6"]) };
    let safe = |limit: &str| {
        let limit: semver::Version = limit.parse().unwrap();
        let safe = schema.safe_version(&policy([Some("r1"), Some("r5"), None]), API, |version| *version < limit);
        safe.map(|version| version.to_string())
    };
    assert_eq!(safe("9.0.0").as_deref(), Some("2.3.0"));
    assert_eq!(safe("2.3.0").as_deref(), Some("2.2.0"));
    assert_eq!(safe("2.2.0"), None, "what is below came before a breaking revision");
}

/// A graph in which each revision comes after some with smaller numbers.
#[derive(Clone, Debug)]
struct Any {
    down: Vec<Vec<usize>>,
    natures: Vec<Nature>,
    /// Whether the record has it.
    kept: Vec<bool>,
}

const MOST: usize = 9;

fn any() -> impl Strategy<Value = Any> {
    let nature = prop_oneof![3 => Just(Nature::Additive), 1 => Just(Nature::Unknown), 1 => Just(Nature::Breaking)];
    (1..MOST).prop_flat_map(move |count| {
        let down = (0..count).map(|of| prop::collection::btree_set(0..of.max(1), 0..=of.min(3)));
        let down = down.collect::<Vec<_>>().prop_map(|all| {
            let numbered = all.into_iter().enumerate();
            numbered.map(|(of, down)| down.into_iter().filter(|other| *other < of).collect()).collect()
        });
        let natures = prop::collection::vec(nature.clone(), count);
        let kept = prop::collection::vec(prop::bool::weighted(0.9), count);
        (down, natures, kept).prop_map(|(down, natures, kept)| Any { down, natures, kept })
    })
}

impl Any {
    fn schema(&self, at: usize) -> Schema {
        let name = |of: &usize| format!("r{of}");
        let known = (0..self.down.len()).filter(|of| self.kept[*of]).map(|of| {
            (name(&of), Recorded { down: self.down[of].iter().map(name).collect(), nature: self.natures[of] })
        });
        Schema { at: Ok(vec![name(&at)]), known: known.collect(), ..Schema::unread("") }
    }

    /// Who comes before whom, or is it, as far as the record has it: by squaring until nothing changes.
    #[allow(clippy::needless_range_loop, reason = "a matrix is read by its indexes")]
    fn before(&self) -> Vec<Vec<bool>> {
        let count = self.down.len();
        let mut is = vec![vec![false; count]; count];
        for of in 0..count {
            is[of][of] = true;
            for down in self.down[of].iter().filter(|_| self.kept[of]) {
                is[of][*down] = true;
            }
        }
        for middle in 0..count {
            for of in 0..count {
                for to in 0..count {
                    is[of][to] |= is[of][middle] && is[middle][to];
                }
            }
        }
        is
    }
}

proptest! {
    #[test]
    fn the_standing_is_what_all_pairs_say(graph in any(), at in 0..MOST, wanted in 0..MOST) {
        let count = graph.down.len();
        let (at, wanted) = (at % count, wanted % count);
        let is = graph.before();
        let found = standing(&graph.schema(at), &format!("r{wanted}"));
        let more = |nature: Nature| -> BTreeSet<String> {
            let of = |one: usize| if graph.kept[one] { graph.natures[one] } else { Nature::Unknown };
            let more = (0..count).filter(|one| is[at][*one] && !is[wanted][*one] && of(*one) == nature);
            more.map(|one| format!("r{one}")).collect()
        };
        if at == wanted {
            prop_assert_eq!(found, Standing::Same);
        } else if is[at][wanted] {
            let against = Against { breaking: more(Nature::Breaking), unknown: more(Nature::Unknown) };
            let fine = against == Against::default();
            prop_assert_eq!(found, if fine { Standing::AheadAdditive } else { Standing::AheadBreaking(against) });
        } else if is[wanted][at] {
            prop_assert_eq!(found, Standing::Behind);
        } else {
            prop_assert!(matches!(found, Standing::Unknown(_)), "{:?}", found);
        }
    }

    /// What a database accepts it goes on to accept after additive revisions, and what it refuses, it refuses after any.
    #[test]
    fn an_additive_revision_changes_nothing(graph in any(), wanted in 0..MOST) {
        let last = graph.down.len() - 1;
        let wanted = format!("r{}", wanted % graph.down.len());
        let mut schema = graph.schema(last);
        let before = standing(&schema, &wanted);
        schema.known.insert("next".to_owned(), additive(&[&format!("r{last}")]));
        schema.at = Ok(vec!["next".to_owned()]);
        let after = standing(&schema, &wanted);
        match before {
            Standing::Same | Standing::AheadAdditive => prop_assert_eq!(after, Standing::AheadAdditive),
            Standing::AheadBreaking(_) => prop_assert_eq!(after, before),
            _ => prop_assert!(!after.is_accepted(), "{:?} then {:?}", before, after),
        }
    }
}
