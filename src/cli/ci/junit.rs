//! `JUnit` XML, as test reports of CI show it.

use std::fmt::Write as _;

/// Cases that belong together.
pub(in crate::cli) struct Suite {
    pub(in crate::cli) name: String,
    pub(in crate::cli) cases: Vec<Case>,
}

/// One thing that was looked at.
pub(in crate::cli) struct Case {
    /// What it belongs to.
    pub(in crate::cli) class: String,
    pub(in crate::cli) name: String,
    pub(in crate::cli) ended: Ended,
}

/// What came of it.
pub(in crate::cli) enum Ended {
    Passed,
    /// Passed, and this is worth to know.
    Told(String),
    Failed {
        kind: String,
        message: String,
        text: String,
    },
    /// Not looked at, for this reason.
    Skipped(String),
}

/// The whole document; `notes` stand above it as comments.
pub(in crate::cli) fn document(name: &str, suites: &[Suite], notes: &[String]) -> String {
    let told = notes
        .iter()
        .fold(String::new(), |told, note| format!("{told}<!-- {} -->\n", escape(note).replace("--", "- -")));
    let tests: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let failures: usize = suites.iter().map(Suite::failed).sum();
    let suites: String = suites.iter().map(Suite::xml).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{told}<testsuites name=\"{}\" tests=\"{tests}\" \
         failures=\"{failures}\">\n{suites}</testsuites>\n",
        escape(name)
    )
}

impl Suite {
    fn failed(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.ended, Ended::Failed { .. })).count()
    }

    fn xml(&self) -> String {
        let skipped = self.cases.iter().filter(|case| matches!(case.ended, Ended::Skipped(_))).count();
        let mut xml = format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{skipped}\">\n",
            escape(&self.name),
            self.cases.len(),
            self.failed()
        );
        self.cases.iter().for_each(|case| xml.push_str(&case.xml()));
        xml + "  </testsuite>\n"
    }
}

impl Case {
    fn xml(&self) -> String {
        let mut xml = format!("    <testcase classname=\"{}\" name=\"{}\"", escape(&self.class), escape(&self.name));
        let inner = match &self.ended {
            Ended::Passed => return xml + "/>\n",
            Ended::Told(text) => format!("<system-out>{}</system-out>", escape(text)),
            Ended::Failed { kind, message, text } => {
                let (kind, message, text) = (escape(kind), escape(message), escape(text));
                format!("<failure type=\"{kind}\" message=\"{message}\">{text}</failure>")
            }
            Ended::Skipped(why) => format!("<skipped message=\"{}\"/>", escape(why)),
        };
        let _ = writeln!(xml, ">{inner}</testcase>");
        xml
    }
}

/// Text as XML 1.0 takes it, in attributes too; what it cannot hold becomes a replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b> & \"c\"\n'd'\u{0}"), "a&lt;b&gt; &amp; &quot;c&quot;&#10;&apos;d&apos;\u{fffd}");
    }
}
