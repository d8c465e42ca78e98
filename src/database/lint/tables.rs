//! What `ALTER TABLE` does, action by action: what squawk finds in each, and what it does not.

use squawk_linter::Rule;
use squawk_syntax::ast::{self, AlterColumnOption as Option_, AlterTableAction as Action, AstNode as _, Constraint};

use crate::database::check::Check;

use super::news::{Column, News};
use super::squawk::Violation;
use super::statement::Class;
use super::words::{Name, Reader, Word, words};
use super::{Context, Draft, types};

/// A table, and what is known of it.
pub(super) struct Table<'a> {
    pub(super) name: &'a Name,
    pub(super) context: &'a Context,
}

/// What an action is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Table,
    Column(String),
    Constraint(String),
}

impl Table<'_> {
    /// What the actions do to a table that was there.
    pub(super) fn drafts(
        &self,
        actions: impl Iterator<Item = Action>,
        violations: &[Violation],
        news: &mut News,
    ) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for action in actions {
            let range = action.syntax().text_range();
            let (start, end) = (usize::from(range.start()), usize::from(range.end()));
            let words = words(action.syntax());
            let part = self.part(&action, &words);
            let within = violations.iter().filter(|violation| violation.start >= start && violation.start < end);
            let mut seen = is_harmless(&action);
            let mut checks = Vec::new();
            for violation in within {
                seen |= violation.check != Some(Check::NoLockTimeout);
                checks.extend(self.of_violation(violation, &action, &part, &words, news));
            }
            checks.extend(own(&action));
            if checks.is_empty() && !seen {
                checks.push(Check::Unhandled);
            }
            for check in checks {
                drafts.push(Draft { check, object: self.object(&part), table: Some(self.name.clone()) });
            }
            self.note(&action, &part, &words, news);
        }
        drafts
    }

    fn object(&self, part: &Part) -> String {
        match part {
            Part::Table => format!("table {}", self.name),
            Part::Column(column) => format!("column {}.{column}", self.name),
            Part::Constraint(constraint) if constraint.is_empty() => format!("constraint on {}", self.name),
            Part::Constraint(constraint) => format!("constraint {constraint} on {}", self.name),
        }
    }

    fn part(&self, action: &Action, words: &[Word]) -> Part {
        let mut reader = Reader::new(words, &self.name.schema);
        reader.skip(&["add", "alter", "drop", "rename", "validate"]);
        let mut named = |word: &str| {
            reader.skip(&[word]);
            reader.skip(&["if", "not", "exists"]);
            reader.part().unwrap_or_default()
        };
        match action {
            Action::AddColumn(_) | Action::AlterColumn(_) | Action::DropColumn(_) | Action::RenameColumn(_) => {
                Part::Column(named("column"))
            }
            Action::AddConstraint(_) if words.get(1).is_none_or(|word| word.text != "constraint") => {
                Part::Constraint(String::new())
            }
            Action::AddConstraint(_)
            | Action::AlterConstraint(_)
            | Action::DropConstraint(_)
            | Action::RenameConstraint(_)
            | Action::ValidateConstraint(_) => Part::Constraint(named("constraint")),
            _ => Part::Table,
        }
    }

    /// The checks that a finding of squawk is.
    fn of_violation(
        &self,
        violation: &Violation,
        action: &Action,
        part: &Part,
        words: &[Word],
        news: &News,
    ) -> Vec<Check> {
        let new = match part {
            Part::Column(column) => news.column(self.name, column),
            _ => None,
        };
        let check = match (violation.rule, violation.check) {
            (Rule::ChangingColumnType, _) => return self.type_change(action, part, new.is_some()),
            (Rule::BanNewWriteRestriction, _) => restriction(self.name, violation, action, words, new, news),
            // The rule is also of what switches on, and of row security.
            (Rule::BanDisableTrigger, _) => match action {
                Action::DisableTrigger(_) | Action::DisableRule(_) => Some(Check::SettingsChanged),
                Action::DisableRls(_) | Action::ForceRls(_) | Action::NoForceRls(_) => Some(Check::RowSecurity),
                _ => None,
            },
            (Rule::BanDropConstraint, _) => self.constraint_dropped(part, news),
            (Rule::AddingRequiredField, check) => {
                check.filter(|_| !matches!(action, Action::AddColumn(add) if has_default(add)))
            }
            (_, Some(Check::DefaultDropped)) => {
                new.is_none_or(|column| column.is_required).then_some(Check::DefaultDropped)
            }
            (
                _,
                Some(
                    Check::ColumnDropped
                    | Check::ColumnRenamed
                    | Check::NotNullDropped
                    | Check::BehaviourChanged
                    | Check::IdentityChanged,
                ),
            ) if new.is_some() => None,
            (_, Some(Check::ObjectRenamed)) if matches!(part, Part::Constraint(name) if news.constraint(self.name, name)) => {
                None
            }
            (_, check) => check,
        };
        check.into_iter().collect()
    }

    /// A unique constraint is what ON CONFLICT names. One of another kind only lets more in.
    fn constraint_dropped(&self, part: &Part, news: &News) -> Option<Check> {
        let Part::Constraint(name) = part else { return Some(Check::UniqueDropped) };
        let kind = self.context.constraints.get(&(self.name.to_string(), name.clone()));
        let is_known_as_other = kind.is_some_and(|kind| !matches!(kind, 'u' | 'p' | 'x'));
        (!news.constraint(self.name, name) && !is_known_as_other).then_some(Check::UniqueDropped)
    }

    fn type_change(&self, action: &Action, part: &Part, is_new: bool) -> Vec<Check> {
        let (Action::AlterColumn(alter), Part::Column(column)) = (action, part) else {
            return vec![Check::TypeNarrowed];
        };
        let Some(Option_::SetType(set)) = alter.option() else { return vec![Check::TypeNarrowed] };
        let new = set.ty().map(|ty| ty.syntax().text().to_string()).unwrap_or_default();
        let old = self.context.types.get(&(self.name.to_string(), column.clone()));
        let change = old.and_then(|old| types::change(old, &new)).filter(|_| set.using_expr().is_none());
        let rewrites = change.is_none_or(|change| change.rewrites).then_some(Check::TableRewritten);
        let check = match change {
            _ if is_new => None,
            Some(change) if change.widens => Some(Check::TypeWidened),
            _ => Some(Check::TypeNarrowed),
        };
        check.into_iter().chain(rewrites).collect()
    }

    fn note(&self, action: &Action, part: &Part, words: &[Word], news: &mut News) {
        match (action, part) {
            (Action::AddColumn(add), Part::Column(column)) => {
                let may_be_old = add.if_not_exists().is_some() && !self.context.lacks_column(self.name, column);
                if !may_be_old {
                    let mut constraints = add.constraints();
                    let is_required =
                        constraints.any(|constraint| matches!(constraint, Constraint::NotNullConstraint(_)));
                    news.set_column(self.name, column, Column { has_default: has_default(add), is_required });
                }
            }
            (Action::AlterColumn(alter), Part::Column(column)) => {
                if let Some(known) = news.column(self.name, column) {
                    let known = match alter.option() {
                        Some(Option_::SetNotNull(_)) => Column { is_required: true, ..known },
                        Some(Option_::DropNotNull(_)) => Column { is_required: false, ..known },
                        Some(Option_::SetDefault(_)) => Column { has_default: true, ..known },
                        Some(Option_::DropDefault(_)) => Column { has_default: false, ..known },
                        _ => known,
                    };
                    news.set_column(self.name, column, known);
                }
            }
            (Action::RenameColumn(_), Part::Column(column)) => {
                let to = words.last().map(|word| word.text.clone()).unwrap_or_default();
                news.rename_column(self.name, column, &to);
            }
            (Action::AddConstraint(_), Part::Constraint(name)) if !name.is_empty() => {
                news.add_constraint(self.name, name);
            }
            _ => {}
        }
    }
}

