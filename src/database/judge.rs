//! The verdict on what was found: what refuses the migrations, what is only told, and what the policy's waivers accept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;

use super::check::{Check, Kind};
use super::finding::Finding;
use crate::api::{CrdSeverity as Severity, MigrationsSpec, RevisionNature, WaiverSpec};

/// What comes of the findings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// What keeps the migrations from running, worst first.
    pub refused: Vec<Finding>,
    /// What is only told, worst first.
    pub warned: Vec<Finding>,
    /// What was accepted, and by which waiver.
    pub waived: Vec<(Finding, WaiverSpec)>,
    /// Waivers that would count if they had not run out.
    pub expired: Vec<WaiverSpec>,
    /// Waivers of nothing that was found: of a revision that was changed since, or is not run.
    pub unused: Vec<WaiverSpec>,
    /// The revisions that ran on a copy: what their statements do was seen there.
    pub tried: BTreeSet<String>,
}

/// Judges what was found by the policy, as long as nothing shows what statements that cannot be read do.
#[must_use]
pub fn judge(findings: Vec<Finding>, spec: &MigrationsSpec, now: Timestamp) -> Judged {
    judge_after_run(findings, spec, now, &BTreeSet::new())
}

/// Judges what was found by the policy. What a statement that cannot be read does was seen for the `tried` revisions: they
/// ran on a copy, and the findings tell what came of it; for them such a statement is only told.
#[must_use]
pub fn judge_after_run(
    findings: Vec<Finding>,
    spec: &MigrationsSpec,
    now: Timestamp,
    tried: &BTreeSet<String>,
) -> Judged {
    let mut judged = Judged { tried: tried.clone(), ..Judged::default() };
    let mut used = BTreeSet::new();
    let mut expired = BTreeSet::new();
    for finding in findings {
        match severity(&finding, spec, tried) {
            Severity::Off => {}
            Severity::Warn => judged.warned.push(finding),
            Severity::Error => {
                let hash = finding.hash();
                let matching: Vec<usize> =
                    (0..spec.waivers.len()).filter(|index| covers(&spec.waivers[*index], &finding, &hash)).collect();
                let holds = |index: &&usize| spec.waivers[**index].expires.as_ref().is_none_or(|until| until.0 > now);
                if let Some(index) = matching.iter().find(holds) {
                    judged.waived.push((finding, spec.waivers[*index].clone()));
                } else {
                    expired.extend(matching.iter().copied());
                    judged.refused.push(finding);
                }
                used.extend(matching);
            }
        }
    }
    let of = |wanted: &dyn Fn(usize) -> bool| -> Vec<WaiverSpec> {
        spec.waivers.iter().enumerate().filter(|(index, _)| wanted(*index)).map(|(_, waiver)| waiver.clone()).collect()
    };
    judged.expired = of(&|index| expired.contains(&index));
    judged.unused = of(&|index| !used.contains(&index));
    let by_kind = |finding: &Finding| finding.check.kind();
    judged.refused.sort_by_key(by_kind);
    judged.warned.sort_by_key(by_kind);
    judged
}

/// What a finding leads to.
fn severity(finding: &Finding, spec: &MigrationsSpec, tried: &BTreeSet<String>) -> Severity {
    let set = finding.check.severity_under(&spec.checks);
    let was_tried = finding.revision.as_ref().is_some_and(|revision| tried.contains(revision));
    match (finding.check, set) {
        (_, Severity::Off) => Severity::Off,
        (Check::Opaque, Severity::Error) if was_tried => Severity::Warn,
        // Those are told where they are small, and refused where they are not, unless the policy says it of the check.
        (check, Severity::Warn)
            if check.kind() == Kind::Lock && finding.large && !spec.checks.contains_key(check.name()) =>
        {
            Severity::Error
        }
        (_, set) => set,
    }
}

fn covers(waiver: &WaiverSpec, finding: &Finding, hash: &str) -> bool {
    let revision = finding.revision.as_deref().unwrap_or(NO_REVISION);
    waiver.revision == revision && waiver.check == finding.check.name() && waiver.hash == hash
}

/// How a waiver names the revision of a finding in SQL that is of none.
pub const NO_REVISION: &str = "none";

