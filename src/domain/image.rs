//! Image references: repository, tag and digest.

/// An image reference taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRef<'a> {
    /// Registry and path, without tag and digest.
    pub repository: &'a str,
    /// The tag, if the reference has one.
    pub tag: Option<&'a str>,
    /// The digest with its algorithm (`sha256:...`), if the reference has one.
    pub digest: Option<&'a str>,
}

impl<'a> ImageRef<'a> {
    /// Takes `image` apart. Every text has a reading: what is neither tag nor digest is the repository.
    #[must_use]
    pub fn parse(image: &'a str) -> Self {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (image, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (rest, None),
        };
        Self { repository, tag, digest }
    }

    /// Whether both references name the same content for sure: the same text, or the same repository and digest.
    #[must_use]
    pub fn same_content(self, other: Self) -> bool {
        self == other || (self.repository == other.repository && self.digest.is_some() && self.digest == other.digest)
    }

    /// Whether the repository is the one a policy names: equal, or, when `pattern` starts with `*/`, ending in the
    /// rest of it after a slash, so that mirrors are found.
    #[must_use]
    pub fn is_from(self, pattern: &str) -> bool {
        match pattern.strip_prefix("*/") {
            Some(suffix) => {
                self.repository == suffix
                    || self.repository.strip_suffix(suffix).is_some_and(|registry| registry.ends_with('/'))
            }
            None => self.repository == pattern,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        for (image, repository, tag, digest) in [
            ("nginx", "nginx", None, None),
            ("nginx:1.2", "nginx", Some("1.2"), None),
            ("localhost:5000/nginx", "localhost:5000/nginx", None, None),
            ("localhost:5000/a/b:v1", "localhost:5000/a/b", Some("v1"), None),
            ("ghcr.io/a/b@sha256:00", "ghcr.io/a/b", None, Some("sha256:00")),
            ("ghcr.io/a/b:v1@sha256:00", "ghcr.io/a/b", Some("v1"), Some("sha256:00")),
            ("", "", None, None),
            (":", "", Some(""), None),
            ("@", "", None, Some("")),
        ] {
            assert_eq!(ImageRef::parse(image), ImageRef { repository, tag, digest }, "image {image:?}");
        }
    }

    #[test]
    fn a_digest_tells_that_nothing_changed() {
        let parse = ImageRef::parse;
        assert!(parse("a:v1@sha256:00").same_content(parse("a:v2@sha256:00")));
        assert!(parse("a:v1").same_content(parse("a:v1")));
        assert!(!parse("a:v1@sha256:00").same_content(parse("a:v1@sha256:11")));
        assert!(!parse("a:v1").same_content(parse("a:v1@sha256:11")));
        assert!(!parse("b@sha256:00").same_content(parse("a@sha256:00")));
    }

    #[test]
    fn a_leading_star_finds_mirrors() {
        assert!(ImageRef::parse("mirror.example/x/portal:1").is_from("*/portal"));
        assert!(ImageRef::parse("portal:1").is_from("*/portal"));
        assert!(!ImageRef::parse("mirror.example/x/stoa-portal:1").is_from("*/portal"));
        assert!(!ImageRef::parse("mirror.example/portal/x").is_from("*/portal"));
        assert!(ImageRef::parse("ghcr.io/a/b:1").is_from("ghcr.io/a/b"));
    }
}
