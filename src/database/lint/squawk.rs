//! The rules of squawk that are run, and what they say as checks of ours. What is style only is not run.

use squawk_linter::{Linter, LinterSettings, Rule};
use squawk_syntax::{Parse, SourceFile};

use crate::database::check::Check;

use super::Context;

/// A rule, and the check that it is; none where that depends on what it is found in.
pub(super) const RULES: &[(Rule, Option<Check>)] = &[
    (Rule::AddingFieldWithDefault, Some(Check::TableRewritten)),
    (Rule::AddingNotNullableField, Some(Check::ConstraintScans)),
    (Rule::AddingRequiredField, Some(Check::RequiredColumnAdded)),
    (Rule::AddingSerialPrimaryKeyField, Some(Check::ExclusionAdded)),
    (Rule::BanAddColumn, Some(Check::ColumnAdded)),
    (Rule::BanAddCompositeAttribute, Some(Check::BehaviourChanged)),
    (Rule::BanAddEnumValue, Some(Check::EnumValueAdded)),
    (Rule::BanAlterDatabaseOptions, Some(Check::SettingsChanged)),
    (Rule::BanAlterDomainWithAddConstraint, Some(Check::DomainTightened)),
    (Rule::BanAlterExtension, Some(Check::SettingsChanged)),
    (Rule::BanAlterFunctionOptions, Some(Check::BehaviourChanged)),
    (Rule::BanAlterGeneratedExpression, Some(Check::BehaviourChanged)),
    (Rule::BanAlterIdentity, Some(Check::IdentityChanged)),
    (Rule::BanAlterPolicyCondition, Some(Check::RowSecurity)),
    (Rule::BanAlterPolicyRoles, Some(Check::RowSecurity)),
    (Rule::BanAlterRoleOptions, Some(Check::SettingsChanged)),
    (Rule::BanAlterRowLevelSecurity, Some(Check::RowSecurity)),
    (Rule::BanAlterSequenceValues, Some(Check::BehaviourChanged)),
    (Rule::BanAlterSystemOptions, Some(Check::SettingsChanged)),
    (Rule::BanAlterViewOptions, Some(Check::BehaviourChanged)),
    (Rule::BanConcurrentIndexCreationInTransaction, Some(Check::ConcurrentlyInTransaction)),
    (Rule::BanCreatePolicy, Some(Check::RowSecurity)),
    (Rule::BanDetachInheritance, Some(Check::PartitionDetached)),
    (Rule::BanDisableTrigger, Some(Check::SettingsChanged)),
    (Rule::BanDropColumn, Some(Check::ColumnDropped)),
    (Rule::BanDropConstraint, None),
    (Rule::BanDropDatabase, Some(Check::SchemaDropped)),
    (Rule::BanDropDefault, Some(Check::DefaultDropped)),
    (Rule::BanDropDomain, Some(Check::ObjectDropped)),
    (Rule::BanDropExtension, Some(Check::ObjectDropped)),
    (Rule::BanDropFunction, Some(Check::ObjectDropped)),
    (Rule::BanDropGeneratedExpression, Some(Check::IdentityChanged)),
    (Rule::BanDropIndex, None),
    (Rule::BanDropNotNull, Some(Check::NotNullDropped)),
    (Rule::BanDropPolicy, Some(Check::RowSecurity)),
    (Rule::BanDropSchema, Some(Check::SchemaDropped)),
    (Rule::BanDropSequence, Some(Check::ObjectDropped)),
    (Rule::BanDropTable, Some(Check::TableDropped)),
    (Rule::BanDropTrigger, Some(Check::TriggerAdded)),
    (Rule::BanDropType, Some(Check::ObjectDropped)),
    (Rule::BanDropView, Some(Check::ObjectDropped)),
    (Rule::BanNewWriteRestriction, None),
    (Rule::BanReplaceViewFunction, Some(Check::BehaviourChanged)),
    (Rule::BanReplicaIdentity, Some(Check::SettingsChanged)),
    (Rule::BanRevoke, Some(Check::RightsRevoked)),
    (Rule::BanSetDefault, Some(Check::BehaviourChanged)),
    (Rule::BanSetSchema, Some(Check::SchemaMoved)),
    (Rule::BanTruncateCascade, Some(Check::DataRemoved)),
    (Rule::ChangingColumnType, None),
    (Rule::ConstraintMissingNotValid, Some(Check::ConstraintScans)),
    (Rule::RenamingColumn, Some(Check::ColumnRenamed)),
    (Rule::RenamingObject, Some(Check::ObjectRenamed)),
    (Rule::RenamingTable, Some(Check::TableRenamed)),
    (Rule::RequireConcurrentIndexCreation, Some(Check::IndexLocks)),
    (Rule::RequireConcurrentIndexDeletion, Some(Check::IndexLocks)),
    (Rule::RequireConcurrentPartitionDetach, Some(Check::HeavyLock)),
    (Rule::RequireConcurrentReindex, Some(Check::IndexLocks)),
    (Rule::RequireLockTimeout, Some(Check::NoLockTimeout)),
];

/// What a rule found, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) check: Option<Check>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Runs the rules over a text without comments, and returns what they find, in the order of the text.
pub(super) fn run(parse: &Parse<SourceFile>, text: &str, context: &Context) -> Vec<Violation> {
    let rules = RULES.iter().map(|(rule, _)| *rule);
    // The one who runs the migrations sets them.
    let wanted: Vec<Rule> = rules.filter(|rule| *rule != Rule::RequireLockTimeout || !context.timeouts_set).collect();
    // A linter keeps what it found: there is a new one for each text.
    let mut linter = Linter::from(wanted);
    linter.settings = LinterSettings {
        pg_version: context.pg_version.to_string().parse().unwrap_or_default(),
        assume_in_transaction: context.in_transaction,
    };
    let found = linter.lint(parse, text).into_iter().filter_map(|violation| {
        let (rule, check) = *RULES.iter().find(|(rule, _)| *rule == violation.code)?;
        let (start, end) = (usize::from(violation.text_range.start()), usize::from(violation.text_range.end()));
        Some(Violation { rule, check, start, end })
    });
    let mut found: Vec<Violation> = found.collect();
    found.sort_by_key(|violation| violation.start);
    found
}
