//! The checks of migrations: one table, by which policies, reports and documentation name them.

use std::collections::BTreeMap;

use crate::api::CrdSeverity as Severity;

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A version that does not know the revision fails, or reads or writes what is wrong.
    Breaking,
    /// It goes on, and something means another thing than before.
    Semantic,
    /// It waits: a lock that the revision takes stops its readers or writers.
    Lock,
}

#[cfg(test)]
mod tests;

macro_rules! checks {
    ($($check:ident $name:literal $kind:ident $severity:ident $what:literal;)+) => {
        /// A check of migrations.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $(#[doc = $what] $check,)+
        }

        impl Check {
            /// All checks, in the order in which they are listed.
            pub const ALL: &[Self] = &[$(Self::$check),+];

            /// Its name, as policies and reports write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$check => $name),+ }
            }

            /// What it is about.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$check => Kind::$kind),+ }
            }

            /// What it leads to where a policy says nothing.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$check => Severity::$severity),+ }
            }

            /// What it finds, in one line.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$check => $what),+ }
            }
        }
    };
}

checks! {
    ColumnDropped "columnDropped" Breaking Error "A column goes.";
    TableDropped "tableDropped" Breaking Error "A table goes.";
    SchemaDropped "schemaDropped" Breaking Error "A schema or database goes.";
    ObjectDropped "objectDropped" Breaking Error "A view, function, type, domain, sequence or extension goes.";
    ColumnRenamed "columnRenamed" Breaking Error "A column gets another name.";
    TableRenamed "tableRenamed" Breaking Error "A table gets another name.";
    ObjectRenamed "objectRenamed" Breaking Error "A view, function, type, sequence, constraint or schema gets another name.";
    EnumValueRemoved "enumValueRemoved" Breaking Error "A value of an enum goes or gets another name.";
    SchemaMoved "schemaMoved" Breaking Error "An object goes to another schema.";
    TypeNarrowed "typeNarrowed" Breaking Error "A column gets a type that does not hold or do all that the old one did.";
    RequiredColumnAdded "requiredColumnAdded" Breaking Error "A new column must be written, and has no default.";
    NotNullSet "notNullSet" Breaking Error "A column takes no NULL any more.";
    DefaultDropped "defaultDropped" Breaking Error "A column that must be written loses its default.";
    IdentityChanged "identityChanged" Breaking Error "A column's identity or generated expression goes, or takes no values any more.";
    CheckAdded "checkAdded" Breaking Error "A table gets a check that refuses what was written before, also with NOT VALID.";
    UniqueAdded "uniqueAdded" Breaking Error "Columns that were there have to be unique.";
    ForeignKeyAdded "foreignKeyAdded" Breaking Error "Columns that were there get a foreign key: writes and deletes are refused.";
    ExclusionAdded "exclusionAdded" Breaking Error "A table that was there gets an exclusion constraint or primary key.";
    UniqueDropped "uniqueDropped" Breaking Error "A unique constraint or index goes: ON CONFLICT finds it no more.";
    SequenceReset "sequenceReset" Breaking Error "A sequence is set back or made anew: it gives numbers that are taken.";
    DomainTightened "domainTightened" Breaking Error "A domain takes fewer values.";
    RightsRevoked "rightsRevoked" Breaking Error "A right is taken away, or the owner changes.";
    RowSecurity "rowSecurity" Breaking Error "Row level security or its policies change: writes are refused, reads find fewer rows.";
    SerialAdded "serialAdded" Breaking Error "A new column counts by a sequence on which writers have no right.";
    JsonAdded "jsonAdded" Breaking Error "A new column of type json: SELECT DISTINCT * fails.";
    TriggerAdded "triggerAdded" Breaking Error "A table that was there gets a trigger or rule, or its trigger changes.";
    DataRemoved "dataRemoved" Breaking Error "Rows go: TRUNCATE, or DELETE or UPDATE without a condition.";
    PartitionDetached "partitionDetached" Breaking Error "Rows vanish from a parent: a partition or child is detached.";
    Opaque "opaque" Breaking Error "A statement whose effect cannot be read: only a try on a copy shows it.";
    VersionTableWritten "versionTableWritten" Breaking Error "The table with the revision is written by hand.";
    TransactionControl "transactionControl" Breaking Error "A revision begins or ends transactions by itself, and may be left half-applied.";
    Unhandled "unhandled" Breaking Error "Something of the schema changes that no check knows.";
    EnumValueAdded "enumValueAdded" Semantic Warn "An enum gets a value that versions before may not be able to read.";
    NotNullDropped "notNullDropped" Semantic Warn "A column takes NULL, which readers before do not expect.";
    TypeWidened "typeWidened" Semantic Warn "A column gets a wider type: statements that are prepared fail once.";
    ColumnAdded "columnAdded" Semantic Off "A table gets a column: prepared SELECT * fail once for each connection.";
    BehaviourChanged "behaviourChanged" Semantic Warn "A view, function, default, generated expression or sequence is something else than before.";
    SettingsChanged "settingsChanged" Semantic Warn "Settings of roles, databases, extensions, triggers or replication change.";
    IndexLocks "indexLocks" Lock Warn "An index is made, made again or dropped without CONCURRENTLY: writes wait.";
    ConstraintScans "constraintScans" Lock Warn "A constraint is checked under the lock, and not by NOT VALID and VALIDATE in a later transaction.";
    TableRewritten "tableRewritten" Lock Warn "A table is written anew: readers and writers wait.";
    NoLockTimeout "noLockTimeout" Lock Warn "A lock is waited for without end, and everything queues behind it.";
    ConcurrentlyInTransaction "concurrentlyInTransaction" Lock Error "CONCURRENTLY in a transaction fails.";
    HeavyLock "heavyLock" Lock Warn "A statement that takes a heavy lock: ATTACH PARTITION, REFRESH MATERIALIZED VIEW, LOCK TABLE.";
    BackfillUnderLock "backfillUnderLock" Lock Warn "Rows are written in the transaction that changes the table: its lock is held all that time.";
    InvalidIndex "invalidIndex" Lock Error "An index is invalid: a concurrent build failed, and IF NOT EXISTS will skip it.";
}

impl Check {
    /// The check of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|check| check.name() == name)
    }

    /// What it leads to under these settings of a policy.
    #[must_use]
    pub fn severity_under(self, settings: &BTreeMap<String, Severity>) -> Severity {
        settings.get(self.name()).copied().unwrap_or_else(|| self.severity())
    }
}
