//! What every text that leaves the guard has in common.

/// The word on which Flux and `kubectl apply --force` delete and recreate the object that a message is about.
const DANGEROUS: &str = "immutable";

/// The longest text that leaves the guard, in characters. Real ones stay far below; a tag may be as long as an object.
const LONGEST: usize = 8192;

/// Whether `c` could break a line, or turn what follows it around on a terminal.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` on one line of bounded length, and without the word that makes engines delete and recreate what a message is
/// about: names, tags and annotations are anybody's.
#[must_use]
pub fn tame(text: &str) -> String {
    let mut line: String = text.chars().take(LONGEST).map(|c| if is_unprintable(c) { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push_str("...");
    }
    // ASCII lower case keeps every position.
    let lower = line.to_ascii_lowercase();
    let mut tamed = String::with_capacity(line.len());
    let mut rest = 0;
    for (at, word) in lower.match_indices(DANGEROUS) {
        tamed.push_str(&line[rest..at]);
        tamed.push_str("immu-table");
        rest = at + word.len();
    }
    tamed.push_str(&line[rest..]);
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_tamed() {
        assert_eq!(tame("a\nb\tc\u{2028}d"), "a b c d");
        assert_eq!(tame("Ä field is IMMUTABLE here"), "Ä field is immu-table here");
        assert_eq!(tame("plain"), "plain");
        assert_eq!(tame("2.3.0\u{2028}next\u{202e}0.3.2"), "2.3.0 next 0.3.2");
        assert_eq!(tame(&"ä".repeat(LONGEST)), "ä".repeat(LONGEST));
        assert_eq!(tame(&"x".repeat(LONGEST + 1)), format!("{}...", "x".repeat(LONGEST)));
    }
}