impl Judged {
    /// Whether nothing keeps the migrations from running.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.refused.is_empty()
    }

    /// What is refused or told, of one kind of report: compatibility (breaking and semantic), or lock risk.
    #[must_use]
    pub fn report(&self, is_lock: bool) -> (Vec<&Finding>, Vec<&Finding>) {
        let is_of = |finding: &&Finding| (finding.check.kind() == Kind::Lock) == is_lock;
        (self.refused.iter().filter(is_of).collect(), self.warned.iter().filter(is_of).collect())
    }

    /// What each of `revisions` does to versions that do not know it. What a waiver accepts does not break them; what the
    /// policy only tells, still does.
    #[must_use]
    pub fn natures(&self, revisions: &[String]) -> BTreeMap<String, RevisionNature> {
        let is_known = |finding: &Finding| {
            finding.check == Check::Opaque && finding.revision.as_ref().is_some_and(|own| self.tried.contains(own))
        };
        let breaks = |revision: &String| {
            self.refused.iter().chain(&self.warned).any(|finding| {
                let is_of = finding.revision.as_ref().is_none_or(|own| own == revision);
                is_of && finding.check.kind() == Kind::Breaking && !is_known(finding)
            })
        };
        let nature =
            |revision: &String| if breaks(revision) { RevisionNature::Breaking } else { RevisionNature::Additive };
        revisions.iter().map(|revision| (revision.clone(), nature(revision))).collect()
    }

    /// The lines for the policy that would accept all that is refused; empty where nothing is.
    #[must_use]
    pub fn waivers_to_paste(&self) -> String {
        if self.refused.is_empty() {
            return String::new();
        }
        let mut text = String::from("waivers:\n");
        for finding in &self.refused {
            let revision = finding.revision.as_deref().unwrap_or(NO_REVISION);
            let _ = write!(
                text,
                "- revision: \"{revision}\"\n  check: {}\n  hash: \"{}\"\n  reason: \"\" # say why {} may be accepted\n",
                finding.check.name(),
                finding.hash(),
                finding.object
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::database::finding::Engine;

    fn finding(check: Check, revision: &str) -> Finding {
        Finding {
            check,
            revision: Some(revision.to_owned()).filter(|revision| !revision.is_empty()),
            object: "table public.t".to_owned(),
            message: "m".to_owned(),
            engine: Engine::Sql,
            place: None,
            statement: Some("S".to_owned()),
            large: false,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn waiver(finding: &Finding, expires: Option<&str>) -> WaiverSpec {
        WaiverSpec {
            revision: finding.revision.clone().unwrap_or_else(|| NO_REVISION.to_owned()),
            check: finding.check.name().to_owned(),
            hash: finding.hash(),
            reason: "looked at".to_owned(),
            expires: expires.map(|text| Time(at(text))),
        }
    }

    const NOW: &str = "2026-06-01T00:00:00Z";

    #[test]
    fn severities_are_those_of_the_policy() {
        let large = Finding { large: true, ..finding(Check::IndexLocks, "a") };
        for (finding, checks, tried, expected) in [
            (finding(Check::ColumnDropped, "a"), &[][..], "", Severity::Error),
            (finding(Check::ColumnDropped, "a"), &[("columnDropped", Severity::Warn)], "", Severity::Warn),
            (finding(Check::ColumnDropped, "a"), &[("columnDropped", Severity::Off)], "", Severity::Off),
            (finding(Check::EnumValueAdded, "a"), &[], "", Severity::Warn),
            (finding(Check::EnumValueAdded, "a"), &[("enumValueAdded", Severity::Error)], "", Severity::Error),
            (finding(Check::ColumnAdded, "a"), &[], "", Severity::Off),
            (finding(Check::IndexLocks, "a"), &[], "", Severity::Warn),
            (large.clone(), &[], "", Severity::Error),
            (large.clone(), &[("indexLocks", Severity::Warn)], "", Severity::Warn),
            (large, &[("indexLocks", Severity::Off)], "", Severity::Off),
            (finding(Check::Opaque, "a"), &[], "", Severity::Error),
            (finding(Check::Opaque, "a"), &[], "a", Severity::Warn),
            (finding(Check::Opaque, "a"), &[], "b", Severity::Error),
            (finding(Check::Opaque, ""), &[], "a", Severity::Error),
            (finding(Check::Opaque, "a"), &[("opaque", Severity::Off)], "a", Severity::Off),
        ] {
            let checks = checks.iter().map(|(name, severity)| ((*name).to_owned(), *severity)).collect();
            let spec = MigrationsSpec { checks, ..MigrationsSpec::default() };
            let tried = BTreeSet::from([tried.to_owned()]);
            let judged = judge_after_run(vec![finding.clone()], &spec, at(NOW), &tried);
            let seen = match (judged.refused.len(), judged.warned.len()) {
                (1, 0) => Severity::Error,
                (0, 1) => Severity::Warn,
                _ => Severity::Off,
            };
            assert_eq!(seen, expected, "{finding:?} under {spec:?}, tried {tried:?}");
        }
    }

    #[test]
    fn a_waiver_is_of_one_finding_and_ends() {
        let dropped = finding(Check::ColumnDropped, "a");
        let other = Finding { statement: Some("T".to_owned()), ..dropped.clone() };
        let respaced = Finding { statement: Some(" S\n".to_owned()), ..dropped.clone() };
        for (finding, waiver, waived, expired, unused) in [
            (dropped.clone(), waiver(&dropped, None), 1, 0, 0),
            (respaced, waiver(&dropped, None), 1, 0, 0),
            (dropped.clone(), waiver(&dropped, Some("2026-06-01T00:00:01Z")), 1, 0, 0),
            (dropped.clone(), waiver(&dropped, Some(NOW)), 0, 1, 0),
            (dropped.clone(), waiver(&other, None), 0, 0, 1),
            (dropped.clone(), WaiverSpec { revision: "b".to_owned(), ..waiver(&dropped, None) }, 0, 0, 1),
            (dropped.clone(), WaiverSpec { check: "tableDropped".to_owned(), ..waiver(&dropped, None) }, 0, 0, 1),
        ] {
            let spec = MigrationsSpec { waivers: vec![waiver], ..MigrationsSpec::default() };
            let judged = judge(vec![finding], &spec, at(NOW));
            assert_eq!((judged.waived.len(), judged.expired.len(), judged.unused.len()), (waived, expired, unused));
            assert_eq!(judged.passes(), waived == 1);
            let nature = if waived == 1 { RevisionNature::Additive } else { RevisionNature::Breaking };
            assert_eq!(judged.natures(&["a".to_owned()])["a"], nature, "what is accepted breaks nobody");
        }
    }

    #[test]
    fn a_revision_breaks_by_its_own_findings_and_by_those_of_none() {
        let revisions = ["a", "b", "c"].map(str::to_owned);
        let found =
            vec![finding(Check::ColumnDropped, "b"), Finding { large: true, ..finding(Check::IndexLocks, "c") }];
        let judged = judge(found, &MigrationsSpec::default(), at(NOW));
        let natures = judged.natures(&revisions);
        assert_eq!(natures.values().copied().collect::<Vec<_>>(), {
            use RevisionNature::{Additive, Breaking};
            [Additive, Breaking, Additive]
        });
        assert_eq!((judged.report(false).0.len(), judged.report(true).0.len()), (1, 1));
        let warn = BTreeMap::from([("opaque".to_owned(), Severity::Warn)]);
        let warned = MigrationsSpec { checks: warn, ..MigrationsSpec::default() };
        let judged = judge(vec![finding(Check::Opaque, "b")], &warned, at(NOW));
        assert_eq!((judged.passes(), judged.natures(&revisions)["b"]), (true, RevisionNature::Breaking));
        let tried = BTreeSet::from(["b".to_owned()]);
        let judged = judge_after_run(vec![finding(Check::Opaque, "b")], &warned, at(NOW), &tried);
        assert_eq!(judged.natures(&revisions)["b"], RevisionNature::Additive);
        let judged = judge(vec![finding(Check::Opaque, "")], &MigrationsSpec::default(), at(NOW));
        assert!(judged.natures(&revisions).values().all(|nature| *nature == RevisionNature::Breaking));
    }

    #[test]
    fn what_is_to_be_pasted_accepts_what_is_refused() {
        let found = vec![finding(Check::ColumnDropped, "0123"), finding(Check::Opaque, "")];
        let refused = judge(found.clone(), &MigrationsSpec::default(), at(NOW));
        let spec: MigrationsSpec = serde_saphyr::from_str(&refused.waivers_to_paste()).unwrap();
        let judged = judge(found, &spec, at(NOW));
        assert!(judged.passes() && judged.waived.len() == 2 && judged.waivers_to_paste().is_empty());
    }
}
