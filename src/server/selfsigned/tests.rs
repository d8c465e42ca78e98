//! The decisions, as rows and as properties.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select;

use super::plan::Reason::{
    Announced, CannotSign, Due, Expired, Foreign, Mismatched, Missing, Names, NotYetValid, Unreadable,
};
use super::plan::Step::{self, Anew, NewLeaf, NextAuthority, Nothing, Restore, SignWithNext, Tidy};
use super::plan::{Wanted, decide};
use super::read::Reading;
use super::{Contents, Lifetimes, issue};
use crate::server::certificates::Pair;
use crate::server::devcert::DevelopmentCertificate;
use crate::server::trust::{certificates, trusted_until};

/// Some moment.
const BEGAN: i64 = 1_700_000_000;
const DAY: i64 = 86_400;
/// No state takes more steps than these to be well.
const MOST_STEPS: usize = 5;

static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| vec!["upgrade-guard.ns.svc".to_owned(), "127.0.0.1".to_owned()]);

fn wanted() -> Wanted<'static> {
    Wanted { names: &NAMES, lifetimes: Lifetimes::DEFAULT }
}

fn made(step: Step, contents: &Contents, remembered: Option<&Contents>, now: i64) -> Contents {
    issue::contents(step, contents, remembered, &wanted(), now).expect("it can be made").expect("something")
}

/// What was made from nothing.
fn fresh(now: i64) -> Contents {
    made(Anew(Missing), &Contents::default(), None, now)
}

fn reading(contents: &Contents, now: i64) -> Reading {
    Reading::of(contents, &wanted(), now)
}

/// A certificate that others made, as if it were in the Secret.
fn foreign() -> Contents {
    let made = DevelopmentCertificate::make(&NAMES, 1).expect("a certificate");
    let [chain, key, bundle] = [made.chain, made.key, made.authority].map(String::into_bytes);
    Contents { chain, key, bundle, ..Contents::default() }
}

fn rubbish() -> Vec<u8> {
    b"-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n".to_vec()
}

struct Case {
    name: &'static str,
    contents: Option<Contents>,
    remembered: Option<Contents>,
    announced: bool,
    now: i64,
    expected: Step,
}

fn check(cases: Vec<Case>) {
    for Case { name, contents, remembered, announced, now, expected } in cases {
        let step = decide(contents.as_ref(), remembered.as_ref(), announced, &wanted(), now);
        assert_eq!(step, expected, "{name}");
    }
}

fn case(name: &'static str, contents: &Contents, now: i64, expected: Step) -> Case {
    Case { name, contents: Some(contents.clone()), remembered: None, announced: false, now, expected }
}

#[test]
fn a_life_without_damage() {
    let began = fresh(BEGAN);
    let late = BEGAN + 244 * DAY;
    let renewed = made(NewLeaf(Due), &began, None, late - DAY);
    let announcing = made(NextAuthority(Due), &renewed, None, late);
    let signed = made(SignWithNext(Announced), &announcing, None, late);
    let end = BEGAN + 365 * DAY;
    let at_the_end = made(NewLeaf(Due), &signed, None, end - 100);
    let near_the_end = made(NewLeaf(Due), &began, None, end - 3 * DAY);
    let tidied = made(Tidy(Expired), &at_the_end, None, end + 3600);
    let announced = |case| Case { announced: true, ..case };
    check(vec![
        Case { contents: None, ..case("no Secret", &began, BEGAN, Anew(Missing)) },
        case("an empty one", &Contents::default(), BEGAN, Anew(Missing)),
        case("just made", &began, BEGAN, Nothing),
        case("four days later", &began, BEGAN + 4 * DAY, Nothing),
        case("after two thirds", &began, BEGAN + 7 * DAY * 2 / 3, NewLeaf(Due)),
        case("nobody was there in time", &began, BEGAN + 7 * DAY, NewLeaf(Expired)),
        case("two thirds of the authority's life", &renewed, late, NextAuthority(Due)),
        case("not announced yet", &announcing, late, Nothing),
        case("a leaf is due meanwhile", &announcing, late + 4 * DAY, NewLeaf(Due)),
        announced(case("announced", &announcing, late, SignWithNext(Announced))),
        case("the new one signs", &signed, late, Nothing),
        announced(case("nothing is next", &signed, late, Nothing)),
        case("the old one has expired, not for every clock", &at_the_end, end + 3599, Nothing),
        case("the old one has expired", &at_the_end, end + 3600, Tidy(Expired)),
        case("without the old one", &tidied, end + 3600, Nothing),
        case("cut short, as nothing lasts longer", &near_the_end, end - 2 * DAY, NextAuthority(Due)),
        case("all have expired", &began, end, Anew(Expired)),
    ]);
    assert_eq!(reading(&signed, late).kept.len(), 2, "old and new authority");
    assert_eq!(reading(&tidied, end + 3600).kept.len(), 1);
    let leaf_end = reading(&near_the_end, end - 2 * DAY).leaf;
    assert_eq!(leaf_end, Ok(end), "no leaf outlives its authority");
    let next = made(NextAuthority(Due), &near_the_end, None, end - 2 * DAY);
    check(vec![case("it is not renewed for nothing", &next, end - 2 * DAY, Nothing)]);
}

