//! The tasks of one cluster: all end with it.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts tasks on the cluster's own runtime and ends them together.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    end: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, tracker: TaskTracker::new(), end: CancellationToken::new() }
    }

    /// Runs until done or until the cluster ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let end = self.end.clone();
        self.tracker.spawn_on(
            async move {
                tokio::select! {
                    () = end.cancelled() => {}
                    () = task => {}
                }
            },
            &self.runtime,
        );
    }

    /// Tells every task to end.
    pub(crate) fn cancel(&self) {
        self.end.cancel();
        self.tracker.close();
    }

    /// Waits until every task has ended.
    pub(crate) async fn join(&self) {
        self.tracker.wait().await;
    }
}
