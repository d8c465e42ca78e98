//! What a `Platform` keeps of its database: which revision it has, what versions need, what revisions do, and each run.

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    MOST_MIGRATIONS, MOST_NEEDS, MOST_REVISIONS, MigrationOutcome, PlatformDatabase, PlatformMigration,
    PlatformRevision, PlatformSchemaNeed, PlatformStatus, RevisionNature, RevisionSource,
};
use crate::hook::presync::record::time;

/// What a look at the database and at the image with its migrations found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The revisions that the database notes.
    pub heads: Vec<String>,
    /// What is wrong with that.
    pub problem: Option<String>,
    /// Which revision the versions of the target need.
    pub needs: Vec<PlatformSchemaNeed>,
    /// The revisions of the image, newest first, as far as they are told.
    pub revisions: Vec<PlatformRevision>,
}

/// A run of migrations, as it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// What it is for.
    pub target: String,
    /// Who runs it.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
    /// What the database notes before.
    pub before: Vec<String>,
    /// What it is to note after.
    pub after: Vec<String>,
    /// The digest of the plan.
    pub plan: String,
    /// What the checks found.
    pub findings: Vec<String>,
    /// The waivers that counted.
    pub waivers: Vec<String>,
    /// The digest of the image.
    pub image: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it came to.
    pub outcome: MigrationOutcome,
    /// In one line.
    pub message: String,
    /// What the database notes now.
    pub after: Vec<String>,
    /// Whether another run did the work.
    pub idle: bool,
}

/// Notes what was seen. What is known of a revision is not forgotten for a look that could not tell.
pub fn seen(status: &mut PlatformStatus, seen: &Seen, now: Timestamp) {
    let database = status.database.get_or_insert_default();
    observed(database, seen.heads.clone(), seen.problem.clone(), now);
    let mut needs = seen.needs.clone();
    let is_new = |old: &PlatformSchemaNeed| {
        !seen
            .needs
            .iter()
            .any(|new| (&new.component, &new.version, &new.image) == (&old.component, &old.version, &old.image))
    };
    needs.extend(database.needs.drain(..).filter(is_new));
    needs.truncate(MOST_NEEDS);
    database.needs = needs;
    let mut revisions = seen.revisions.clone();
    for new in &mut revisions {
        let old = database.revisions.iter().find(|old| old.revision == new.revision);
        if let Some(old) = old.filter(|_| new.nature == RevisionNature::Unknown) {
            new.nature = old.nature;
        }
    }
    revisions.extend(
        database.revisions.drain(..).filter(|old| !seen.revisions.iter().any(|new| new.revision == old.revision)),
    );
    revisions.truncate(MOST_REVISIONS);
    database.revisions = revisions;
}

fn observed(database: &mut PlatformDatabase, heads: Vec<String>, problem: Option<String>, now: Timestamp) {
    database.heads = heads;
    database.problem = problem;
    database.source = RevisionSource::Hook;
    database.observed = Some(time(now));
}

/// Notes that a run begins. One for the same target that was killed is gone on with.
pub fn begin(status: &mut PlatformStatus, begun: &Begun) {
    let migrations = &mut status.database.get_or_insert_default().migrations;
    migrations.retain(|entry| entry.outcome != MigrationOutcome::Running || entry.target != begun.target);
    let clip = |texts: &[String], most: usize| -> Vec<String> {
        texts.iter().take(most).map(|text| text.chars().take(1000).collect()).collect()
    };
    let entry = PlatformMigration {
        target: begun.target.clone(),
        by: begun.by.clone(),
        started: time(begun.at),
        seconds: None,
        outcome: MigrationOutcome::Running,
        message: format!("migrating to {}", begun.after.join(", ")),
        before: begun.before.clone(),
        after: begun.after.clone(),
        plan: Some(begun.plan.clone()),
        findings: clip(&begun.findings, 64),
        waivers: clip(&begun.waivers, 64),
        image: begun.image.clone(),
    };
    migrations.insert(0, entry);
    migrations.truncate(MOST_MIGRATIONS);
}

/// Notes how the run ended that [`begin`] noted. Of several runs for the same target that wait for each other there is one
/// entry: where another one did the work, that one says more of it.
pub fn end(status: &mut PlatformStatus, begun: &Begun, ended: &Ended, now: Timestamp) {
    if ended.idle {
        observed(status.database.get_or_insert_default(), ended.after.clone(), None, now);
        return settle(status, &ended.after);
    }
    let is_settled = |entry: &PlatformMigration| {
        entry.outcome == MigrationOutcome::Migrated
            && entry.seconds.is_none()
            && (&entry.before, entry.plan.as_ref()) == (&begun.before, Some(&begun.plan))
    };
    let is_begun = |entry: &PlatformMigration| {
        entry.target == begun.target && (entry.outcome == MigrationOutcome::Running || is_settled(entry))
    };
    let known = status.database.as_ref().is_some_and(|database| database.migrations.iter().any(is_begun));
    // Someone may have deleted the Platform in between, and with it what was noted at the beginning.
    if !known {
        begin(status, begun);
    }
    let database = status.database.get_or_insert_default();
    observed(database, ended.after.clone(), None, now);
    if let Some(entry) = database.migrations.iter_mut().find(|entry| is_begun(entry)) {
        entry.outcome = ended.outcome;
        entry.message = ended.message.chars().take(1000).collect();
        entry.after.clone_from(&ended.after);
        let took: SignedDuration = now.duration_since(begun.at);
        entry.seconds = Some(took.as_secs());
    }
}

