//! What holds of every decision, over views, names and tags that nobody would write.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use upgrade_guard::domain::change::{Budget, Capacity, Change, KeptPods, Move};
use upgrade_guard::domain::decision::{Decision, Reason, Verdict, decide};
use upgrade_guard::domain::line::{Lines, Listed, Release};
use upgrade_guard::domain::overrides::Override;
use upgrade_guard::domain::policy::{Component, ComponentId, Mode, Policy, PolicyParts, Skew, SupportedRange};
use upgrade_guard::domain::rules::{ROWS, Rule};
use upgrade_guard::domain::schema::{Nature, Recorded, Schema};
use upgrade_guard::domain::version::Version;
use upgrade_guard::domain::view::{ComponentView, Intent, Missing, Rollout, View, WorkloadId, WorkloadView};

use crate::platform::{Ver, platforms};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const MOST: usize = 5;

fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("immutable".to_owned()),
        Just("is immutable".to_owned()),
        Just("two\nlines\r\n\u{2028}".to_owned()),
        Just(String::new()),
        Just("n".repeat(300)),
        prop::collection::vec(any::<char>(), 0..6).prop_map(String::from_iter),
    ]
}

fn version() -> impl Strategy<Value = Version> {
    let number = || prop_oneof![8 => 0..4_u64, 1 => Just(u64::MAX), 1 => Just(i64::MAX as u64)];
    prop_oneof![
        8 => (1..3_u64, number(), number()).prop_map(|(a, b, c)| Version::Known(semver::Version::new(a, b, c))),
        1 => (0..3_u64).prop_map(|minor| Version::read(&format!("2.{minor}.0-rc.1+immutable"))),
        2 => odd_text().prop_map(Version::Unknown),
    ]
}

fn known() -> impl Strategy<Value = semver::Version> {
    (1..3_u64, 0..4_u64, 0..3_u64).prop_map(|(a, b, c)| semver::Version::new(a, b, c))
}

fn rollout() -> impl Strategy<Value = Rollout> {
    let count = || prop_oneof![0..3_u32, Just(u32::MAX)];
    prop_oneof![
        3 => Just(Rollout::Settled),
        1 => Just(Rollout::Progressing(Missing::NotObserved)),
        1 => Just(Rollout::Progressing(Missing::Paused)),
        1 => Just(Rollout::Progressing(Missing::DeadlineExceeded)),
        1 => (count(), count()).prop_map(|(updated, of)| Rollout::Progressing(Missing::Updated { updated, of })),
        1 => count().prop_map(|old| Rollout::Progressing(Missing::OldPods(old))),
        1 => (count(), count()).prop_map(|(available, of)| Rollout::Progressing(Missing::Available { available, of })),
    ]
}

fn workload_id() -> impl Strategy<Value = WorkloadId> {
    (odd_text(), any::<bool>()).prop_map(|(kind, one)| WorkloadId { kind, name: if one { "a" } else { "b" }.into() })
}

fn workload() -> impl Strategy<Value = WorkloadView> {
    let pods = prop_oneof![4 => 0..4_u32, 1 => any::<u32>()];
    let running = prop::collection::btree_map(version(), pods, 0..4);
    (workload_id(), prop::collection::vec(version(), 0..3), running, rollout())
        .prop_map(|(id, desired, running, rollout)| WorkloadView { id, desired, running, rollout })
}

fn component_view() -> impl Strategy<Value = ComponentView> {
    let intent = (version(), -5..5_i64)
        .prop_map(|(version, seconds)| Intent { version, expires: NOW + SignedDuration::from_secs(seconds) });
    (prop::collection::vec(workload(), 0..3), prop::collection::vec(intent, 0..3), prop::option::of(version()))
        .prop_map(|(workloads, intents, recorded)| ComponentView { workloads, intents, recorded })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Warn), 1 => Just(Mode::Audit)]
}

fn policy() -> impl Strategy<Value = Policy> {
    let part = (odd_text(), any::<[bool; MOST]>(), prop::option::of((0..3_u32, 0..2_u32)), any::<bool>(), supported());
    let modes = (prop::collection::vec(mode(), ROWS.len()), mode());
    (prop::collection::vec(part, 1..=MOST), modes, 0..3_u32, prop::collection::vec(listed_release(), 0..4)).prop_map(
        |(parts, (modes, mode), max_hop, releases)| {
            let components =
                parts.into_iter().enumerate().map(|(index, (name, after, skew, uses_database, supported))| {
                    // Odd enough, and still a name of its own.
                    let name = format!("{name}{index}");
                    let skew = skew.filter(|_| index > 0);
                    Component {
                        after: (0..index).filter(|peer| after[*peer]).map(ComponentId).collect(),
                        skew: (skew.iter())
                            .map(|(behind, ahead)| Skew {
                                peer: ComponentId(index - 1),
                                behind: (*behind).max(1),
                                ahead: *ahead,
                            })
                            .collect(),
                        supported,
                        uses_database,
                        ..Component::named(&name)
                    }
                });
            let mut policy = Policy::new(PolicyParts {
                max_hop,
                modes: ROWS.iter().map(|row| row.rule).zip(modes).collect(),
                mode,
                ..PolicyParts::new("odd", components.collect())
            })
            .unwrap();
            policy.lines = Lines::new(releases);
            policy
        },
    )
}

