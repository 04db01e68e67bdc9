//! Follows the cluster: what a new topology makes unusable is dropped at once.

use std::sync::{Arc, Weak};

use aws_wrapper_core::Result;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::adapter::Adapter;
use crate::pool::Inner;

/// The one task of a pool. It belongs to the services of the connector, holds the pool weakly and ends with it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    task: Mutex<Option<AbortHandle>>,
}

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
        let pool = Arc::downgrade(inner);
        *task = Some(inner.core().services().supervise(name, move || follow(Weak::clone(&pool))));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

async fn follow<A: Adapter>(pool: Weak<Inner<A>>) -> Result<()> {
    let subscribed = pool.upgrade().and_then(|pool| pool.core().topology().subscribe());
    let Some(mut snapshots) = subscribed else { return Ok(()) };
    loop {
        {
            let Some(pool) = pool.upgrade() else { return Ok(()) };
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            pool.follow(&snapshot);
        }
        if snapshots.changed().await.is_err() {
            return Ok(());
        }
    }
}