/// Ends what a run left that was killed after its work was done: the database notes what it was to note.
pub fn settle(status: &mut PlatformStatus, heads: &[String]) {
    let Some(database) = &mut status.database else { return };
    for entry in database.migrations.iter_mut().filter(|entry| entry.outcome == MigrationOutcome::Running) {
        if entry.after == heads {
            entry.outcome = MigrationOutcome::Migrated;
            entry.message = format!("the database is at {}", heads.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MigrationOutcome::{HalfWay, Migrated, Running};
    use RevisionNature::{Additive, Breaking, Unknown};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn revision(id: &str, nature: RevisionNature) -> PlatformRevision {
        PlatformRevision { revision: id.to_owned(), down: vec![], nature }
    }

    fn need(version: &str, revision: &str) -> PlatformSchemaNeed {
        let [component, version, revision] = ["api", version, revision].map(str::to_owned);
        PlatformSchemaNeed { component, version, image: None, revision }
    }

    fn begun(target: &str) -> Begun {
        Begun {
            target: target.to_owned(),
            by: None,
            at: NOW,
            before: vec!["a".to_owned()],
            after: vec!["b".to_owned()],
            plan: "sha256:0".to_owned(),
            findings: vec!["x".repeat(3000); 100],
            waivers: vec![],
            image: None,
        }
    }

    fn outcomes(status: &PlatformStatus) -> Vec<(&str, MigrationOutcome)> {
        let migrations = &status.database.as_ref().unwrap().migrations;
        migrations.iter().map(|entry| (entry.target.as_str(), entry.outcome)).collect()
    }

    #[test]
    fn what_is_known_is_not_forgotten() {
        let mut status = PlatformStatus::default();
        let look = |natures: [RevisionNature; 2], needs: Vec<PlatformSchemaNeed>| Seen {
            heads: vec!["a".to_owned()],
            problem: None,
            needs,
            revisions: vec![revision("b", natures[0]), revision("a", natures[1])],
        };
        seen(&mut status, &look([Breaking, Additive], vec![need("1", "a")]), NOW);
        seen(&mut status, &look([Unknown, Unknown], vec![need("2", "b")]), NOW);
        let database = status.database.clone().unwrap();
        assert_eq!(database.revisions, [revision("b", Breaking), revision("a", Additive)]);
        assert_eq!(database.needs, [need("2", "b"), need("1", "a")]);
        seen(&mut status, &look([Additive, Unknown], vec![need("2", "c")]), NOW);
        let database = status.database.unwrap();
        assert_eq!(database.revisions[0], revision("b", Additive), "a later look that can tell counts");
        assert_eq!(database.needs, [need("2", "c"), need("1", "a")]);
    }

    #[test]
    fn nothing_grows_without_end() {
        let mut status = PlatformStatus::default();
        for round in 0..200 {
            let revisions = (0..5).map(|number| revision(&format!("r{round}-{number}"), Additive)).collect();
            let needs = vec![need(&round.to_string(), "a")];
            seen(&mut status, &Seen { needs, revisions, ..Seen::default() }, NOW);
            begin(&mut status, &begun(&round.to_string()));
        }
        let database = status.database.unwrap();
        let sizes = (database.revisions.len(), database.needs.len(), database.migrations.len());
        assert_eq!(sizes, (MOST_REVISIONS, MOST_NEEDS, MOST_MIGRATIONS));
        assert_eq!(database.revisions[0].revision, "r199-0", "the newest stay");
        let entry = &database.migrations[0];
        assert_eq!((entry.findings.len(), entry.findings[0].len()), (64, 1000));
    }

    #[test]
    fn a_run_that_was_killed_is_gone_on_with_or_ended() {
        let after = vec!["b".to_owned()];
        let done = Ended { outcome: Migrated, message: "done".to_owned(), after, idle: false };
        let mut status = PlatformStatus::default();
        begin(&mut status, &begun("2.3.0"));
        begin(&mut status, &begun("2.3.0"));
        assert_eq!(outcomes(&status), [("2.3.0", Running)]);
        let mut killed = status.clone();
        end(&mut status, &begun("2.3.0"), &done, NOW + SignedDuration::from_secs(7));
        assert_eq!(outcomes(&status), [("2.3.0", Migrated)]);
        assert_eq!(status.database.as_ref().unwrap().migrations[0].seconds, Some(7));
        settle(&mut killed, &["a".to_owned()]);
        assert_eq!(outcomes(&killed), [("2.3.0", Running)], "its work was not done");
        settle(&mut killed, &["b".to_owned()]);
        assert_eq!(outcomes(&killed), [("2.3.0", Migrated)]);
        let mut lost = PlatformStatus::default();
        end(&mut lost, &begun("2.3.0"), &Ended { outcome: HalfWay, ..done }, NOW);
        assert_eq!(outcomes(&lost), [("2.3.0", HalfWay)]);
    }

    #[test]
    fn several_runs_at_once_leave_one_entry_of_who_did_it() {
        let did = Ended { outcome: Migrated, message: "did it".to_owned(), after: vec!["b".to_owned()], idle: false };
        let idle = Ended { message: "waited".to_owned(), idle: true, ..did.clone() };
        for order in [[&did, &idle], [&idle, &did]] {
            let mut status = PlatformStatus::default();
            begin(&mut status, &begun("2.3.0"));
            begin(&mut status, &begun("2.3.0"));
            for ended in order {
                end(&mut status, &begun("2.3.0"), ended, NOW);
            }
            assert_eq!(outcomes(&status), [("2.3.0", Migrated)]);
            let entry = &status.database.unwrap().migrations[0];
            assert_eq!((entry.message.as_str(), entry.seconds), ("did it", Some(0)));
        }
    }
}
