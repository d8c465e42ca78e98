//! Rights, roles and settings.

use super::Look;
use crate::database::catalog::model::{Kind, Object};
use crate::database::check::Check;

impl Look<'_> {
    pub(super) fn right_dropped(&mut self, object: &Object) {
        match object.kind {
            Kind::Right => self.revoked(object, object.fact("privileges")),
            Kind::DefaultRight => {
                self.tell(Check::SettingsChanged, object, "is taken away: what is made from now on does not have it");
            }
            Kind::Member => {
                self.tell(Check::RightsRevoked, object, "is no longer one, and has lost that role's rights");
            }
            Kind::Setting => self.setting(object, object.fact("value")),
            // It has no right left here, which was told of the rights.
            _ => {}
        }
    }

    pub(super) fn right_changed(&mut self, before: &Object, after: &Object, fact: &str) {
        match (before.kind, fact) {
            (Kind::Right | Kind::DefaultRight, "privileges") => {
                let kept: Vec<&str> = after.fact(fact).split(", ").collect();
                let lost: Vec<&str> = before.fact(fact).split(", ").filter(|right| !kept.contains(right)).collect();
                match (lost.is_empty(), before.kind) {
                    (true, _) => {}
                    (false, Kind::Right) => self.revoked(before, &lost.join(", ")),
                    (false, _) => self.tell(Check::SettingsChanged, before, format!("loses {}", lost.join(", "))),
                }
            }
            (Kind::Role, _) if after.fact(fact) == "f" => {
                self.tell(Check::RightsRevoked, before, format!("has {fact} no more"));
            }
            (Kind::Role, "login" | "superuser" | "bypass rls" | "inherit") => {}
            (Kind::Setting, "value") => self.setting(after, before.fact("value")),
            _ => self.unhandled(before, after, fact),
        }
    }

    fn revoked(&mut self, right: &Object, lost: &str) {
        let parent = self.before.parent(right);
        let owner = |object: &Object| object.fact("owner").to_owned();
        let given_away = parent.and_then(|one| Some(owner(one) != owner(self.successor(one)?))).unwrap_or_default();
        // An owner's rights go with the ownership, which was told.
        if right.link("owner") == "t" && given_away {
            return;
        }
        let on = parent.map_or_else(|| "the database".to_owned(), ToString::to_string);
        self.tell(Check::RightsRevoked, right, format!("{} is denied {lost} on {on}: permission denied", right.name));
    }

    /// A setting of a role or of the database that is another one for new connections.
    pub(super) fn setting(&mut self, setting: &Object, old: &str) {
        let now = self.after.find(setting.kind, &setting.full).map_or("", |setting| setting.fact("value"));
        let message = format!("is '{now}' for new connections, and was '{old}'");
        let check = match setting.link("setting") {
            // Names are looked for in other schemas.
            "search_path" => Check::SchemaMoved,
            // Writes are refused.
            "default_transaction_read_only" | "role" | "session_authorization" => Check::RightsRevoked,
            "row_security" => Check::RowSecurity,
            _ => Check::SettingsChanged,
        };
        self.tell(check, setting, message);
    }
}