#[test]
fn damage_is_repaired_with_what_is_left() {
    let (good, other) = (fresh(BEGAN), fresh(BEGAN));
    let with = |change: &dyn Fn(&mut Contents)| {
        let mut contents = good.clone();
        change(&mut contents);
        contents
    };
    let extended = |more: &[u8]| [&good.bundle, more].concat();
    let short = Wanted { names: &NAMES[..1], ..wanted() };
    let one_name = issue::contents(NewLeaf(Due), &good, None, &short, BEGAN).expect("made").expect("something");
    let begun = made(NextAuthority(Due), &good, None, BEGAN);
    let next_only = Contents { authority_key: vec![], chain: vec![], ..begun.clone() };
    let remembering = |case| Case { remembered: Some(good.clone()), ..case };
    let no_bundle = with(&|c| c.bundle = b"rubbish".to_vec());
    check(vec![
        remembering(Case { contents: None, ..case("deleted", &good, BEGAN, Restore(Missing)) }),
        remembering(case("emptied", &Contents::default(), BEGAN, Restore(Missing))),
        remembering(case("too late for what is remembered", &Contents::default(), BEGAN + 8 * DAY, Anew(Missing))),
        case("no chain", &with(&|c| c.chain.clear()), BEGAN, NewLeaf(Missing)),
        case("the chain is rubbish", &with(&|c| c.chain = rubbish()), BEGAN, NewLeaf(Unreadable)),
        case("the key is rubbish", &with(&|c| c.key = rubbish()), BEGAN, NewLeaf(Unreadable)),
        case("another's key", &with(&|c| c.key.clone_from(&other.key)), BEGAN, NewLeaf(Mismatched)),
        case("fewer names", &one_name, BEGAN, NewLeaf(Names)),
        case("no authority's key", &with(&|c| c.authority_key.clear()), BEGAN, NextAuthority(CannotSign)),
        case("a key of no authority", &with(&|c| c.authority_key = rubbish()), BEGAN, NextAuthority(CannotSign)),
        case("a next key of no authority", &with(&|c| c.next_key = rubbish()), BEGAN, Tidy(Unreadable)),
        case("no bundle", &no_bundle, BEGAN, Anew(Foreign)),
        remembering(case("no bundle, and memory", &no_bundle, BEGAN, Restore(Foreign))),
        case("a bundle with rubbish", &with(&|c| c.bundle = extended(&rubbish())), BEGAN, Tidy(Unreadable)),
        case("a bundle with text", &with(&|c| c.bundle = extended(b"# hello\n")), BEGAN, Tidy(Unreadable)),
        case("a foreign authority", &with(&|c| c.bundle = extended(&foreign().bundle)), BEGAN, Tidy(Foreign)),
        case("made by a clock that is ahead", &good, BEGAN - 2 * DAY, Anew(NotYetValid)),
        case("a clock that is a little behind", &good, BEGAN - 3000, Nothing),
        case("only the next one can sign", &next_only, BEGAN, SignWithNext(Missing)),
    ]);
    let now = super::super::certificates::unix_now();
    check(vec![case("foreign altogether", &foreign(), now, Anew(Foreign))]);
}

#[test]
fn no_text_holds_anything_of_a_key() {
    let good = fresh(BEGAN);
    let text = format!("{good:?} {:?}", reading(&good, BEGAN));
    for key in [&good.key, &good.authority_key] {
        let key = std::str::from_utf8(key).expect("text");
        let line = key.lines().nth(1).expect("a line of base64");
        assert!(!text.contains(line) && !text.contains("PRIVATE KEY"), "{text}");
    }
    assert!(!text.contains(&format!("{:?}", &good.key[..8])), "{text}");
}

/// Takes steps until there is nothing to do; tells what was written.
fn settle(contents: Option<Contents>, remembered: Option<&Contents>, announced: bool, now: i64) -> Vec<Contents> {
    let mut written: Vec<Contents> = vec![];
    loop {
        let current = written.last().or(contents.as_ref());
        let step = decide(current, remembered, announced, &wanted(), now);
        let current = current.cloned().unwrap_or_default();
        match issue::contents(step, &current, remembered, &wanted(), now).expect("it can be made") {
            Some(made) => written.push(made),
            None => return written,
        }
        assert!(written.len() <= MOST_STEPS, "it goes on and on: {step:?} after {}", written.len());
    }
}

/// Whether somebody who trusts `bundle` accepts `chain` at `now`.
fn accepts(bundle: &[u8], chain: &[u8], now: i64) -> bool {
    let [authorities, chain] = [bundle, chain].map(|pem| certificates(pem).collect::<Vec<_>>());
    trusted_until(&authorities, &chain, &NAMES, now).is_ok()
}

