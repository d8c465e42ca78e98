use std::cell::{Cell, RefCell};

use serde_json::json;
use tokio::time::Instant as Clock;

use super::*;
use crate::api::UpgradePolicy;
use crate::cluster::pod::ContainerState;
use crate::domain::view::{ComponentView, Intent, Missing, Rollout, WorkloadId, WorkloadView};
use crate::hook::Exit;
use crate::hook::http::Wrong;
use crate::report::News;

const API: ComponentId = ComponentId(0);
const UI: ComponentId = ComponentId(1);

pub(super) fn policy() -> Policy {
    let component = |name: &str| json!({"name": name, "match": {"names": [name]}});
    let spec = json!({"namespaces": ["shop"], "components": [component("api"), component("ui")]});
    let policy: UpgradePolicy = serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": spec})).unwrap();
    Policy::try_from(&policy).unwrap()
}

fn id(name: &str) -> WorkloadId {
    WorkloadId { kind: "Deployment".to_owned(), name: name.to_owned() }
}

/// A workload that asks for a version, with its pods of each version.
fn workload(name: &str, asks: &str, runs: &[(&str, u32)], rollout: Rollout) -> WorkloadView {
    WorkloadView {
        id: id(name),
        desired: vec![Version::read(asks)],
        running: runs.iter().map(|(version, pods)| (Version::read(version), *pods)).collect(),
        rollout,
    }
}

fn component(workloads: Vec<WorkloadView>) -> ComponentView {
    ComponentView { workloads, ..ComponentView::default() }
}

fn pod(uid: &str, owner: &str, restarts: i32) -> PodState {
    let container = ContainerState { name: owner.to_owned(), restarts, trouble: None };
    PodState { uid: uid.to_owned(), owner: Some(id(owner)), ready: true, containers: vec![container] }
}

/// Two components of which all is well.
fn well() -> Sight {
    let policy = policy();
    let mut view = View::empty(&policy);
    for (at, name) in ["api", "ui"].into_iter().enumerate() {
        view.components[at] = component(vec![workload(name, "2.3.0", &[("2.3.0", 2)], Rollout::Settled)]);
    }
    let versions = [API, UI].map(|id| (id, [Version::read("2.3.0")].into())).into();
    Sight {
        policy,
        view,
        pods: vec![pod("a1", "api", 0), pod("a2", "api", 1), pod("u1", "ui", 0), pod("u2", "ui", 0)],
        wanted: Wanted { target: Some("2026.07".to_owned()), versions, revision: Some("4f1c".to_owned()) },
        http: vec![Checked { name: "health".to_owned(), found: Ok("answered 200".to_owned()) }],
        schema: Schema::Read(Ok(Revision::One("4f1c".to_owned()))),
    }
}

fn watched() -> Restarts {
    let before = [("a1", 0), ("a2", 1), ("u1", 0), ("u2", 0)].map(|(uid, count)| (uid.to_owned(), count));
    Restarts::Since { before: before.into(), watched: Duration::from_secs(10) }
}