/// Notes what becomes of a table that is new: it may get another name.
pub(super) fn note_new(table: &Name, actions: impl Iterator<Item = Action>, news: &mut News) {
    for action in actions {
        if let Action::TableRenameTo(rename) = action
            && let Some(to) = words(rename.syntax()).pop()
        {
            news.rename(Class::Relation, table, &to.text);
        }
    }
}

/// What a new restriction on writes refuses, if anything that writers before send.
fn restriction(
    table: &Name,
    violation: &Violation,
    action: &Action,
    words: &[Word],
    new: Option<Column>,
    news: &News,
) -> Option<Check> {
    match action {
        Action::AddConstraint(add) => {
            let check = of_constraint(&add.constraint()?);
            let can_be_exempt = matches!(check, Check::UniqueAdded | Check::ForeignKeyAdded);
            (!can_be_exempt || !is_of_new_columns(table, words, news)).then_some(check)
        }
        Action::AlterColumn(_) => match new {
            // Writers before do not name it, so its default counts.
            Some(column) => (!column.has_default).then_some(Check::RequiredColumnAdded),
            None => Some(Check::NotNullSet),
        },
        Action::AddColumn(add) => {
            let own = add.constraints().find(|constraint| {
                let range = constraint.syntax().text_range();
                usize::from(range.start()) <= violation.start && violation.end <= usize::from(range.end())
            });
            // NULL is neither doubled nor refers to anything; a default is and does.
            match own.as_ref().map(of_constraint)? {
                check @ Check::ExclusionAdded => Some(check),
                check @ (Check::UniqueAdded | Check::ForeignKeyAdded) if has_default(add) => Some(check),
                Check::NotNullSet if !has_default(add) => Some(Check::RequiredColumnAdded),
                _ => None,
            }
        }
        _ => Some(Check::CheckAdded),
    }
}

