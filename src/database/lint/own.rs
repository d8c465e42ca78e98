//! Rules for what squawk does not look at: statements whose effect cannot be read, rows that go, triggers, heavy locks.

use squawk_linter::Rule;
use squawk_syntax::ast::{self, AstNode as _, Stmt};

use crate::database::check::Check;

use super::news::News;
use super::squawk::Violation;
use super::statement::{Class, Statement, Target, name_of};
use super::words::{Name, words};
use super::{Context, Draft, tables};

/// Functions that only compute. A call of any other may do anything.
const PURE: &[&str] = &[
    "abs",
    "array_agg",
    "array_length",
    "avg",
    "bool_and",
    "bool_or",
    "ceil",
    "clock_timestamp",
    "coalesce",
    "concat",
    "count",
    "current_database",
    "current_schema",
    "current_setting",
    "date_part",
    "date_trunc",
    "every",
    "exists",
    "extract",
    "floor",
    "format",
    "gen_random_uuid",
    "greatest",
    "json_agg",
    "jsonb_agg",
    "least",
    "length",
    "lower",
    "max",
    "md5",
    "min",
    "now",
    "nullif",
    "pg_get_serial_sequence",
    "random",
    "regexp_replace",
    "replace",
    "round",
    "row_number",
    "split_part",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "to_char",
    "to_regclass",
    "to_regtype",
    "to_timestamp",
    "trim",
    "unnest",
    "upper",
    "version",
];
/// Functions that only set something for this session or wait.
const OF_SESSION: &[&str] =
    &["set_config", "pg_advisory_lock", "pg_advisory_unlock", "pg_advisory_xact_lock", "pg_sleep", "pg_notify"];

/// What all rules look at.
pub(super) struct Scene<'a> {
    pub(super) context: &'a Context,
    pub(super) news: &'a News,
    /// The table that this transaction has changed and so keeps locked.
    pub(super) locked: Option<&'a Name>,
}

