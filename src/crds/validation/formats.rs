//! The formats of strings that the API server validates, as it does (`k8s.io/kube-openapi/pkg/validation/strfmt`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use jsonschema::ValidationOptions;
use regex::Regex;

/// What is made of a format.
pub(super) enum Known {
    /// It is validated, under this name.
    Checked(&'static str),
    /// The API server validates it, this program does not.
    Unchecked,
    /// The API server does not validate it either.
    Ignored,
}

/// A format's name here, and what fits it.
type Format = (&'static str, fn(&str) -> bool);

/// Apart from the names that JSON Schema gives a meaning of its own.
const FORMATS: [Format; 17] = [
    ("k8s:datetime", date_time),
    ("k8s:date", date),
    ("k8s:duration", duration),
    ("k8s:byte", |text| matches(&BASE64, text)),
    ("k8s:uuid", |text| matches(&UUID, text)),
    ("k8s:uuid3", |text| matches(&UUID, text) && uuid_digit(text, 12) == Some('3')),
    ("k8s:uuid4", |text| matches(&UUID, text) && uuid_digit(text, 12) == Some('4') && variant(text)),
    ("k8s:uuid5", |text| matches(&UUID, text) && uuid_digit(text, 12) == Some('5') && variant(text)),
    ("k8s:ipv4", |text| text.parse::<Ipv4Addr>().is_ok()),
    ("k8s:ipv6", |text| text.parse::<Ipv6Addr>().is_ok()),
    ("k8s:cidr", cidr),
    ("k8s:mac", |text| matches(&MAC, text)),
    ("k8s:hexcolor", |text| matches(&HEX_COLOR, text)),
    ("k8s:ssn", |text| matches(&SSN, text)),
    ("k8s:bsonobjectid", |text| matches(&OBJECT_ID, text)),
    ("k8s:k8sshortname", |text| matches(&SHORT_NAME, text)),
    ("k8s:k8slongname", |text| text.len() <= 253 && text.split('.').all(|label| matches(&LABEL, label))),
];

/// What is made of the format `name`, as a schema writes it.
pub(super) fn known(name: &str) -> Known {
    let name = name.replace('-', "");
    let checked = FORMATS.iter().find(|(format, _)| format.strip_prefix("k8s:") == Some(&name));
    match (checked, name.as_str()) {
        (Some((format, _)), _) => Known::Checked(format),
        (None, "uri" | "email" | "hostname" | "isbn" | "isbn10" | "isbn13" | "creditcard" | "rgbcolor") => {
            Known::Unchecked
        }
        (None, _) => Known::Ignored,
    }
}

/// `options` with all of these formats.
pub(super) fn register(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    FORMATS.iter().fold(options, |options, (name, fits)| options.with_format(*name, *fits))
}

/// An expression of this file.
type Pattern = LazyLock<Option<Regex>>;

fn matches(pattern: &Pattern, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

fn pattern(text: &str) -> Option<Regex> {
    // All of them are below, and a test matches each.
    Regex::new(text).ok()
}

static BASE64: Pattern =
    LazyLock::new(|| pattern(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$"));
static UUID: Pattern =
    LazyLock::new(|| pattern("^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"));
static MAC: Pattern = LazyLock::new(|| {
    let byte = "[0-9a-fA-F]{2}";
    let plain = |mark: &str| format!("{byte}(?:{mark}{byte}){{5}}(?:(?:{mark}{byte}){{2}}|(?:{mark}{byte}){{14}})?");
    let dots = r"[0-9a-fA-F]{4}(?:\.[0-9a-fA-F]{4}){2}(?:(?:\.[0-9a-fA-F]{4})|(?:\.[0-9a-fA-F]{4}){7})?";
    pattern(&format!("^(?:{}|{}|{dots})$", plain(":"), plain("-")))
});
static HEX_COLOR: Pattern = LazyLock::new(|| pattern("^#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static SSN: Pattern = LazyLock::new(|| pattern("^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"));
static OBJECT_ID: Pattern = LazyLock::new(|| pattern("^[0-9a-fA-F]{24}$"));
static SHORT_NAME: Pattern = LazyLock::new(|| pattern("^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$"));
static LABEL: Pattern = LazyLock::new(|| pattern("^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$"));
static TIME: Pattern =
    LazyLock::new(|| pattern("^([0-9]{2}):([0-9]{2}):([0-9]{2})(?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})$"));
static GO_DURATION: Pattern =
    LazyLock::new(|| pattern("^[-+]?(?:0|(?:(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)$"));
static WORDY_DURATION: Pattern =
    LazyLock::new(|| pattern("(?i)[0-9]+[ \t]*(?:ns|nano|us|µs|micro|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|wk|week)"));

fn date(text: &str) -> bool {
    text.len() == 10 && text.as_bytes().get(4) == Some(&b'-') && text.parse::<jiff::civil::Date>().is_ok()
}

/// As `strfmt.IsDateTime`: a date, `T`, and a time with its zone.
fn date_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut parts = text.split('t');
    let (Some(day), Some(time)) = (parts.next(), parts.next()) else { return false };
    let Some(found) = TIME.as_ref().and_then(|pattern| pattern.captures(time)) else { return false };
    date(day) && &found[1] <= "23" && &found[2] <= "59" && &found[3] <= "59"
}

/// As `strfmt.ParseDuration`: Go's way of writing them, or a number and a unit somewhere.
fn duration(text: &str) -> bool {
    matches(&GO_DURATION, text) || matches(&WORDY_DURATION, text)
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = if address.parse::<Ipv4Addr>().is_ok() {
        32
    } else if address.parse::<Ipv6Addr>().is_ok() {
        128
    } else {
        return false;
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

/// A digit of a UUID, from 0, dashes not counted.
fn uuid_digit(text: &str, index: usize) -> Option<char> {
    text.chars().filter(|c| *c != '-').nth(index)
}

fn variant(text: &str) -> bool {
    uuid_digit(text, 16).is_some_and(|c| matches!(c, '8' | '9' | 'a' | 'b' | 'A' | 'B'))
}
