//! What a component's version is, and how a tag is read as one.

use std::fmt;

use regex::Regex;

/// The version of a component, or the text that could not be read as one.
///
/// Build metadata never orders two versions: lines are compared, not strings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// A semantic version.
    Known(semver::Version),
    /// What stands where a version should be: a tag such as `latest`, or a bare digest.
    Unknown(String),
}

impl Version {
    /// Reads `text` as a semantic version: `v` in front, `_` for `+` and a missing patch number are accepted.
    /// Anything else is [`Version::Unknown`].
    #[must_use]
    pub fn read(text: &str) -> Self {
        parse(text).map_or_else(|| Self::Unknown(text.to_owned()), Self::Known)
    }

    /// The semantic version, if there is one.
    #[must_use]
    pub fn known(&self) -> Option<&semver::Version> {
        match self {
            Self::Known(version) => Some(version),
            Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(version) => version.fmt(f),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

/// Parses a semantic version as image tags write it: `v2.3.0`, `2.3` (patch 0), `2.3.0_build.5` (tags cannot hold `+`).
///
/// Returns `None` for everything else; a lone major such as `24` is no version, because nothing tells its minor.
#[must_use]
pub fn parse(text: &str) -> Option<semver::Version> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text).replace('_', "+");
    semver::Version::parse(&text).ok().or_else(|| {
        let core_end = text.find(['-', '+']).unwrap_or(text.len());
        let (core, rest) = text.split_at(core_end);
        (core.matches('.').count() == 1).then(|| semver::Version::parse(&format!("{core}.0{rest}")).ok()).flatten()
    })
}

/// How a component writes its version into an image tag.
#[derive(Clone, Debug, Default)]
pub struct TagPattern {
    prefixes: Vec<String>,
    expression: Option<Regex>,
}

/// A tag expression that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TagPatternError {
    /// The text is no regular expression.
    #[error("is not a regular expression: {0}")]
    Syntax(String),
    /// No group says where the version is.
    #[error("has no group named 'version', write for example ^release-(?P<version>.+)$")]
    NoVersionGroup,
}

impl TagPattern {
    /// Makes a pattern that strips the first fitting prefix of `prefixes` (longest first), or, if `expression` is
    /// given, takes the group `version` of that regular expression instead.
    ///
    /// # Errors
    /// When `expression` is not a regular expression or has no group named `version`.
    pub fn new(mut prefixes: Vec<String>, expression: Option<&str>) -> Result<Self, TagPatternError> {
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        let expression = expression
            .map(|text| {
                let regex = Regex::new(text).map_err(|error| {
                    let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                    TagPatternError::Syntax(last)
                })?;
                if regex.capture_names().flatten().any(|name| name == "version") {
                    Ok(regex)
                } else {
                    Err(TagPatternError::NoVersionGroup)
                }
            })
            .transpose()?;
        Ok(Self { prefixes, expression })
    }

    /// The version in `tag`, or `None` when the tag carries none.
    #[must_use]
    pub fn version(&self, tag: &str) -> Option<semver::Version> {
        if let Some(expression) = &self.expression {
            return expression.captures(tag)?.name("version").and_then(|found| parse(found.as_str()));
        }
        let stripped = self.prefixes.iter().find_map(|prefix| tag.strip_prefix(prefix.as_str()));
        parse(stripped.unwrap_or(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_versions() {
        let pattern = TagPattern::new(vec!["control-plane-api-".into(), "control-plane-".into()], None).unwrap();
        for (tag, expected) in [
            ("2.3.0", Some("2.3.0")),
            ("v2.3.0", Some("2.3.0")),
            ("2.3", Some("2.3.0")),
            ("2.3-rc.1", Some("2.3.0-rc.1")),
            ("v2.3.0_build.5", Some("2.3.0+build.5")),
            ("control-plane-api-v1.15.0", Some("1.15.0")),
            ("control-plane-1.15.0", Some("1.15.0")),
            ("2.3.0-rc.1", Some("2.3.0-rc.1")),
            ("latest", None),
            ("dev-latest", None),
            ("dev-1f3a9c2", None),
            ("24", None),
            ("99999999999999999999.1.0", None),
            ("", None),
            ("v", None),
            ("1f3a9c2", None),
        ] {
            assert_eq!(pattern.version(tag).map(|v| v.to_string()).as_deref(), expected, "tag {tag:?}");
        }
    }

    #[test]
    fn an_expression_says_where_the_version_is() {
        let pattern = TagPattern::new(vec![], Some(r"^release-(?P<version>\d+\.\d+\.\d+)-\d+$")).unwrap();
        assert_eq!(pattern.version("release-2.3.0-77").unwrap().to_string(), "2.3.0");
        assert_eq!(pattern.version("2.3.0"), None);
    }

    #[test]
    fn an_expression_without_a_version_group_is_refused() {
        let no_group = TagPattern::new(vec![], Some("^v(.*)$")).unwrap_err();
        assert!(no_group.to_string().contains("group named 'version'"));
        assert!(TagPattern::new(vec![], Some("(")).is_err());
    }
}
