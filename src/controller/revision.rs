//! At which revision the database of each install is: read again and again where a URL is at hand, so that what the
//! reviews go by is no older than it has to be. No review waits for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Install;
use crate::api::{PlatformDatabase, RevisionSource};
use crate::database::revision::{Noted, Revision, revision};
use crate::database::url::DatabaseUrl;
use crate::domain::policy::Database;

/// How long the database may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// When nothing changed, the time of the last look is written only after this long.
const RENEWED_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// The longest text in a status, in characters.
const LONGEST_TEXT: usize = 1024;
/// The largest file that is taken for a URL.
const LARGEST_FILE: u64 = 16 * 1024;

/// The databases that can be read: a folder, as a Secret is mounted, with a file for each install, named `NAMESPACE` or
/// `NAMESPACE.POLICY`, that holds the URL of its database.
#[derive(Clone, Debug)]
pub struct Databases {
    /// The folder.
    pub folder: PathBuf,
    /// How often each is read.
    pub every: Duration,
}

/// What was seen: the revision, or why it could not be read, without secrets.
pub type Seen = Result<Revision, String>;

impl Databases {
    /// Reads the revision of the database of `install`; `None` where no URL of it is here. The file is read at each
    /// look, because passwords change.
    pub async fn look(&self, install: &Install, rules: &Database) -> Option<Seen> {
        let url = match self.url(install)? {
            Ok(url) => url,
            Err(why) => return Some(Err(why)),
        };
        let noted = match (&rules.query, &rules.table) {
            (Some(query), _) => Noted::Query(query.clone()),
            (None, Some(table)) => Noted::Table(table.clone()),
            (None, None) => Noted::default(),
        };
        Some(revision(&url, &noted, ANSWER_TIMEOUT).await.map_err(|error| error.to_string()))
    }

    fn url(&self, install: &Install) -> Option<Result<DatabaseUrl, String>> {
        let Install { namespace, policy } = install;
        let names = [format!("{namespace}.{policy}"), namespace.clone()];
        let (name, size) = names.into_iter().find_map(|name| {
            let found = std::fs::metadata(self.folder.join(&name)).ok().filter(std::fs::Metadata::is_file)?;
            Some((name, found.len()))
        })?;
        let unread = |why: String| format!("the URL in the file {name} of --databases cannot be read: {why}");
        if size > LARGEST_FILE {
            return Some(Err(unread(format!("it has {size} bytes"))));
        }
        let text = std::fs::read_to_string(self.folder.join(&name)).map_err(|error| error.to_string());
        let url =
            text.and_then(|text| DatabaseUrl::parse(text.trim(), &BTreeMap::new()).map_err(|error| error.to_string()));
        Some(url.map_err(unread))
    }
}

/// What is written after a look, if anything is: news at once, and the time of the look now and then. When the database
/// cannot be read, what was read before stays, with its age.
#[must_use]
pub fn noted(old: Option<&PlatformDatabase>, seen: &Seen, now: Timestamp) -> Option<PlatformDatabase> {
    let old = old.cloned().unwrap_or_default();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let new = match seen {
        Err(why) => PlatformDatabase { problem: Some(why.chars().take(LONGEST_TEXT).collect()), ..old.clone() },
        Ok(revision) => PlatformDatabase {
            heads: revision.heads(),
            problem: (*revision == Revision::Untracked).then(|| revision.to_string()),
            source: RevisionSource::Controller,
            ..old.clone()
        },
    };
    if seen.is_err() {
        return (new != old).then_some(new);
    }
    let is_old = old.observed.as_ref().is_none_or(|observed| now.duration_since(observed.0) >= RENEWED_AFTER);
    (new != old || is_old).then_some(PlatformDatabase { observed: Some(Time(now)), ..new })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_784_116_800, 0);

    fn ago(seconds: i64) -> Time {
        Time(NOW - SignedDuration::from_secs(seconds))
    }

    fn known(head: &str, source: RevisionSource, seconds: i64) -> PlatformDatabase {
        let needs = vec![crate::api::PlatformSchemaNeed::default()];
        PlatformDatabase {
            heads: vec![head.to_owned()],
            source,
            observed: Some(ago(seconds)),
            needs,
            ..Default::default()
        }
    }

    #[test]
    fn only_news_are_written_and_the_time_now_and_then() {
        use RevisionSource::{Controller, Hook};
        let one = |head: &str| Ok(Revision::One(head.to_owned()));
        let failed = || Err("no answer".to_owned());
        let with = |problem: &str, of: PlatformDatabase| PlatformDatabase { problem: Some(problem.to_owned()), ..of };
        let empty = |problem: Option<&str>| PlatformDatabase {
            heads: vec![],
            problem: problem.map(str::to_owned),
            ..known("", Controller, 0)
        };
        for (what, old, seen, expected) in [
            ("the same a while ago", known("r7", Controller, 299), one("r7"), None),
            ("the same long ago", known("r7", Controller, 300), one("r7"), Some(known("r7", Controller, 0))),
            ("another", known("r7", Controller, 1), one("r8"), Some(known("r8", Controller, 0))),
            ("what the hook saw", known("r7", Hook, 1), one("r7"), Some(known("r7", Controller, 0))),
            ("no answer", known("r7", Hook, 900), failed(), Some(with("no answer", known("r7", Hook, 900)))),
            ("no answer again", with("no answer", known("r7", Hook, 900)), failed(), None),
            (
                "an answer again",
                with("no answer", known("r7", Controller, 9)),
                one("r7"),
                Some(known("r7", Controller, 0)),
            ),
            ("empty", known("r7", Controller, 1), Ok(Revision::Empty), Some(empty(None))),
            (
                "made by something else",
                known("r7", Controller, 1),
                Ok(Revision::Untracked),
                Some(empty(Some("the database has tables, and none that notes a revision"))),
            ),
        ] {
            assert_eq!(noted(Some(&old), &seen, NOW), expected, "{what}");
        }
        let first = noted(None, &one("r7"), NOW).unwrap();
        assert_eq!((first.heads, first.observed), (vec!["r7".to_owned()], Some(ago(0))));
        let never = noted(None, &failed(), NOW).unwrap();
        assert_eq!((never.problem.as_deref(), never.observed), (Some("no answer"), None));
    }

    #[test]
    fn the_url_of_an_install_is_in_its_file_and_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let databases = Databases { folder: folder.path().to_owned(), every: Duration::ZERO };
        let install = |namespace: &str| Install { namespace: namespace.to_owned(), policy: "stoa".to_owned() };
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("both", "postgresql://one@db/first\n");
        put("both.stoa", "postgresql://one@db/second\n");
        put("plain", "postgresql://one@db/third\n");
        put("broken", "mysql://root:secret@db/x");
        put("large", &"x".repeat(20_000));
        let told = |namespace: &str| databases.url(&install(namespace)).map(|url| url.map(|url| url.to_string()));
        assert!(told("both").unwrap().unwrap().contains("second"));
        assert!(told("plain").unwrap().unwrap().contains("third"));
        assert_eq!(told("none"), None);
        for namespace in ["broken", "large"] {
            let why = told(namespace).unwrap().unwrap_err();
            assert!(why.starts_with(&format!("the URL in the file {namespace} of --databases")), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
