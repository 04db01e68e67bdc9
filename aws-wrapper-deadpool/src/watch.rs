//! Follows the cluster: what a new topology makes unusable is dropped at once, and a reader that was down is tried again
//! before a checkout is sent to it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_wrapper_core::Result;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::adapter::Adapter;
use crate::pool::Inner;

/// The one task of a pool. It belongs to the services of the connector, holds the pool weakly and ends with it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    task: Mutex<Option<AbortHandle>>,
    is_down: Arc<Notify>,
}

/// How long a reader that is down is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// How long it has to let us in.
const TRIAL: Duration = Duration::from_secs(2);

impl Watch {
    /// Starts the task, unless it runs or there is no cluster to follow. It may have ended with its runtime.
    pub(crate) fn ensure<A: Adapter>(&self, inner: &Arc<Inner<A>>) {
        let mut task = self.task.lock();
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let Some(cluster) = inner.core().topology().cluster() else { return };
        // Two pools may follow the same cluster; a task's name tells them apart.
        let name = format!("pool {} {:04x}", cluster.id(), fastrand::u16(..));
        let (pool, is_down) = (Arc::downgrade(inner), Arc::clone(&self.is_down));
        let make = move || follow(Weak::clone(&pool), Arc::clone(&is_down));
        *task = Some(inner.core().services().supervise("pool", name, make));
    }

    /// A reader is down: it is tried again some time later.
    pub(crate) fn has_seen_a_reader_down(&self) {
        self.is_down.notify_one();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

async fn follow<A: Adapter>(pool: Weak<Inner<A>>, is_down: Arc<Notify>) -> Result<()> {
    let subscribed = pool.upgrade().and_then(|pool| pool.core().topology().subscribe());
    let Some(mut snapshots) = subscribed else { return Ok(()) };
    loop {
        {
            let Some(pool) = pool.upgrade() else { return Ok(()) };
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            pool.follow(&snapshot);
        }
        let trial = async {
            is_down.notified().await;
            sleep(LEFT_ALONE).await;
        };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() {
                return Ok(());
            },
            () = trial => try_again(&pool).await,
        }
    }
}

/// Connects to each reader that is down; one that can be reached counts as up from then on.
async fn try_again<A: Adapter>(pool: &Weak<Inner<A>>) {
    let down = pool.upgrade().map(|pool| pool.readers_down()).unwrap_or_default();
    for (host, sub_pool) in down {
        let is_up = timeout(TRIAL, sub_pool.manager().is_reachable(&host)).await.unwrap_or(false);
        tracing::debug!(%host, is_up, "a reader that was down is tried again");
    }
}
