//! Background tasks: each has a name, an owner and an end.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{Error, ErrorKind, Phase, Result};
use crate::events::{Event, Events};
use crate::telemetry::{Telemetry, key, metrics};

/// Runs tasks and ends them: all at once when dropped or shut down.
#[derive(Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    supervised: Arc<Mutex<BTreeMap<String, TaskStatus>>>,
    events: Arc<Events>,
    telemetry: Telemetry,
}

/// One supervised task.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TaskStatus {
    /// How often it was started again after a panic or an error.
    pub restarts: u64,
    /// Why it last ended, if it ever did.
    pub last_failure: Option<String>,
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A task that ran this long starts over with the first pause.
const STEADY: Duration = Duration::from_secs(120);

impl Tasks {
    pub(crate) fn new(events: Arc<Events>, telemetry: Telemetry) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            supervised: Arc::default(),
            events,
            telemetry,
        }
    }

    /// Cancelled when everything has to end.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a task that ends by itself; it is dropped when everything has to end.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let stop = self.stop.clone();
        self.spawn_until_aborted(async move {
            let _ = stop.run_until_cancelled(task).await;
        })
    }

    /// Runs a task that ends by itself or is aborted; whoever starts it sees to that.
    #[expect(clippy::disallowed_methods, reason = "this is the owner of tasks")]
    pub(crate) fn spawn_until_aborted(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        tokio::spawn(self.tracker.track_future(task)).abort_handle()
    }

    /// Runs a task that must not end by itself before it returns `Ok`: after a panic or an error it is made and
    /// started again, with growing pauses. `what` says in one word what it does.
    pub(crate) fn supervise<F, Fut>(&self, what: &'static str, name: String, mut make: F) -> AbortHandle
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.supervised.lock().insert(name.clone(), TaskStatus::default());
        let (supervised, events) = (Arc::clone(&self.supervised), Arc::clone(&self.events));
        let telemetry = self.telemetry.clone();
        let listed = Listed { name: name.clone(), supervised: Arc::clone(&supervised) };
        self.spawn(async move {
            let _listed = listed;
            let mut pause = FIRST_PAUSE;
            loop {
                let started = Instant::now();
                let failure = match AssertUnwindSafe(make()).catch_unwind().await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(panic) => format!("panic: {}", panic_text(panic.as_ref())),
                };
                tracing::error!(task = %name, %failure, "background task failed; it is started again");
                let restarts = {
                    let mut supervised = supervised.lock();
                    let status = supervised.entry(name.clone()).or_default();
                    status.restarts += 1;
                    status.last_failure = Some(failure);
                    status.restarts
                };
                if started.elapsed() >= STEADY {
                    pause = FIRST_PAUSE;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                telemetry.add(&metrics::MONITOR_RESTARTS, 1, &[key::TYPE.of(what)]);
                events.send(Event::TaskRestarted { task: name.clone(), restarts });
            }
        })
    }

    /// The supervised tasks by name.
    pub(crate) fn status(&self) -> BTreeMap<String, TaskStatus> {
        self.supervised.lock().clone()
    }

    /// How many tasks run, supervised or not.
    pub(crate) fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Ends everything and waits for it.
    pub(crate) async fn shutdown(&self, limit: Duration) -> Result<()> {
        self.stop.cancel();
        self.tracker.close();
        timeout(limit, self.tracker.wait()).await.map_err(|_| {
            Error::new(
                ErrorKind::Timeout(Phase::Shutdown),
                format!("{} tasks did not end", self.tracker.len()),
            )
        })
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Takes a task off the list when it is over, however it ends.
struct Listed {
    name: String,
    supervised: Arc<Mutex<BTreeMap<String, TaskStatus>>>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.supervised.lock().remove(&self.name);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown type")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panicking_task_is_started_again_and_reported() {
        let events = Arc::new(Events::new());
        let mut heard = events.subscribe();
        let tasks = Tasks::new(events, Telemetry::default());
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        tasks.supervise("test", "monitor".into(), move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(run > 0, "first run fails");
                std::future::pending().await
            }
        });
        let event = heard.recv().await.unwrap();
        assert!(matches!(event, Event::TaskRestarted { restarts: 1, .. }), "{event:?}");
        assert!(tasks.status()["monitor"].last_failure.as_ref().unwrap().contains("first run fails"));
        tasks.shutdown(Duration::from_secs(1)).await.unwrap();
        assert_eq!(tasks.running(), 0);
        assert!(tasks.status().is_empty());
    }
}
