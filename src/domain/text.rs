//! What every text that leaves the guard has in common.

/// The word on which Flux and `kubectl apply --force` delete and recreate the object that a message is about.
const DANGEROUS: &str = "immutable";

/// `text` on one line and without the word that makes engines delete and recreate what a message is about: names, tags
/// and annotations are anybody's.
#[must_use]
pub fn tame(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let line = text.replace(breaks, " ");
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
    }
}