impl Scene<'_> {
    /// What a statement other than ALTER TABLE does.
    pub(super) fn drafts(&self, statement: &Statement, targets: &[Target], violations: &[Violation]) -> Vec<Draft> {
        let old: Vec<&Target> = targets.iter().filter(|target| !self.is_new(target, statement)).collect();
        let is_of_new_only = !targets.is_empty() && old.is_empty();
        let mut drafts = self.by_itself(statement);
        let mut seen = is_of_new_only || !drafts.is_empty() || is_harmless(statement);
        let mut checks: Vec<Check> = Vec::new();
        for violation in violations {
            // That no timeout is set says nothing of what the statement does.
            seen |= violation.check != Some(Check::NoLockTimeout);
            checks.extend(self.of_violation(violation, statement, targets));
        }
        checks.extend(of_targets(statement));
        if checks.is_empty() && !seen {
            checks.push(Check::Unhandled);
        }
        for check in checks {
            let is_transaction = matches!(check, Check::ConcurrentlyInTransaction | Check::NoLockTimeout);
            if targets.is_empty() || is_transaction {
                drafts.push(Draft { check, object: nameless(statement, targets), table: None });
            } else {
                let of = |target: &&Target| Draft { check, object: target.object(), table: self.table_of(target) };
                drafts.extend(old.iter().map(of));
            }
        }
        drafts
    }

    fn is_new(&self, target: &Target, statement: &Statement) -> bool {
        // What hangs on a type or function that goes may be old.
        let takes_more = statement.begins(&["drop"])
            && statement.has("cascade")
            && !matches!(
                target.noun,
                "table" | "schema" | "index" | "view" | "materialized view" | "trigger" | "policy" | "rule"
            );
        self.news.has(target.class, &target.name) && !takes_more
    }

    /// The table whose size says how long a lock is held.
    fn table_of(&self, target: &Target) -> Option<Name> {
        let index = (target.noun == "index" && target.of_table.is_none()).then(|| target.name.to_string());
        match index.and_then(|index| self.context.indexes.get(&index)) {
            Some(index) => {
                let (schema, name) = index.table.split_once('.')?;
                Some(Name { schema: schema.to_owned(), name: name.to_owned(), has_schema: true })
            }
            None => (target.class == Class::Relation).then(|| target.name.clone()),
        }
    }

    fn of_violation(&self, violation: &Violation, statement: &Statement, targets: &[Target]) -> Option<Check> {
        match (violation.rule, &statement.stmt) {
            (Rule::BanNewWriteRestriction, Stmt::CreateIndex(_)) => {
                let table = &targets.first()?.name;
                let is_partial = statement.has("where");
                (is_partial || !tables::is_of_new_columns(table, &statement.words, self.news))
                    .then_some(Check::UniqueAdded)
            }
            (Rule::BanNewWriteRestriction, _) => Some(Check::DomainTightened),
            (Rule::BanDropIndex, _) => {
                let may_be_unique = |target: &Target| {
                    self.context.indexes.get(&target.name.to_string()).is_none_or(|index| index.is_unique)
                };
                targets.iter().any(may_be_unique).then_some(Check::UniqueDropped)
            }
            (Rule::RenamingObject, Stmt::AlterType(_)) if statement.has_all(&["rename", "value"]) => {
                Some(Check::EnumValueRemoved)
            }
            _ => violation.check,
        }
    }

    /// What is found without regard to what the statement begins with: code, and rows.
    fn by_itself(&self, statement: &Statement) -> Vec<Draft> {
        let opaque = |object: String| vec![Draft { check: Check::Opaque, object, table: None }];
        match &statement.stmt {
            Stmt::Do(_) => opaque("DO block".to_owned()),
            Stmt::Execute(_) => opaque("prepared statement".to_owned()),
            Stmt::Explain(_) if statement.has("analyze") => opaque("EXPLAIN ANALYZE".to_owned()),
            Stmt::Copy(_) if statement.has("program") => opaque("COPY PROGRAM".to_owned()),
            Stmt::Call(call) => {
                let name = call.procedure_name_ref().and_then(|name| name_of(name.syntax(), &self.context.schema));
                opaque(name.map_or_else(|| "procedure".to_owned(), |name| format!("procedure {name}")))
            }
            Stmt::Select(_)
            | Stmt::CompoundSelect(_)
            | Stmt::ParenSelect(_)
            | Stmt::SelectInto(_)
            | Stmt::Values(_) => {
                let mut drafts = self.calls(statement, true);
                drafts.extend(self.rows(statement));
                drafts
            }
            Stmt::Insert(_) | Stmt::Update(_) | Stmt::Delete(_) | Stmt::Merge(_) => {
                let mut drafts = self.calls(statement, false);
                drafts.extend(self.rows(statement));
                drafts
            }
            _ => vec![],
        }
    }

    /// Functions that are called, and what is not known of them: all that are not known in a query, which would have no
    /// purpose without an effect; those of the range itself where rows are written.
    fn calls(&self, statement: &Statement, is_query: bool) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for call in statement.stmt.syntax().descendants().filter_map(ast::CallExpr::cast) {
            let name = call.expr().and_then(|expr| name_of(expr.syntax(), &self.context.schema));
            let Some(name) = name else { continue };
            let plain = name.name.as_str();
            let (check, object) = if plain == "setval" {
                let sequence = words(call.syntax()).iter().find_map(super::words::Word::string);
                (Check::BehaviourChanged, format!("sequence {}", sequence.unwrap_or_default()))
            } else if (is_query && !PURE.contains(&plain) && !OF_SESSION.contains(&plain))
                || self.news.has(Class::Function, &name)
            {
                (Check::Opaque, format!("function {name}"))
            } else {
                continue;
            };
            drafts.push(Draft { check, object, table: None });
        }
        drafts
    }

    /// Rows that go or are written anew, and how long a lock is held for it.
    fn rows(&self, statement: &Statement) -> Vec<Draft> {
        let schema = &self.context.schema;
        let mut drafts = Vec::new();
        for node in statement.stmt.syntax().descendants() {
            let (relation, has_condition, update) = if let Some(delete) = ast::Delete::cast(node.clone()) {
                (delete.relation_name(), has_condition(delete.where_clause_or_current_of()), None)
            } else if let Some(update) = ast::Update::cast(node.clone()) {
                (update.relation_name(), has_condition(update.where_clause_or_current_of()), Some(update))
            } else {
                continue;
            };
            let Some(table) = relation.and_then(|relation| name_of(relation.syntax(), schema)) else { continue };
            let fills_new = update.is_some_and(|update| self.sets_new_columns_only(&table, &update));
            if !has_condition && !fills_new && !self.news.table(&table) {
                let object = format!("table {table}");
                drafts.push(Draft { check: Check::DataRemoved, object, table: Some(table) });
            }
        }
        let copies = !matches!(statement.stmt, Stmt::Insert(_)) || statement.has("select");
        for table in statement.written(schema).into_iter().filter(|table| copies && !self.news.table(table)) {
            if self.locked.is_some() {
                let object = format!("table {table}");
                drafts.push(Draft { check: Check::BackfillUnderLock, object, table: Some(table) });
            }
        }
        if matches!(statement.stmt, Stmt::Merge(_)) && statement.has_all(&["by", "source"]) && statement.has("delete") {
            drafts.push(Draft { check: Check::DataRemoved, object: nameless(statement, &[]), table: None });
        }
        drafts
    }

    fn sets_new_columns_only(&self, table: &Name, update: &ast::Update) -> bool {
        let Some(list) = update.set_clause().and_then(|clause| clause.set_column_list()) else { return false };
        let mut columns = list.set_columns().map(|set| match set {
            ast::SetColumn::SetSingleColumn(single) => {
                single.column_target().and_then(|target| words(target.syntax()).first().map(|word| word.text.clone()))
            }
            ast::SetColumn::SetMultipleColumns(_) => None,
        });
        columns.all(|column| column.is_some_and(|column| self.news.column(table, &column).is_some()))
    }
}

