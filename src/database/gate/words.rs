//! What a migrator says when it fails, in one line.

use super::super::migrator::Said;

/// What Python begins a traceback with.
const TRACEBACK: &str = "Traceback (most recent call last):";
/// The most that is told, in characters.
const MOST: usize = 600;

/// The error behind a traceback of Python, with the server's detail and without what follows: `SQLAlchemy` adds the
/// statement, its parameters, which nobody should see, and an address. Else the last words.
pub(super) fn words(said: &Said) -> String {
    let told = error(&said.err).unwrap_or_else(|| said.last_words());
    if told.chars().count() <= MOST { told } else { told.chars().take(MOST).chain(['…']).collect() }
}

fn error(stderr: &str) -> Option<String> {
    let (_, last) = stderr.rsplit_once(TRACEBACK)?;
    let mut lines = last.lines().skip_while(|line| line.is_empty() || line.starts_with(' '));
    let first = lines.next()?.trim();
    let further = lines
        .map(str::trim)
        .take_while(|line| !line.starts_with("[SQL:") && !line.starts_with("(Background"))
        .filter(|line| ["DETAIL:", "HINT:", "CONTEXT:"].iter().any(|word| line.starts_with(word)));
    Some([first].into_iter().chain(further).collect::<Vec<_>>().join(". "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_behind_a_traceback_is_told() {
        let sqlalchemy = "Traceback (most recent call last):\n  File \"a.py\"\n    raise x\npsycopg.errors.F: first\n\nThe above \
            exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \
            \"b.py\", line 3\n    raise y\nsqlalchemy.exc.NotSupportedError: (psycopg.errors.F) cannot alter type\nDETAIL:  rule \
            on view v\n[SQL: UPDATE t SET x = %s]\n[parameters: ('geheim',)]\n(Background on this error at: https://x)\n";
        for (err, expected) in [
            (
                sqlalchemy,
                "sqlalchemy.exc.NotSupportedError: (psycopg.errors.F) cannot alter type. DETAIL:  rule on view v",
            ),
            (
                "FAILED: Can't locate revision identified by 'x'\n",
                "FAILED: Can't locate revision identified by 'x' (exit code 255)",
            ),
            ("", "it said nothing (exit code 255)"),
            (TRACEBACK, "Traceback (most recent call last): (exit code 255)"),
        ] {
            let said = Said { code: Some(255), out: String::new(), err: err.to_owned() };
            assert_eq!(words(&said), expected);
        }
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let said = Said { code: Some(1), out: String::new(), err: format!("{TRACEBACK}\nE: {}", "é".repeat(2000)) };
        assert_eq!(words(&said).chars().count(), MOST + 1);
    }
}
