//! A sub-pool for each reader, and which of them a checkout goes to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_wrapper_core::host::{Availability, Host, HostKey, Role};
use aws_wrapper_core::select::{HostSelector, SelectContext};
use aws_wrapper_core::topology::Snapshot;
use parking_lot::Mutex;

use crate::adapter::Adapter;
use crate::manager::Route;
use crate::sub_pool::{Recipe, SubPool, close, is_exhausted};
use crate::target::Target;

/// The sub-pools of the readers. One is made with the first checkout of its reader and closed when the topology does not
/// name it as a reader any more.
pub(crate) struct Readers<A: Adapter> {
    selector: Arc<dyn HostSelector>,
    sub_pools: Mutex<BTreeMap<HostKey, SubPool<A>>>,
}

impl<A: Adapter> Readers<A> {
    pub(crate) fn new(selector: Arc<dyn HostSelector>) -> Self {
        Self { selector, sub_pools: Mutex::default() }
    }

    /// The reader for a checkout: one with a free connection if there is any. `None` if no reader may be picked.
    pub(crate) fn pick(&self, hosts: &mut [Host]) -> Option<HostKey> {
        let mut full = Vec::new();
        {
            let sub_pools = self.sub_pools.lock();
            for host in hosts.iter_mut().filter(|host| host.availability == Availability::Available) {
                if sub_pools.get(&host.key).is_some_and(is_exhausted) {
                    full.push(host.key.clone());
                    host.availability = Availability::NotAvailable;
                }
            }
        }
        let readers = SelectContext::role(Role::Reader);
        let mut picked = self.selector.pick(&readers, hosts);
        if picked.is_none() && !full.is_empty() {
            for host in hosts.iter_mut().filter(|host| full.contains(&host.key)) {
                host.availability = Availability::Available;
            }
            picked = self.selector.pick(&readers, hosts);
        }
        picked.map(|index| hosts[index].key.clone())
    }

    /// The sub-pool of a reader.
    pub(crate) fn sub_pool(&self, recipe: &Recipe<A>, host: &HostKey) -> SubPool<A> {
        let make = || recipe.make(Target::Reader(host.clone()), Route::Host(host.clone()));
        self.sub_pools.lock().entry(host.clone()).or_insert_with(make).clone()
    }

    /// Closes the sub-pools of hosts that are no readers any more.
    pub(crate) fn follow(&self, snapshot: &Snapshot) {
        let is_reader = |key: &HostKey| snapshot.find(key).is_some_and(|host| host.role == Role::Reader);
        let mut gone = Vec::new();
        self.sub_pools.lock().retain(|key, sub_pool| {
            let stays = is_reader(key);
            if !stays {
                gone.push(sub_pool.clone());
            }
            stays
        });
        for sub_pool in gone {
            tracing::info!(sub_pool = %sub_pool.manager().target(), "not a reader any more: its connections are closed");
            close(&sub_pool);
        }
    }

    pub(crate) fn all(&self) -> Vec<SubPool<A>> {
        self.sub_pools.lock().values().cloned().collect()
    }
}

impl<A: Adapter> fmt::Debug for Readers<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers")
            .field("selector", &self.selector)
            .field("hosts", &self.sub_pools.lock().keys().collect::<Vec<_>>())
            .finish()
    }
}