/// Whether a condition is one: `WHERE true` and `WHERE 1 = 1` are none.
fn has_condition(clause: Option<impl ast::AstNode>) -> bool {
    let Some(clause) = clause else { return false };
    let words = words(clause.syntax());
    let said: Vec<&str> =
        words.iter().skip(1).map(|word| word.text.as_str()).filter(|word| !"()".contains(word)).collect();
    !matches!(said.as_slice(), [] | ["true"]) && !matches!(said.as_slice(), [one, "=", other] if one == other)
}

/// What is done to the targets, where they are old, by the kind of the statement.
fn of_targets(statement: &Statement) -> Vec<Check> {
    let in_transaction = statement.transaction.is_some() && statement.has("concurrently");
    let mut checks: Vec<Check> = Vec::new();
    checks.extend(match &statement.stmt {
        Stmt::CreateTrigger(_) | Stmt::CreateRule(_) | Stmt::DropRule(_) | Stmt::CreateEventTrigger(_) => {
            Some(Check::TriggerAdded)
        }
        Stmt::AlterRule(_) => Some(Check::ObjectRenamed),
        Stmt::Truncate(_) => Some(Check::DataRemoved),
        Stmt::Lock(_) => (!statement.has_all(&["access", "share"])).then_some(Check::HeavyLock),
        Stmt::Refresh(_) => (!statement.has("concurrently")).then_some(Check::HeavyLock),
        Stmt::Cluster(_) | Stmt::Repack(_) => Some(Check::TableRewritten),
        Stmt::Vacuum(_) => statement.has("full").then_some(Check::TableRewritten),
        Stmt::DropIndex(_) | Stmt::Reindex(_) | Stmt::CreateIndex(_) => {
            in_transaction.then_some(Check::ConcurrentlyInTransaction)
        }
        Stmt::DropOwned(_) | Stmt::DropRole(_) | Stmt::DropUser(_) | Stmt::DropGroup(_) | Stmt::Reassign(_) => {
            Some(Check::RightsRevoked)
        }
        Stmt::AlterDefaultPrivileges(_) => statement.has("revoke").then_some(Check::RightsRevoked),
        Stmt::DropEventTrigger(_)
        | Stmt::AlterEventTrigger(_)
        | Stmt::DropPublication(_)
        | Stmt::DropSubscription(_) => Some(Check::SettingsChanged),
        Stmt::DropAccessMethod(_)
        | Stmt::DropAggregate(_)
        | Stmt::DropCast(_)
        | Stmt::DropCollation(_)
        | Stmt::DropConversion(_)
        | Stmt::DropForeignDataWrapper(_)
        | Stmt::DropForeignTable(_)
        | Stmt::DropLanguage(_)
        | Stmt::DropMaterializedView(_)
        | Stmt::DropOperator(_)
        | Stmt::DropOperatorClass(_)
        | Stmt::DropOperatorFamily(_)
        | Stmt::DropProcedure(_)
        | Stmt::DropRoutine(_)
        | Stmt::DropServer(_)
        | Stmt::DropTextSearchConfig(_)
        | Stmt::DropTextSearchDict(_)
        | Stmt::DropTextSearchParser(_)
        | Stmt::DropTextSearchTemplate(_)
        | Stmt::DropTransform(_)
        | Stmt::DropUserMapping(_) => Some(Check::ObjectDropped),
        _ => None,
    });
    if statement.begins(&["alter"]) && statement.has_all(&["owner", "to"]) {
        checks.push(Check::RightsRevoked);
    }
    checks
}

