//! From what a policy says of its database to what is wrong with it.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::parse::{Reader, not_a_version};
use super::{DatabaseSpec, MIGRATION_CHECKS, MigrationsSpec, RevisionSpec, WaiverSpec};
use crate::domain::version::parse;

/// How long one statement of a migration may wait for a lock, where the policy does not say.
pub const LOCK_TIMEOUT: SignedDuration = SignedDuration::from_secs(5);
/// How long one statement of a migration may take, where the policy does not say.
pub const STATEMENT_TIMEOUT: SignedDuration = SignedDuration::from_mins(15);
/// How long to wait for another run of migrations, where the policy does not say.
pub const LOCK_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// How many hex digits the hash of a finding has (`database::finding::Finding::hash`).
const HASH_DIGITS: usize = 16;

impl Reader<'_> {
    pub(super) fn database(&mut self, spec: &DatabaseSpec) {
        let mut names = BTreeSet::new();
        for (index, name) in spec.components.iter().enumerate() {
            let path = format!("spec.database.components[{index}]");
            if names.insert(name) {
                self.peer(path, name);
            } else {
                self.problem(path, format!("'{name}' is named twice"));
            }
        }
        if let Some(table) = spec.revision_table.as_deref().filter(|table| !is_table(table)) {
            let message = format!("'{table}' is no name of a table: write alembic_version or schema.alembic_version");
            self.problem("spec.database.revisionTable", message);
        }
        if spec.revision_table.is_some() && spec.revision_query.is_some() {
            self.problem("spec.database.revisionQuery", "excludes revisionTable: keep one of the two");
        }
        if let Some(migrations) = &spec.migrations {
            self.migrations(migrations);
        }
    }

    fn migrations(&mut self, spec: &MigrationsSpec) {
        const PATH: &str = "spec.database.migrations";
        if !spec.alembic.is_empty() && !spec.command.is_empty() {
            self.problem(format!("{PATH}.command"), "excludes alembic: keep one of the two");
        }
        let mut time = |field: &str, text: Option<&str>, otherwise| match text {
            Some(text) => self.duration(format!("{PATH}.{field}"), text),
            None => Some(otherwise),
        };
        let lock = time("lockTimeout", spec.lock_timeout.as_deref(), LOCK_TIMEOUT);
        let statement = time("statementTimeout", spec.statement_timeout.as_deref(), STATEMENT_TIMEOUT);
        time("lockWait", spec.lock_wait.as_deref(), LOCK_WAIT);
        if let (Some(lock), Some(statement)) = (lock, statement)
            && lock >= statement
        {
            let message = format!(
                "is {lock:#}, and has to be shorter than statementTimeout, which is {statement:#}: otherwise a statement \
                 that waits for a lock is told to have taken too long"
            );
            self.problem(format!("{PATH}.lockTimeout"), message);
        }
        let mut revisions = BTreeSet::new();
        for (index, revision) in spec.revisions.iter().enumerate() {
            let path = format!("{PATH}.revisions[{index}]");
            if !revisions.insert(&revision.revision) {
                self.problem(format!("{path}.revision"), format!("'{}' is listed twice", revision.revision));
            }
            self.revision(&path, revision);
        }
        for name in spec.checks.keys() {
            self.check(format!("{PATH}.checks.{name}"), name);
        }
        for (index, waiver) in spec.waivers.iter().enumerate() {
            self.waiver(&format!("{PATH}.waivers[{index}]"), waiver);
        }
    }

    fn revision(&mut self, path: &str, spec: &RevisionSpec) {
        for (index, need) in spec.needs.iter().enumerate() {
            let path = format!("{path}.needs[{index}]");
            self.peer(format!("{path}.component"), &need.component);
            if parse(&need.version).is_none() {
                self.found(not_a_version(&format!("{path}.version"), &need.version));
            }
        }
    }

    fn waiver(&mut self, path: &str, spec: &WaiverSpec) {
        self.check(format!("{path}.check"), &spec.check);
        let digits = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if spec.hash.len() != HASH_DIGITS || !spec.hash.bytes().all(digits) {
            let message = format!("'{}' is no hash of a finding: {HASH_DIGITS} digits of 0-9 and a-f", spec.hash);
            self.problem(format!("{path}.hash"), message + ", as 'upgrade-guard lint' prints them");
        }
    }

    fn check(&mut self, path: String, name: &str) {
        if !MIGRATION_CHECKS.contains(&name) {
            let message = format!("'{name}' is no check of migrations; 'upgrade-guard lint --checks' lists them");
            self.problem(path, message);
        }
    }
}

