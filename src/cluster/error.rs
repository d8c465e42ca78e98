//! What the API server says when it refuses, as people read it.

/// The text of `error`: of a refusal the API server's own words, without the whole status that kube shows.
#[must_use]
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({} {})", status.message, status.code, status.reason),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let status = Status::failure("platforms \"stoa\" is forbidden", "Forbidden").with_code(403).boxed();
        assert_eq!(said(&kube::Error::Api(status)), "platforms \"stoa\" is forbidden (403 Forbidden)");
        let other = kube::Error::LinesCodecMaxLineLengthExceeded;
        assert_eq!(said(&other), other.to_string());
    }
}
