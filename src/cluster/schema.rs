//! What a `Platform` remembers of the database, as the rules see it.

use std::collections::BTreeMap;

use crate::api::{PlatformDatabase, RevisionNature, RevisionSource};
use crate::domain::policy::Policy;
use crate::domain::schema::{Nature, Need, Recorded, Schema};
use crate::domain::version::Version;

/// `recorded` in the terms of `policy`; components that it does not have are passed over.
#[must_use]
pub fn schema(policy: &Policy, recorded: Option<&PlatformDatabase>) -> Schema {
    let nobody = || Schema::unread("nobody has read the revision of the database yet");
    let Some(recorded) = recorded else { return nobody() };
    // What was read before counts while it cannot be read again: its age is told with it.
    let at = match &recorded.problem {
        Some(problem) if recorded.heads.is_empty() => Err(problem.clone()),
        _ if recorded.observed.is_none() => nobody().at,
        _ => Ok(recorded.heads.clone()),
    };
    let needs = recorded.needs.iter().filter_map(|need| {
        let component = policy.component_named(&need.component)?;
        let (version, image) = (Version::read(&need.version), need.image.clone());
        // What cannot be read is no version that anything could ask for.
        version.known()?;
        Some(Need { component, version, image, revision: need.revision.clone() })
    });
    let nature = |nature| match nature {
        RevisionNature::Additive => Nature::Additive,
        RevisionNature::Unknown => Nature::Unknown,
        RevisionNature::Breaking => Nature::Breaking,
    };
    let known: BTreeMap<String, Recorded> = (recorded.revisions.iter().rev())
        .map(|one| (one.revision.clone(), Recorded { down: one.down.clone(), nature: nature(one.nature) }))
        .collect();
    Schema {
        at,
        observed: recorded.observed.as_ref().map(|observed| observed.0),
        live: recorded.source == RevisionSource::Controller,
        needs: needs.collect(),
        known,
        hook_comes: false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::testing::mk_policy;

    fn read(recorded: Option<Value>) -> Schema {
        let policy = Policy::try_from(&mk_policy("p", &["ns"], &[("api", "x/api")])).unwrap();
        schema(&policy, recorded.map(|value| serde_json::from_value(value).unwrap()).as_ref())
    }

    #[test]
    fn what_was_read_counts_until_it_is_read_again() {
        let at = "2026-07-01T12:00:00Z";
        let nobody = "nobody has read the revision of the database yet";
        for (recorded, expected) in [
            (None, Err(nobody)),
            (Some(json!({})), Err(nobody)),
            (Some(json!({"needs": [{"component": "api", "version": "2.3.0", "revision": "r7"}]})), Err(nobody)),
            (Some(json!({"observed": at})), Ok(&[][..])),
            (Some(json!({"heads": ["r7"], "observed": at})), Ok(&["r7"])),
            (Some(json!({"heads": ["r7"], "observed": at, "problem": "no answer"})), Ok(&["r7"])),
            (Some(json!({"observed": at, "problem": "no answer"})), Err("no answer")),
        ] {
            let expected = expected.map(|heads| heads.iter().map(ToString::to_string).collect()).map_err(str::to_owned);
            assert_eq!(read(recorded.clone()).at, expected, "{recorded:?}");
        }
    }

    #[test]
    fn everything_recorded_is_taken_over_in_the_terms_of_the_policy() {
        let found = read(Some(json!({
            "heads": ["r7"], "source": "Controller", "observed": "1970-01-01T00:00:00Z",
            "needs": [
                {"component": "api", "version": "2.3.0", "image": "sha256:a", "revision": "r7"},
                {"component": "api", "version": "latest", "revision": "r7"},
                {"component": "gone", "version": "2.3.0", "revision": "r7"},
            ],
            "revisions": [
                {"revision": "r7", "down": ["r5", "r6"], "nature": "Breaking"},
                {"revision": "r6", "nature": "Unknown"},
                {"revision": "r5", "nature": "Additive"},
            ],
        })));
        assert!(found.live);
        assert_eq!(found.observed, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(found.needs.len(), 1);
        assert_eq!((found.needs[0].image.as_deref(), found.needs[0].revision.as_str()), (Some("sha256:a"), "r7"));
        let natures: Vec<Nature> = found.known.values().map(|one| one.nature).collect();
        assert_eq!(natures, [Nature::Additive, Nature::Unknown, Nature::Breaking]);
        assert_eq!(found.known["r7"].down, ["r5", "r6"]);
    }
}
