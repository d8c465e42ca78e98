//! Streams of reviews: users who change workloads all the time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::toys::image;
use crate::world::World;

/// Between two requests of one user.
const BETWEEN: Duration = Duration::from_millis(30);

/// What became of the requests of one user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Admitted.
    pub(crate) passed: u32,
    /// Refused by a rule, with its code.
    pub(crate) refused: u32,
    /// Refused because the guard or the API server could not be asked, with what was said.
    pub(crate) failed: Vec<String>,
}

/// Whether a user goes on after the first request that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Passed,
    Stopped,
}

/// A user who asks again and again.
pub(crate) struct User {
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl User {
    /// Sets the image of a component, until it passes or for ever; `dry` asks and changes nothing.
    pub(crate) fn of_image(world: &World, namespace: &str, target: (&str, &str), until: Until, dry: bool) -> Self {
        let (component, version) = target;
        let container = json!({"name": component, "image": image(component, version)});
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let params = PatchParams { dry_run: dry, ..PatchParams::default() };
        Self::start(world.api(namespace), component.to_owned(), patch, params, until)
    }

    fn start(api: Api<Deployment>, name: String, patch: Value, params: PatchParams, until: Until) -> Self {
        let (tally, stop) = (Arc::new(Mutex::new(Tally::default())), CancellationToken::new());
        let (own, stopped) = (Arc::clone(&tally), stop.clone());
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let said = api.patch(&name, &params, &Patch::Strategic(&patch)).await;
                let passed = {
                    let mut tally = own.lock();
                    match said {
                        Ok(_) => tally.passed += 1,
                        Err(kube::Error::Api(status)) if judged(&status.message) => tally.refused += 1,
                        Err(error) => tally.failed.push(error.to_string()),
                    }
                    tally.passed > 0
                };
                if passed && until == Until::Passed {
                    return;
                }
                tokio::time::sleep(BETWEEN).await;
            }
        });
        Self { tally, stop, task }
    }

    /// Waits until it has stopped: by itself where it was to stop when it passed, else it is told to.
    pub(crate) async fn end(self, until: Until) -> Result<Tally> {
        if until == Until::Stopped {
            self.stop.cancel();
        }
        tokio::time::timeout(crate::wait::DEADLINE, self.task).await??;
        let tally = self.tally.lock().clone();
        Ok(tally)
    }
}

/// A refusal by a rule; else the guard could not find out, or could not be asked.
fn judged(message: &str) -> bool {
    message.contains("[UG-") && !message.contains("[UG-UNAVAILABLE]") && !message.contains("failed calling webhook")
}