/// Contents of every kind: of all stages of a life, of others, and none.
static WORLDS: LazyLock<Vec<Contents>> = LazyLock::new(|| {
    let mut worlds = vec![Contents::default(), foreign()];
    for began in [BEGAN, BEGAN + 200 * DAY, BEGAN + 500 * DAY] {
        let began = (fresh(began), began);
        let late = began.1 + 250 * DAY;
        let announcing = made(NextAuthority(Due), &began.0, None, late);
        let signed = made(SignWithNext(Announced), &announcing, None, late);
        worlds.extend([began.0, announcing, signed]);
    }
    worlds.push(Contents {
        chain: rubbish(),
        key: rubbish(),
        bundle: rubbish(),
        authority_key: rubbish(),
        next_key: rubbish(),
    });
    worlds
});

fn world() -> impl Strategy<Value = Contents> {
    (0..WORLDS.len()).prop_map(|index| WORLDS[index].clone())
}

/// Any mixture: each part from another world, or bytes.
fn any_contents() -> impl Strategy<Value = Contents> {
    fn part(of: fn(&Contents) -> Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let bundles = (0..WORLDS.len(), 0..WORLDS.len());
        let joined = bundles.prop_map(|(a, b)| [WORLDS[a].bundle.clone(), WORLDS[b].bundle.clone()].concat());
        prop_oneof![
            8 => world().prop_map(move |world| of(&world)),
            1 => joined,
            1 => proptest::collection::vec(any::<u8>(), 0..64),
        ]
    }
    let mixed = (
        part(|c| c.chain.clone()),
        part(|c| c.key.clone()),
        part(|c| c.bundle.clone()),
        part(|c| c.authority_key.clone()),
        part(|c| c.next_key.clone()),
    );
    let mixed = mixed.prop_map(|(chain, key, bundle, authority_key, next_key)| Contents {
        chain,
        key,
        bundle,
        authority_key,
        next_key,
    });
    prop_oneof![world(), mixed]
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => BEGAN - 400 * DAY..BEGAN + 1500 * DAY,
        1 => 0..250_000_000_000_i64,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands there and whatever the time: a few steps later a leaf can be served that the bundle vouches for,
    /// and at no step was anything dropped that is still valid.
    #[test]
    fn every_state_ends_well(
        contents in proptest::option::of(any_contents()),
        remembered in proptest::option::of(world()),
        announced: bool,
        now in any_time(),
    ) {
        let before = reading(&contents.clone().unwrap_or_default(), now);
        let written = settle(contents.clone(), remembered.as_ref(), announced, now);
        let last = written.last().or(contents.as_ref()).expect("something stands there in the end");
        prop_assert!(reading(last, now).leaf.is_ok() && accepts(&last.bundle, &last.chain, now));
        prop_assert!(Pair::read(&last.chain, &last.key).is_ok());
        for made in &written {
            let after = reading(made, now);
            for kept in &before.kept {
                prop_assert!(after.kept.iter().any(|authority| authority.der == kept.der), "an authority was dropped");
            }
        }
        if contents.is_some_and(|contents| reading(&contents, now).leaf.is_ok()) {
            prop_assert!(written.iter().all(|made| reading(made, now).leaf.is_ok()), "it served all the time");
        }
    }

    /// No clock at all is too odd.
    #[test]
    fn no_clock_makes_it_panic(contents in any_contents(), announced: bool, now: i64) {
        let step = decide(Some(&contents), None, announced, &wanted(), now);
        let _ = issue::contents(step, &contents, None, &wanted(), now);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Years under damage, with a replica that remembers: whatever was ever stored and is still valid is trusted by what
    /// stands in the Secret, so a replica that is late with a leaf is not refused.
    #[test]
    fn what_is_still_valid_is_always_trusted(
        events in proptest::collection::vec((1..60 * DAY, select(&[0_u8, 1, 2, 3, 4, 5, 6, 7][..]), any::<bool>()), 1..25),
    ) {
        let (mut now, mut stored, mut remembered) = (BEGAN, None::<Contents>, None::<Contents>);
        let mut leaves: Vec<Vec<u8>> = vec![];
        for (pause, damage, announced) in events {
            now += pause;
            match (damage, &mut stored) {
                (1, stored) => *stored = None,
                (2, Some(there)) => *there = Contents::default(),
                (3, Some(there)) => there.chain = rubbish(),
                (4, Some(there)) => there.bundle = rubbish(),
                (5, Some(there)) => there.authority_key = rubbish(),
                (6, Some(there)) => there.next_key = rubbish(),
                _ => {}
            }
            for made in settle(stored.clone(), remembered.as_ref(), announced, now) {
                leaves.push(made.chain.clone());
                for leaf in &leaves {
                    prop_assert!(!still_valid(leaf, now) || accepts(&made.bundle, leaf, now), "a leaf that is still valid is not trusted");
                }
                stored = Some(made);
            }
            if stored.as_ref().is_some_and(|stored| reading(stored, now).leaf.is_ok()) {
                remembered.clone_from(&stored);
            }
        }
    }
}

fn still_valid(chain: &[u8], now: i64) -> bool {
    certificates(chain).next().is_some_and(|leaf| {
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).expect("a certificate");
        parsed.validity().not_before.timestamp() <= now && now < parsed.validity().not_after.timestamp()
    })
}