/// Each check in a line, as it stands.
fn lines(table: &Table) -> String {
    let line = |row: &Row| format!("{:?} {} {}: {}", row.standing, row.of, row.check, row.found);
    table.0.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_well_is_verified() {
    let table = judge(&well(), &watched());
    assert_eq!((table.holds(), table.exit()), (true, Exit::Done));
    insta::assert_snapshot!(lines(&table), @r"
    Holds api version: running 2.3.0 (2/2 pods)
    Holds api rollout: complete
    Holds api pods: 2 of 2 pods ready
    Holds api restarts: 1 restart, none in 10 s
    Holds ui version: running 2.3.0 (2/2 pods)
    Holds ui rollout: complete
    Holds ui pods: 2 of 2 pods ready
    Holds ui restarts: 0 restarts, none in 10 s
    Holds health http: answered 200
    Holds database schema: at 4f1c
    ");
}

/// One thing is wrong, and only its own check says so.
#[test]
fn what_is_wrong_is_told_where_it_is_wrong() {
    type Break = fn(&mut Sight);
    let cases: [(&str, Exit, Break); 19] = [
        ("a component behind", Exit::Versions, |sight| {
            sight.view.components[1] = component(vec![workload("ui", "2.2.0", &[("2.2.0", 2)], Rollout::Settled)]);
        }),
        ("old pods left", Exit::Versions, |sight| {
            let missing = Rollout::Progressing(Missing::OldPods(1));
            sight.view.components[0] =
                component(vec![workload("api", "2.3.0", &[("2.3.0", 2), ("2.2.0", 1)], missing)]);
        }),
        ("held", Exit::Versions, |sight| {
            let held = Rollout::Progressing(Missing::Held(vec![Version::read("2.3.0")]));
            sight.view.components[1] = component(vec![workload("ui", "2.2.0", &[("2.2.0", 2)], held)]);
        }),
        ("held from elsewhere", Exit::Versions, |sight| {
            let held = Rollout::Progressing(Missing::Held(vec![Version::read("2.4.0")]));
            sight.view.components[1] = component(vec![workload("ui", "2.3.0", &[("2.3.0", 2)], held)]);
        }),
        ("one of two workloads behind", Exit::Versions, |sight| {
            let old = workload("ui-b", "2.2.0", &[("2.2.0", 1)], Rollout::Settled);
            sight.view.components[1].workloads.push(old);
        }),
        ("not here", Exit::Versions, |sight| sight.view.components[1] = ComponentView::default()),
        ("at no pods", Exit::Versions, |sight| {
            sight.view.components[1] = component(vec![workload("ui", "2.3.0", &[], Rollout::Settled)]);
            sight.pods.truncate(2);
        }),
        ("a version that nothing tells", Exit::CouldNot, |sight| {
            sight.view.components[1] = component(vec![workload("ui", "latest", &[("latest", 2)], Rollout::Settled)]);
        }),
        ("not available", Exit::Policy, |sight| {
            let missing = Rollout::Progressing(Missing::Available { available: 1, of: 2 });
            sight.view.components[0] = component(vec![workload("api", "2.3.0", &[("2.3.0", 2)], missing)]);
        }),
        ("admitted and not shown", Exit::Policy, |sight| {
            let intent = Intent { version: Version::read("2.4.0"), expires: jiff::Timestamp::MAX };
            sight.view.components[0].intents.push(intent);
        }),
        ("a crash loop", Exit::Policy, |sight| {
            sight.pods[0].ready = false;
            sight.pods[0].containers[0].trouble = Some("CrashLoopBackOff".to_owned());
        }),
        ("ready, and an init container that fails", Exit::Policy, |sight| {
            sight.pods[0].containers[0].trouble = Some("ImagePullBackOff".to_owned());
        }),
        ("no pods to be seen", Exit::Policy, |sight| sight.pods.clear()),
        ("restarts", Exit::Policy, |sight| sight.pods[1].containers[0].restarts = 3),
        ("a new pod that was restarted", Exit::Policy, |sight| sight.pods.push(pod("a3", "api", 1))),
        ("HTTP", Exit::Policy, |sight| sight.http[0].found = Err(Wrong::Answer("answered 503, wanted 200".into()))),
        ("HTTP that cannot be asked", Exit::CouldNot, |sight| {
            sight.http[0].found = Err(Wrong::Asking("cannot read caFile /ca.crt".into()));
        }),
        ("another revision", Exit::Versions, |sight| sight.schema = Schema::Read(Ok(Revision::One("9e2a".to_owned())))),
        ("no database", Exit::CouldNot, |sight| sight.schema = Schema::NotLooked("DATABASE_URL is empty".to_owned())),
    ];
    let mut told = Vec::new();
    for (name, exit, spoil) in cases {
        let mut sight = well();
        spoil(&mut sight);
        let table = judge(&sight, &watched());
        assert!(!table.holds(), "{name}");
        assert_eq!(table.exit(), exit, "{name}: {}", lines(&table));
        told.push(format!("{name}: {}", table.waits_for()));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn versions_say_more_than_health_and_that_more_than_what_nobody_could_tell() {
    let mut sight = well();
    sight.schema = Schema::NotLooked("no URL".to_owned());
    assert_eq!(judge(&sight, &watched()).exit(), Exit::CouldNot);
    sight.pods[0].ready = false;
    assert_eq!(judge(&sight, &watched()).exit(), Exit::Policy);
    sight.view.components[1] = component(vec![workload("ui", "2.2.0", &[("2.2.0", 2)], Rollout::Settled)]);
    assert_eq!(judge(&sight, &watched()).exit(), Exit::Versions);
}

#[test]
fn a_schema_that_nobody_wants_or_that_is_skipped_is_no_trouble() {
    for (revision, schema) in [(None, Schema::NotWanted), (Some("4f1c"), Schema::Skipped)] {
        let mut sight = well();
        sight.wanted.revision = revision.map(str::to_owned);
        sight.schema = schema;
        assert!(judge(&sight, &watched()).holds());
    }
}

#[test]
fn an_empty_install_is_not_verified() {
    let policy = policy();
    let (view, wanted) = (View::empty(&policy), Wanted::default());
    let sight = Sight { policy, view, pods: vec![], wanted, http: vec![], schema: Schema::NotWanted };
    assert_eq!(judge(&sight, &Restarts::OneLook).exit(), Exit::CouldNot);
}

// --- looking again; the clock of these tests goes by itself

const SETTLE: Duration = Duration::from_secs(10);

/// What is seen at each look, the last one for ever, and when it was looked at.
struct Film {
    looks: RefCell<Vec<Result<Sight, String>>>,
    seen: Cell<usize>,
    began: Clock,
    at: RefCell<Vec<u64>>,
}

impl Film {
    fn of(looks: Vec<Result<Sight, String>>) -> Self {
        Self { looks: RefCell::new(looks), seen: Cell::new(0), began: Clock::now(), at: RefCell::new(vec![]) }
    }

    fn look(&self) -> Result<Sight, String> {
        self.at.borrow_mut().push(self.began.elapsed().as_secs());
        let looks = self.looks.borrow();
        let seen = self.seen.replace(self.seen.get() + 1).min(looks.len() - 1);
        looks[seen].clone()
    }

    async fn play(&self, patience: Option<u64>) -> (Result<Verified, String>, Vec<String>) {
        let pace = Pace { settle: SETTLE, patience: patience.map(Duration::from_secs) };
        let mut news: Vec<News> = vec![];
        let verified = until_verified(async || self.look(), pace, &mut news).await;
        (verified, news.into_iter().map(|news| news.message).collect())
    }
}

fn behind() -> Sight {
    let mut sight = well();
    let missing = Rollout::Progressing(Missing::Updated { updated: 1, of: 2 });
    sight.view.components[1] = component(vec![workload("ui", "2.3.0", &[("2.3.0", 1), ("2.2.0", 1)], missing)]);
    sight
}

#[tokio::test(start_paused = true)]
async fn two_looks_are_the_whole_of_it_without_waiting() {
    let film = Film::of(vec![Ok(behind()), Ok(behind())]);
    let (verified, _) = film.play(None).await;
    assert_eq!(verified.unwrap().table.exit(), Exit::Versions);
    assert_eq!(*film.at.borrow(), [0, 10]);

    let mut later = well();
    later.pods[0].containers[0].restarts = 1;
    let (verified, _) = Film::of(vec![Ok(well()), Ok(later)]).play(None).await;
    assert_eq!(verified.unwrap().table.exit(), Exit::Policy);
    let (verified, _) = Film::of(vec![Err("cannot list pods".to_owned())]).play(None).await;
    assert_eq!(verified.unwrap_err(), "cannot list pods");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_everything_holds_and_was_watched() {
    let film = Film::of(vec![Ok(behind()), Err("cannot list pods".into()), Ok(behind()), Ok(behind()), Ok(well())]);
    let (verified, news) = film.play(Some(600)).await;
    assert_eq!(verified.unwrap().table.exit(), Exit::Done);
    // Watched from the fifth look on, which is the first at which all is well.
    assert_eq!(*film.at.borrow(), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    insta::assert_snapshot!(news.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_or_are_restarted_are_watched_from_then_on() {
    let with_a_new_pod = || {
        let mut sight = well();
        sight.pods[0] = pod("a9", "api", 0);
        sight
    };
    let film = Film::of(vec![Ok(well()), Ok(well()), Ok(with_a_new_pod())]);
    film.play(Some(600)).await.0.unwrap();
    assert_eq!(film.at.borrow().last(), Some(&14), "ten seconds after the look at 4 s");

    let restarted = |count| {
        let mut sight = well();
        sight.pods[0].containers[0].restarts = count;
        Ok(sight)
    };
    let film = Film::of([0, 0, 0, 0, 0, 1, 2].map(restarted).into());
    film.play(Some(600)).await.0.unwrap();
    let end = *film.at.borrow().last().unwrap();
    assert!(end >= 22, "restarts at 10 s and 12 s, and none for ten seconds since: {end}");
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_the_last_look_counts() {
    let (verified, _) = Film::of(vec![Ok(behind())]).play(Some(30)).await;
    assert_eq!(verified.unwrap().table.exit(), Exit::Versions);
    let (verified, _) = Film::of(vec![Ok(well()), Err("cannot list pods".into())]).play(Some(30)).await;
    assert_eq!(verified.unwrap_err(), "cannot list pods", "what was seen before may no longer be so");
    // Always falling: never watched for long enough, and told so.
    let falling = (0..40).map(|count| {
        let mut sight = well();
        sight.pods[0].containers[0].restarts = count;
        Ok(sight)
    });
    let (verified, _) = Film::of(falling.collect()).play(Some(30)).await;
    assert!(!verified.unwrap().table.holds());
}

#[tokio::test(start_paused = true)]
async fn a_look_that_does_not_end_ends_at_the_deadline() {
    let pace = Pace { settle: SETTLE, patience: Some(Duration::from_secs(30)) };
    let never = async || std::future::pending::<Result<Sight, String>>().await;
    let verified = until_verified(never, pace, &mut Vec::<News>::new()).await;
    assert_eq!(verified.unwrap_err(), "the deadline passed before anything was seen");
}
