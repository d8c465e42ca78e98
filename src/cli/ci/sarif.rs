//! SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format), as code scanning reads it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

/// The whole document: what can be found, what was, and what else a reader should know.
pub(in crate::cli) fn document(rules: &[Value], results: &[Value], notes: &[String]) -> Value {
    let told: Vec<Value> = notes.iter().map(|note| json!({"level": "note", "message": {"text": note}})).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "upgrade-guard", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": told}],
            "results": results,
        }],
    })
}

/// Where something was found: the name of the object, and the file and line where they are known.
pub(in crate::cli) fn location(object: &str, file: Option<(&Path, Option<u64>)>) -> Value {
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": object}]});
    if let Some((file, line)) = file {
        location["physicalLocation"] = json!({"artifactLocation": {"uri": uri(file)}});
        if let Some(line) = line {
            location["physicalLocation"]["region"] = json!({"startLine": line});
        }
    }
    location
}

/// A path as a relative reference of RFC 3986, or a `file` URI.
fn uri(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "" });
    for byte in text.strip_prefix("./").unwrap_or(&text).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        for (path, expected) in
            [("./db/a b.sql", "db/a%20b.sql"), ("/x/é#.sql", "file:///x/%C3%A9%23.sql"), ("c:1.sql", "c%3A1.sql")]
        {
            assert_eq!(uri(Path::new(path)), expected);
        }
    }
}
