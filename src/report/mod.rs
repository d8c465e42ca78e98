//! What commands that take their time say while they work.

use serde::Serialize;

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It goes on; the message says what it waits for or has done so far.
    Progress,
    /// It is done.
    Done,
    /// It would be done, but this is a dry run.
    WouldDo,
    /// Something deserves a look and stops nothing.
    Warning,
    /// Something is missing or against the rules.
    Refused,
    /// It could not be done.
    Failed,
}

/// One line of what is going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct News {
    /// The step: `target`, `preconditions`, `crds`, `record`, ...
    pub step: &'static str,
    /// Where it stands.
    pub stage: Stage,
    /// In one line.
    pub message: String,
}

/// Whoever wants to know.
pub trait Report {
    /// Tells it; at once, because the process may be killed right after it.
    fn tell(&mut self, news: News);

    /// Tells that `step` is at `stage`.
    fn say(&mut self, step: &'static str, stage: Stage, message: String) {
        self.tell(News { step, stage, message });
    }
}

/// Keeps what it is told.
impl Report for Vec<News> {
    fn tell(&mut self, news: News) {
        self.push(news);
    }
}
