//! When which host ceased to be the writer.
//!
//! A number that grows with every change of a writer. A connection keeps the number of the moment it was opened, a host
//! the number of the moment it was last demoted. A connection opened before its host was demoted may have been opened as
//! one to the writer and must not be used as one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::host::HostKey;

/// A moment in the history of the writers of one `Services`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleEpoch(u64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RoleEpochs {
    now: AtomicU64,
    demoted: Mutex<HashMap<HostKey, RoleEpoch>>,
}

/// How many hosts are remembered. Far more than clusters have; the oldest are forgotten first.
const CAPACITY: usize = 1024;

impl RoleEpochs {
    /// The moment.
    pub(super) fn now(&self) -> RoleEpoch {
        RoleEpoch(self.now.load(Ordering::Acquire))
    }

    /// `host` was the writer and is not any more.
    pub(super) fn demote(&self, host: &HostKey) {
        let mut demoted = self.demoted.lock();
        let epoch = RoleEpoch(self.now.fetch_add(1, Ordering::AcqRel) + 1);
        if demoted.len() >= CAPACITY {
            let oldest = demoted.iter().min_by_key(|(_, epoch)| **epoch).map(|(host, _)| host.clone());
            oldest.and_then(|oldest| demoted.remove(&oldest));
        }
        demoted.insert(host.clone(), epoch);
    }

    /// Whether `host` was demoted after `since`.
    pub(super) fn was_demoted(&self, host: &HostKey, since: RoleEpoch) -> bool {
        self.demoted.lock().get(host).is_some_and(|epoch| *epoch > since)
    }
}
