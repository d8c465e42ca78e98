//! What there is: workloads with their pods, the Platform's intents, and the requests on their way.

use std::fmt;

/// The most components that a configuration installs.
pub const PARTS: usize = 3;
/// The release lines that a component can be on.
pub const LINES: usize = 3;
/// The components, in the order of `manifests/policies/stoa.yaml`.
pub const NAMES: [&str; PARTS] = ["API", "gateway", "UI"];

/// A component's release line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(pub u8);

impl Line {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..LINES).map(|line| Self(u8::try_from(line).unwrap()))
    }
}

/// As its version, the way the policy's texts show it.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0 + 1)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many pods there are of each line.
pub type Pods = [u8; LINES];

pub fn lines_of(pods: &Pods) -> impl Iterator<Item = Line> + '_ {
    Line::all().filter(|line| pods[line.index()] > 0)
}

/// A Deployment and its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// What a read of it shows.
    pub object: Object,
    /// What its controller works towards: what was asked for when it last looked.
    pub target: Line,
    /// The pods that are there; [`Object::counted`] is what the status says.
    pub pods: Pods,
}

/// A Deployment as a read shows it, with the counts of its ReplicaSets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// What its template asks for.
    pub desired: Line,
    /// Whether the guard holds it back from that.
    pub held: bool,
    /// Whether its controller has seen the last change.
    pub observed: bool,
    /// The pods by line, as the status counts them.
    pub counted: Pods,
    /// The last line that was rolled out completely.
    pub completed: Line,
}

impl Object {
    /// Whether the status says that the rollout is complete.
    pub fn is_settled(&self) -> bool {
        let total: u8 = self.counted.iter().sum();
        self.observed && !self.held && total > 0 && self.counted[self.desired.index()] == total
    }

    /// What it asks for in effect: a held change has none.
    pub fn in_effect(&self) -> Vec<Line> {
        if self.held { lines_of(&self.counted).collect() } else { vec![self.desired] }
    }
}

impl Workload {
    pub fn settled(line: Line, replicas: u8) -> Self {
        let mut pods = [0; LINES];
        pods[line.index()] = replicas;
        let object = Object { desired: line, held: false, observed: true, counted: pods, completed: line };
        Self { object, target: line, pods }
    }

    /// What counts for the law: the pods that are there, and what will have some.
    pub fn live(&self) -> Vec<Line> {
        let mut live: Vec<Line> = lines_of(&self.pods).collect();
        live.extend((!self.object.held).then_some(self.object.desired));
        live
    }
}

/// An intent on the Platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    #[default]
    None,
    Fresh,
    /// Its time is over.
    Expired,
    /// The workload is no longer what the request found, so that it cannot be stored any more, if it was not.
    Changed,
}

impl Intent {
    /// The intent with that of a request that found the workload as it no longer is (`outdated`), or as it is. Both are
    /// on the Platform; what counts is that which counts longer.
    pub fn with(self, outdated: bool) -> Self {
        match (self, outdated) {
            (Self::None, true) => Self::Changed,
            (known, true) => known,
            (_, false) => Self::Fresh,
        }
    }
}

/// The Platform: one intent at most for each component and line it goes to. A resource version is not needed: whoever
/// read the Platform before a write knows that it lost (see `step`).
pub type Ledger = [[Intent; LINES]; PARTS];

/// Which intents: of each component and line.
pub type Slots = [[bool; LINES]; PARTS];

/// What was read of the workloads; `None` for those that are still to be read.
pub type Reads = [Option<Object>; PARTS];

/// A request from the moment at which the API server took the workload's object to give it to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    pub part: u8,
    pub to: Line,
    pub dry: bool,
    /// Which replica answers it; 0 where replicas have nothing of their own.
    pub replica: u8,
    /// Whether the workload was changed since: the API server will not store this request any more.
    pub outdated: bool,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The guard reads.
    Reading {
        /// The workload as the API server gave it to the guard.
        own: Object,
        /// The Platform was read, and nobody wrote it since.
        platform: bool,
        /// What the guard is to judge by.
        reads: Reads,
        /// The intents of the workloads that are still to be read, with what had expired when the Platform was read.
        ledger: Ledger,
        /// Those that ended, of the workloads that were read.
        ended: Slots,
    },
    /// `decide` said Allow: `ledger` is what was read of the Platform, where a fault makes that matter still. The intent is to be written, and what ended is to be dropped.
    Decided { own: Object, ended: Slots, ledger: Ledger },
    /// The answer is on its way, or the API server is about to store the change, perhaps with the workload held.
    Answered { held: bool },
}

impl Phase {
    /// A request of which nothing but its own old object is known.
    pub fn asked(own: Object) -> Self {
        Self::Reading {
            platform: false,
            own,
            reads: Reads::default(),
            ledger: Ledger::default(),
            ended: Slots::default(),
        }
    }
}

/// The leader's controller on its way to drop what ended. It is there from its read of the Platform on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sweep {
    Reading { ledger: Ledger, read: [bool; PARTS], ended: Slots },
    Decided(Slots),
}

/// What the watches of a replica brought so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cache {
    pub objects: [Object; PARTS],
    pub ledger: Ledger,
}

/// Everything at one moment. Requests are sorted, because nothing depends on which of two alike is which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct System {
    pub workloads: [Workload; PARTS],
    pub ledger: Ledger,
    pub requests: Vec<Request>,
    pub sweep: Option<Sweep>,
    pub caches: Vec<Cache>,
    /// Whether a dry run wrote anything.
    pub dry_run_wrote: bool,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pods: Vec<String> =
            lines_of(&self.pods).map(|line| format!("{}x {line}", self.pods[line.index()])).collect();
        write!(f, "asks {}", self.object.desired)?;
        if self.object.held {
            f.write_str(" (held)")?;
        } else if !self.object.observed {
            write!(f, " (not observed, rolls to {})", self.target)?;
        }
        write!(f, ", pods {}", pods.join(" + "))?;
        if self.object.counted != self.pods {
            f.write_str(" (not all counted)")?;
        }
        Ok(())
    }
}

impl System {
    /// The first `parts` components and the intents on one line.
    pub fn show(&self, parts: usize) -> String {
        let workloads = self.workloads.iter().take(parts).zip(NAMES);
        let mut shown: Vec<String> = workloads.map(|(workload, name)| format!("{name} {workload}")).collect();
        let intents: Vec<String> = slots()
            .filter_map(|(part, line)| match self.ledger[part][line.index()] {
                Intent::None => None,
                Intent::Fresh => Some(format!("{}->{line}", NAMES[part])),
                Intent::Expired => Some(format!("{}->{line} (expired)", NAMES[part])),
                Intent::Changed => Some(format!("{}->{line} (changed since)", NAMES[part])),
            })
            .collect();
        shown.push(format!("intents: {}", if intents.is_empty() { "none".to_owned() } else { intents.join(", ") }));
        shown.join("; ")
    }
}

/// Every component and line.
pub fn slots() -> impl Iterator<Item = (usize, Line)> {
    (0..PARTS).flat_map(|part| Line::all().map(move |line| (part, line)))
}