/// Whether this names a table, perhaps with its schema; the same as `database::revision` takes.
fn is_table(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    parts.len() <= 2 && parts.iter().all(|part| !part.is_empty() && !part.contains('\0'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::UpgradePolicy;
    use crate::domain::policy::Policy;

    fn problems(database: &Value) -> Vec<String> {
        let policy = json!({
            "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": "p"},
            "spec": {
                "namespaces": ["x"],
                "components": [
                    {"name": "api", "match": {"names": ["api"]}}, {"name": "worker", "match": {"names": ["worker"]}},
                ],
                "database": database,
            },
        });
        let policy: UpgradePolicy = serde_json::from_value(policy).unwrap();
        let problems = Policy::try_from(&policy).map_or_else(|problems| problems.0, |_| vec![]);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_of_a_database_is_told_with_its_path() {
        let all = problems(&json!({
            "components": ["api", "wroker", "api"],
            "revisionTable": "a.b.c",
            "revisionQuery": "SELECT 1",
            "migrations": {
                "alembic": ["alembic"],
                "command": ["flyway", "migrate"],
                "lockTimeout": "20m",
                "lockWait": "a while",
                "revisions": [
                    {"revision": "039", "hold": "a draft"},
                    {"revision": "044", "needs": [{"component": "wroker", "version": "new"}]},
                    {"revision": "039", "phase": "Contract"},
                ],
                "checks": {"columnDropped": "Warn", "columnDroped": "Off"},
                "waivers": [
                    {"revision": "042", "check": "dropColumn", "hash": "0123456789abcdeF", "reason": "r"},
                    {"revision": "042", "check": "columnDropped", "hash": "01234567", "reason": "r"},
                ],
            },
        }));
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn a_lock_is_waited_for_shorter_than_a_statement_may_take() {
        for (lock, statement, fine) in [
            (None, None, true),
            (Some("14m"), None, true),
            (Some("15m"), None, false),
            (None, Some("5s"), false),
            (None, Some("6s"), true),
            (Some("1m"), Some("59s"), false),
            (Some("soon"), Some("1s"), false),
        ] {
            let told = problems(&json!({
                "components": ["api"], "migrations": {"lockTimeout": lock, "statementTimeout": statement},
            }));
            assert_eq!(told.is_empty(), fine, "{lock:?} {statement:?}: {told:?}");
            assert!(told.len() <= 1, "{told:?}");
        }
    }

    #[test]
    fn what_can_be_said_of_a_database_is_no_problem() {
        let said = json!({
            "components": ["api", "worker"],
            "revisionTable": "stoa.alembic_version",
            "migrations": {
                "alembic": ["alembic", "-c", "db/alembic.ini"],
                "lockTimeout": "3s", "statementTimeout": "1h", "lockWait": "10m", "urlVariable": "DATABASE_URL",
                "revisions": [{"revision": "044", "phase": "Contract", "needs": [{"component": "api", "version": "2.3.0"}]}],
                "checks": {"columnAdded": "Warn", "heavyLock": "Off"},
                "waivers": [{"revision": "042", "check": "columnDropped", "hash": "0123456789abcdef", "reason": "r"}],
            },
        });
        assert_eq!(problems(&said), Vec::<String>::new());
        assert_eq!(problems(&json!({"components": ["api"]})), Vec::<String>::new());
    }
}
