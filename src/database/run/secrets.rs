//! Passwords in what another program says.

use crate::database::address::Address;

/// What must not be shown.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// The password of the database: as it is, as its URL writes it, and as programs write it anew.
    pub(super) fn of(address: &Address, variable: &str) -> Self {
        let plain = address.url().password.clone();
        let written = address.environment(variable).into_iter().filter_map(|(name, value)| match name.as_str() {
            "PGPASSWORD" => Some(value),
            _ if name == variable => in_url(&value).map(str::to_owned),
            _ => None,
        });
        let mut secrets: Vec<String> = plain.iter().flat_map(|plain| forms(plain)).chain(written).collect();
        secrets.retain(|secret| !secret.is_empty());
        // The longest first: one may hold another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// `text` without them.
    pub(super) fn masked(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// The password as it stands in a URL.
fn in_url(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())).0;
    Some(authority.rsplit_once('@')?.0.split_once(':')?.1)
}

/// A password plain, percent-encoded, with `+` for blanks, and as Python's `repr` writes it.
fn forms(plain: &str) -> Vec<String> {
    let encoded = |kept: &str, blank: &str| -> String {
        let one = |byte: &u8| match char::from(*byte) {
            ' ' => blank.to_owned(),
            letter if letter.is_ascii_alphanumeric() || kept.contains(letter) => letter.to_string(),
            _ => format!("%{byte:02X}"),
        };
        plain.as_bytes().iter().map(one).collect()
    };
    let repr = plain.replace('\\', "\\\\").replace('\'', "\\'");
    // Python's `quote`, `quote_plus` and SQLAlchemy each keep other characters.
    vec![
        plain.to_owned(),
        repr,
        encoded("-_.~", "%20"),
        encoded("-_.~", "+"),
        encoded("-_.~/", "%20"),
        encoded("-_.~ ", " "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_masked_in_every_form() {
        let variables = [("DATABASE_URL", "postgresql+asyncpg://u:p%40s%27 w/rd@db/stoa"), ("PGPASSWORD", "other")];
        let environment =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        // A URL that is read: the slash is encoded.
        let encoded = |name: &str| environment(name).map(|value| value.replace("w/rd", "w%2Frd"));
        let address = Address::of_environment("DATABASE_URL", encoded).unwrap().unwrap();
        let secrets = Secrets::of(&address, "DATABASE_URL");
        for said in [
            "p@s' w/rd",
            "p@s\\' w/rd",
            "p%40s%27%20w%2Frd",
            "p%40s%27+w%2Frd",
            "p%40s%27%20w/rd",
            "p%40s%27 w%2Frd",
            "other",
        ] {
            assert_eq!(
                secrets.masked(&format!("cannot connect to u:{said}@db")),
                "cannot connect to u:***@db",
                "{said}"
            );
        }
    }

    #[test]
    fn without_a_password_nothing_is_masked() {
        let url = |name: &str| (name == "DATABASE_URL").then(|| "postgresql://u@db/stoa".to_owned());
        let address = Address::of_environment("DATABASE_URL", url).unwrap().unwrap();
        assert_eq!(Secrets::of(&address, "DATABASE_URL").masked("u@db/stoa"), "u@db/stoa");
    }
}
