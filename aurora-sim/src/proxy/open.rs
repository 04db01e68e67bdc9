//! The sockets that are open, by the epoch in which they were opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// How many connections of which epoch have sockets.
#[derive(Debug, Clone)]
pub(super) struct Open(Arc<watch::Sender<BTreeMap<u64, usize>>>);

impl Default for Open {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl Open {
    /// A connection of `epoch` is open as long as the value lives.
    pub(super) fn enter(&self, epoch: u64) -> Entered {
        self.0.send_modify(|open| *open.entry(epoch).or_default() += 1);
        Entered { open: self.clone(), epoch }
    }

    /// Waits until all sockets of older epochs are closed.
    pub(super) async fn none_before(&self, epoch: u64) {
        // An error is impossible: the sender is `self`.
        let _ = self.0.subscribe().wait_for(|open| open.keys().all(|opened| *opened >= epoch)).await;
    }
}

/// See [`Open::enter`].
#[derive(Debug)]
pub(super) struct Entered {
    open: Open,
    epoch: u64,
}

impl Entered {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.open.0.send_modify(|open| {
            if let Some(count) = open.get_mut(&self.epoch) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&self.epoch);
                }
            }
        });
    }
}