/// What to call a statement that names nothing.
fn nameless(statement: &Statement, targets: &[Target]) -> String {
    if let Some(target) = targets.first() {
        target.object()
    } else {
        let words: Vec<&str> = statement.words.iter().take(4).map(|word| word.text.as_str()).collect();
        format!("statement {}", words.join(" "))
    }
}

/// What no version can tell: it adds, looks, or is of this session only.
fn is_harmless(statement: &Statement) -> bool {
    use Stmt as S;
    match &statement.stmt {
        // It may change what other statements mean.
        S::CreateCast(_) | S::CreateEventTrigger(_) | S::CreateTransform(_) | S::CreateSubscription(_) => false,
        S::Analyze(_) | S::Begin(_) | S::Checkpoint(_) | S::Close(_) | S::CommentOn(_) | S::Commit(_) | S::Copy(_)
        | S::Deallocate(_) | S::Declare(_) | S::Discard(_) | S::EmptyStmt(_) | S::Explain(_) | S::Fetch(_)
        | S::Grant(_) | S::Listen(_) | S::Move(_) | S::Notify(_) | S::Prepare(_) | S::ReleaseSavepoint(_)
        | S::Reset(_) | S::ResetRole(_) | S::ResetSessionAuth(_) | S::Rollback(_) | S::SavepointCreate(_) | S::Set(_)
        | S::SetConstraints(_) | S::SetRole(_) | S::SetSessionAuth(_) | S::SetTransaction(_) | S::Show(_)
        | S::Table(_) | S::Unlisten(_) | S::Vacuum(_) | S::Values(_)
        // Looked at row by row and call by call.
        | S::Select(_) | S::CompoundSelect(_) | S::ParenSelect(_) | S::SelectInto(_) | S::Insert(_) | S::Update(_)
        | S::Delete(_) | S::Merge(_) | S::Lock(_) | S::Refresh(_) | S::Reindex(_) | S::DropIndex(_)
        | S::DropStatistics(_) | S::AlterStatistics(_) | S::AlterIndex(_) | S::AlterDefaultPrivileges(_)
        | S::AlterPublication(_) => true,
        _ => statement.begins(&["create"]),
    }
}