fn of_constraint(constraint: &Constraint) -> Check {
    match constraint {
        Constraint::ForeignKeyConstraint(_) | Constraint::ReferencesConstraint(_) => Check::ForeignKeyAdded,
        Constraint::UniqueConstraint(_) => Check::UniqueAdded,
        Constraint::PrimaryKeyConstraint(_) | Constraint::ExcludeConstraint(_) => Check::ExclusionAdded,
        Constraint::NotNullConstraint(_) => Check::NotNullSet,
        _ => Check::CheckAdded,
    }
}

/// Whether all columns in the first parentheses are new, and NULL where writers do not name them.
pub(super) fn is_of_new_columns(table: &Name, words: &[Word], news: &News) -> bool {
    let mut inner = words.iter().skip_while(|word| word.text != "(" || word.is_quoted).skip(1);
    let mut count = 0;
    loop {
        let Some(column) = inner.next() else { return false };
        if news.column(table, &column.text).is_none_or(|column| column.has_default) {
            return false;
        }
        count += 1;
        match inner.next().map(|word| word.text.as_str()) {
            Some(",") => {}
            Some(")") => return count > 0,
            // An expression, an order or an operator class.
            _ => return false,
        }
    }
}

fn type_of(add: &ast::AddColumn) -> String {
    add.ty().map(|ty| ty.syntax().text().to_string().trim().to_lowercase()).unwrap_or_default()
}

fn is_serial(ty: &str) -> bool {
    matches!(ty, "serial" | "bigserial" | "smallserial" | "serial2" | "serial4" | "serial8")
}

/// Whether a row that does not name the column gets a value other than NULL.
fn has_default(add: &ast::AddColumn) -> bool {
    let filled = add.constraints().any(|constraint| match constraint {
        Constraint::DefaultConstraint(default) => {
            !default.expr().is_none_or(|expr| expr.syntax().text().to_string().trim().eq_ignore_ascii_case("null"))
        }
        Constraint::GeneratedConstraint(_) => true,
        _ => false,
    });
    filled || is_serial(&type_of(add))
}

/// What no version can tell, whatever it holds.
fn is_harmless(action: &Action) -> bool {
    match action {
        Action::AlterColumn(alter) => matches!(
            alter.option(),
            Some(
                Option_::SetCompression(_)
                    | Option_::SetStatistics(_)
                    | Option_::SetStorage(_)
                    | Option_::SetOptions(_)
                    | Option_::SetOptionsList(_)
                    | Option_::ResetOptions(_)
            )
        ),
        Action::AddColumn(_)
        | Action::ValidateConstraint(_)
        | Action::ClusterOn(_)
        | Action::SetWithoutCluster(_)
        | Action::SetWithoutOids(_)
        | Action::SetOptions(_)
        | Action::ResetOptions(_)
        | Action::OptionItemList(_)
        | Action::AlterOptionList(_)
        | Action::OfType(_)
        | Action::NotOf(_) => true,
        _ => false,
    }
}

/// What squawk has no rule for.
fn own(action: &Action) -> Vec<Check> {
    match action {
        Action::AddColumn(add) => {
            let ty = type_of(add);
            let is_identity = add.constraints().any(|constraint| {
                matches!(&constraint, Constraint::GeneratedConstraint(generated)
                    if words(generated.syntax()).iter().any(|word| word.text == "identity"))
            });
            let serial = is_serial(&ty).then_some([Check::SerialAdded, Check::TableRewritten]);
            let json = (ty == "json" || ty.starts_with("json[")).then_some(Check::JsonAdded);
            let identity = is_identity.then_some(Check::TableRewritten);
            serial.into_iter().flatten().chain(json).chain(identity).collect()
        }
        Action::SetLogged(_) | Action::SetUnlogged(_) | Action::SetTablespace(_) | Action::SetAccessMethod(_) => {
            vec![Check::TableRewritten]
        }
        Action::AttachPartition(_) | Action::MergePartitions(_) | Action::SplitPartition(_) => {
            vec![Check::HeavyLock]
        }
        Action::DetachPartition(_) | Action::NoInheritTable(_) => vec![Check::PartitionDetached],
        Action::InheritTable(_) => vec![Check::BehaviourChanged],
        Action::EnableTrigger(_)
        | Action::EnableAlwaysTrigger(_)
        | Action::EnableReplicaTrigger(_)
        | Action::EnableRule(_)
        | Action::EnableAlwaysRule(_)
        | Action::EnableReplicaRule(_) => vec![Check::TriggerAdded],
        Action::DisableRule(_) => vec![Check::SettingsChanged],
        Action::OwnerTo(_) => vec![Check::RightsRevoked],
        Action::AlterColumn(alter) => match alter.option() {
            Some(Option_::AddGenerated(_)) => vec![Check::IdentityChanged],
            Some(Option_::Restart(_) | Option_::SetSequenceOption(_)) => vec![Check::BehaviourChanged],
            _ => vec![],
        },
        _ => vec![],
    }
}