fn supported() -> impl Strategy<Value = Vec<SupportedRange>> {
    let range = prop_oneof![Just(">=1.1.0, <2.2.0"), Just("2.*"), Just("=1.3.0")];
    let range = (range, prop::option::of(odd_text()))
        .prop_map(|(range, warn)| SupportedRange { range: range.parse().unwrap(), warn });
    prop::collection::vec(range, 0..3)
}

/// Releases in any order, with gaps, stops and needs.
fn listed_release() -> impl Strategy<Value = Release> {
    let needs = prop::collection::btree_map((0..MOST).prop_map(ComponentId), known(), 0..3);
    let listed = (known(), needs).prop_map(|(version, needs)| Listed { version, tags: vec![], digests: vec![], needs });
    let components = prop::collection::btree_map((0..MOST).prop_map(ComponentId), listed, 0..=MOST);
    (odd_text(), any::<bool>(), components).prop_map(|(name, required_stop, components)| Release {
        name,
        required_stop,
        components,
        ..Release::default()
    })
}

fn capacity() -> impl Strategy<Value = Capacity> {
    let budget = prop_oneof![Just(Budget::None), Just(Budget::Allows), odd_text().prop_map(Budget::Blocks)];
    let kept = prop_oneof![Just(KeptPods::Recreate), (0..2_u32).prop_map(KeptPods::AtLeast), Just(KeptPods::OneByOne)];
    (0..4_u32, prop::option::of((odd_text(), 0..4_u32)), budget, kept, any::<(bool, bool)>()).prop_map(
        |(replicas, autoscaler, budget, kept_by_strategy, (readiness_probe, only_replicas))| Capacity {
            component: ComponentId(0),
            replicas,
            autoscaler,
            budget,
            readiness_probe,
            kept_by_strategy,
            only_replicas,
        },
    )
}

/// A move of some part, from what and to what.
type AnyMove = (usize, Option<Version>, Version);

fn change() -> impl Strategy<Value = (WorkloadId, Vec<AnyMove>, Option<Capacity>)> {
    let step = (0..MOST, prop::option::of(version()), version());
    (workload_id(), prop::collection::vec(step, 0..3), prop::option::weighted(0.3, capacity()))
}

/// Any database, with what the template says that it needs.
fn schema() -> impl Strategy<Value = (Option<Schema>, Option<String>)> {
    let nature = prop::sample::select(vec![Nature::Additive, Nature::Unknown, Nature::Breaking]);
    let known = prop::collection::vec((odd_text(), nature), 0..6);
    let (heads, why) = (prop::collection::vec(0..6_usize, 0..3), prop::option::weighted(0.2, odd_text()));
    (known, heads, why, prop::option::of(0..6_usize)).prop_map(|(known, heads, why, wanted)| {
        // Each after the one before it.
        let names: Vec<String> = known.iter().enumerate().map(|(at, (name, _))| format!("{at}{name}")).collect();
        let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| format!("none-{at}"));
        let recorded = known.iter().enumerate().map(|(at, (_, nature))| {
            let down = at.checked_sub(1).map(name).into_iter().collect();
            (name(at), Recorded { down, nature: *nature })
        });
        let at = why.map_or_else(|| Ok(heads.iter().map(|at| name(*at)).collect()), Err);
        (Some(Schema { at, known: recorded.collect(), ..Schema::unread("") }), wanted.map(name))
    })
}

/// What is odd, as one decision.
fn decided() -> impl Strategy<Value = (Decision, Decision, usize)> {
    let views = prop::collection::vec(component_view(), MOST);
    (policy(), views, change(), schema()).prop_map(
        |(policy, mut components, (workload, steps, capacity), (schema, stated))| {
            let count = policy.components.len();
            components.truncate(count);
            let view = View { components, schema, ..View::default() };
            let step = |(part, from, to): AnyMove| Move {
                schema: stated.clone(),
                ..Move::new(ComponentId(part % count), from, to)
            };
            let moves: Vec<Move> = steps.into_iter().map(step).collect();
            let change = Change { workload, moves, restarts: vec![], capacity };
            let asked = change.moves.len() + usize::from(change.capacity.is_some());
            (decide(&policy, &view, &change, NOW), decide(&policy.clone(), &view.clone(), &change.clone(), NOW), asked)
        },
    )
}

