//! What the findings in SQL mean, in one line each: for a version that does not know the revision, or for what waits.

use crate::database::check::Check;

/// What a finding of the check means, in one line: what follows from it, and where there is another way, which.
#[must_use]
pub const fn of(check: Check) -> &'static str {
    match check {
        Check::ColumnDropped => "it goes, and versions that read or write it fail: drop it in a later release",
        Check::SchemaDropped => "it goes, and everything in it",
        Check::TableDropped | Check::ObjectDropped => {
            "it goes, and versions that use it fail: drop it in a later release"
        }
        Check::ColumnRenamed => {
            "it gets another name, and versions that use the old one fail: add a column and write both"
        }
        Check::TableRenamed => "it gets another name, and versions that use the old one fail",
        Check::ObjectRenamed => "it gets another name, and whatever names the old one fails",
        Check::EnumValueRemoved => "a value gets another name, and versions that write the old one fail",
        Check::SchemaMoved => "it goes to another schema, and versions find it no more",
        Check::TypeNarrowed => {
            "it gets a type of which it is not known that it holds and does all that the old one did: writes may be out of range, and queries fail"
        }
        Check::RequiredColumnAdded => {
            "it must be written and has no default: every insert of a version that does not know it fails"
        }
        Check::NotNullSet => "it takes no NULL any more: versions that write NULL fail",
        Check::DefaultDropped => {
            "its default goes: inserts of versions that leave it out fail where it must be written"
        }
        Check::SequenceReset => "it gives numbers that are taken: inserts fail by their keys",
        Check::IdentityChanged => "its identity or generated expression changes: inserts fail, or are given no value",
        Check::CheckAdded => "writes that were taken before are refused, also with NOT VALID",
        Check::UniqueAdded => "writes that were taken before are refused as duplicates",
        Check::ForeignKeyAdded => {
            "writes of rows without a parent are refused, and deletes of parents, also with NOT VALID"
        }
        Check::ExclusionAdded => "writes that were taken before are refused",
        Check::UniqueDropped => "ON CONFLICT finds it no more where it was unique, and duplicates are taken",
        Check::DomainTightened => "the domain takes fewer values: writes that were taken before are refused",
        Check::RightsRevoked => "rights change: permission may be denied to versions that run",
        Check::RowSecurity => "row security changes: writes are refused, and reads find fewer rows without an error",
        Check::SerialAdded => "it counts by a sequence on which writers have no right: their inserts fail",
        Check::JsonAdded => "json cannot be compared: SELECT DISTINCT * of versions before fails; jsonb can",
        Check::TriggerAdded => "what a trigger or rule does to the writes of versions before cannot be told",
        Check::DataRemoved => "rows go, or all of them change: old code on the new schema does not bring them back",
        Check::PartitionDetached => "its rows vanish from the parent",
        Check::Opaque => "what it does cannot be read: only a run on a copy shows it",
        Check::VersionTableWritten => "the revision is noted by hand: what the database notes may not be what it is",
        Check::TransactionControl => "the revision begins or ends a transaction by itself: it may be left half-applied",
        Check::Unhandled => "no check knows this kind of change",
        Check::EnumValueAdded => "versions that do not know the value may fail to read it",
        Check::NotNullDropped => "readers before do not expect the NULL that new versions write",
        Check::TypeWidened => "it gets a wider type: prepared statements fail once for each connection",
        Check::ColumnAdded => "prepared SELECT * fail once for each connection",
        Check::BehaviourChanged => "versions before get another behaviour or other values than they were made for",
        Check::SettingsChanged => "settings change for all who are connected",
        Check::IndexLocks => "writes wait while it is built or dropped: use CONCURRENTLY, outside of a transaction",
        Check::ConstraintScans => {
            "the whole table is read under the lock: add it NOT VALID, and VALIDATE it in a later transaction"
        }
        Check::TableRewritten => "the whole table is written anew: readers and writers wait until it is done",
        Check::NoLockTimeout => {
            "nothing limits how long a lock is waited for, and everything queues behind: SET lock_timeout"
        }
        Check::ConcurrentlyInTransaction => "CONCURRENTLY in a transaction fails: use an autocommit_block",
        Check::HeavyLock => "readers or writers wait as long as it takes",
        Check::BackfillUnderLock => {
            "rows are written while this transaction holds the lock of a changed table: write them in a transaction of its own"
        }
        Check::InvalidIndex => "a build failed and left it: drop it and build it again",
    }
}
