//! Patterns as the API server reads them: Go's expressions, which are not quite Rust's and not at all ECMAScript's.

use jsonschema::{Keyword, ValidationError, ValidationOptions};
use regex::Regex;
use serde_json::Value;

/// The keyword that stands for `pattern` in translated schemas.
pub(super) const KEYWORD: &str = "k8s:pattern";

/// Reads a pattern of a schema; `None` when this program cannot.
pub(super) fn read(pattern: &str) -> Option<Regex> {
    Regex::new(&in_rust(pattern)).ok()
}

/// `options` with the keyword.
pub(super) fn register(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    options.with_keyword(KEYWORD, |_, value, _| {
        let pattern = value.as_str().and_then(read).map(Pattern);
        let pattern = pattern.ok_or_else(|| ValidationError::schema("cannot read the pattern"))?;
        Ok(Box::new(pattern))
    })
}

struct Pattern(Regex);

impl<'i> Keyword<'i> for Pattern {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            Ok(())
        } else {
            Err(ValidationError::custom(format!("the value does not match \"{}\"", self.0)))
        }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        instance.as_str().is_none_or(|text| self.0.is_match(text))
    }
}

/// A pattern of Go in the words of Rust: classes such as `\d` are of ASCII alone, and inside of brackets there is
/// neither nesting nor set arithmetic.
fn in_rust(pattern: &str) -> String {
    let mut rust = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    // Whether it is inside of brackets, and whether anything was in them yet.
    let (mut class, mut first) = (false, false);
    while let Some(c) = chars.next() {
        let begins = std::mem::take(&mut first);
        match (c, class) {
            ('\\', _) => escape(&mut rust, chars.next(), class),
            ('[', false) => {
                rust.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    rust.push('^');
                }
                (class, first) = (true, true);
            }
            ('[', true) if chars.peek() == Some(&':') => rust.push('['),
            // A named class ends with one bracket, the brackets around it with another.
            (':', true) if chars.peek() == Some(&']') && open_name(&rust) => {
                rust.push_str(":]");
                chars.next();
            }
            (']', true) if !begins => {
                rust.push(']');
                class = false;
            }
            ('[' | ']' | '&' | '~', true) => {
                rust.push('\\');
                rust.push(c);
            }
            _ => rust.push(c),
        }
    }
    rust
}

/// Whether `rust` is inside of a name such as `[:alpha`.
fn open_name(rust: &str) -> bool {
    rust.rsplit_once("[:").is_some_and(|(_, name)| name.chars().all(|c| c.is_ascii_alphabetic() || c == '^'))
}

fn escape(rust: &mut String, escaped: Option<char>, class: bool) {
    let known = match (escaped, class) {
        (Some('d'), true) => "0-9",
        (Some('d'), false) => "[0-9]",
        (Some('D'), _) => "[^0-9]",
        (Some('w'), true) => "0-9A-Za-z_",
        (Some('w'), false) => "[0-9A-Za-z_]",
        (Some('W'), _) => "[^0-9A-Za-z_]",
        (Some('s'), true) => r"\t\n\f\r ",
        (Some('s'), false) => r"[\t\n\f\r ]",
        (Some('S'), _) => r"[^\t\n\f\r ]",
        (Some('b'), false) => r"(?-u:\b)",
        (Some('<'), _) => "<",
        (Some('>'), _) => ">",
        (Some(c), _) => {
            rust.push('\\');
            rust.push(c);
            return;
        }
        (None, _) => "\\",
    };
    rust.push_str(known);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let cases = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١", false),
            (r"^[\w.-]+$", "a_b-c.d", true),
            (r"^[\w.-]+$", "é", false),
            (r"^[^\s]+$", "a\u{a0}b", true),
            (r"^[\W]$", "-", true),
            (r"^[^\d]$", "5", false),
            ("^[[:alpha:]]$", "a", true),
            ("^[[:^alpha:]_]$", "5", true),
            ("^[[]$", "[", true),
            ("^[]a]+$", "]a", true),
            ("^[^]]$", "]", false),
            ("^[a&&b]+$", "a&b", true),
            ("^[a~~b]$", "~", true),
            (r"^\/a\_b$", "/a_b", true),
            (r"^\<a\>$", "<a>", true),
            (r"a\b", "é a", true),
            ("(?i)^a$", "A", true),
            ("^a$", "a\n", false),
        ];
        for (pattern, text, expected) in cases {
            let read = read(pattern).unwrap_or_else(|| panic!("{pattern}: {}", in_rust(pattern)));
            assert_eq!(read.is_match(text), expected, "{pattern} as {read} on {text:?}");
        }
        assert!(read("(").is_none() && read("a\\").is_none());
    }
}