fn rules() -> impl Strategy<Value = BTreeSet<Rule>> {
    let all: Vec<Rule> = ROWS.iter().map(|row| row.rule).collect();
    prop::sample::subsequence(all, 1..=ROWS.len()).prop_map(BTreeSet::from_iter)
}

fn all(decision: &Decision) -> impl Iterator<Item = &Reason> {
    decision.reasons.iter().chain(&decision.warnings).chain(&decision.audits)
}

fn check_text(reason: &Reason) -> Result<(), TestCaseError> {
    let (text, short) = (reason.to_string(), reason.short());
    let code = format!("[{}]", reason.rule);
    prop_assert!(text.starts_with(&code) && short.starts_with(&code), "the code first: {text:?}");
    let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    for text in [&text, &short] {
        prop_assert!(!text.contains(breaks), "one line: {text:?}");
        prop_assert!(!text.contains("immutable"), "engines recreate on that word: {text:?}");
    }
    prop_assert!(short.chars().count() <= 119, "{} characters: {short:?}", short.chars().count());
    Ok(())
}

proptest! {
    #![proptest_config(crate::config(1000))]

    #[test]
    fn every_decision_is_well_formed((decision, again, asked) in decided()) {
        prop_assert_eq!(decision.verdict == Verdict::Allow, decision.reasons.is_empty());
        let enforced = |reason: &Reason| reason.mode == Mode::Enforce && reason.verdict != Verdict::Allow;
        prop_assert!(decision.reasons.iter().all(enforced));
        prop_assert!(!decision.warnings.iter().chain(&decision.audits).any(enforced));
        prop_assert_eq!(decision.reasons.iter().map(|reason| reason.verdict).max().unwrap_or(Verdict::Allow), decision.verdict);
        prop_assert!(decision.reasons.is_sorted_by(|a, b| (b.verdict, a.rule) <= (a.verdict, b.rule)), "{:#?}", decision.reasons);
        prop_assert!(asked > 0 || all(&decision).count() == 0, "nothing asked, nothing said");
        for reason in all(&decision) {
            check_text(reason)?;
        }
        let texts = |decision: &Decision| all(decision).map(ToString::to_string).collect::<Vec<_>>();
        prop_assert_eq!(texts(&decision), texts(&again));
    }

    #[test]
    fn an_override_takes_away_what_it_names_and_nothing_else((decision, _, _) in decided(), rules in rules()) {
        let by = Override { rules, reason: "why".into(), until: NOW };
        let named = |reason: &Reason| by.rules.contains(&reason.rule);
        let Some(after) = decision.overridden(&by) else {
            prop_assert!(!decision.reasons.iter().any(named), "{:#?}", decision.reasons);
            return Ok(());
        };
        let left: Vec<Reason> = decision.reasons.iter().filter(|reason| !named(reason)).cloned().collect();
        prop_assert!(left.len() < decision.reasons.len());
        prop_assert_eq!(after.verdict, left.iter().map(|reason| reason.verdict).max().unwrap_or(Verdict::Allow));
        prop_assert!(after.verdict <= decision.verdict);
        prop_assert_eq!(&after.reasons, &left);
        prop_assert_eq!(&after.audits, &decision.audits);
        prop_assert_eq!(all(&after).count(), all(&decision).count(), "nothing is forgotten");
        let told = after.warnings.iter().filter(|reason| reason.what.starts_with("overridden: ")).count();
        prop_assert_eq!(told, decision.reasons.len() - left.len());
        prop_assert_eq!(after.overridden(&by), None, "once is enough");
        for reason in all(&after) {
            check_text(reason)?;
        }
    }

    #[test]
    fn another_patch_of_the_line_is_always_allowed(
        platform in platforms(),
        any in crate::cure::any_state(),
        patch in 0..10_u8,
    ) {
        let cluster = crate::cure::cluster(&platform, &any);
        for (part, workload) in cluster.existing() {
            let Some(number) = cluster.workload(part, workload).unwrap().desired.number() else { continue };
            let decision = cluster.ask(workload, &[(part, Ver::Known { number, patch })]);
            prop_assert!(decision.reasons.is_empty(), "{:?} in\n{}", decision.reasons, cluster.show_all());
        }
    }
}
