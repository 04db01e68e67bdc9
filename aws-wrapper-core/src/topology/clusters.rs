//! All clusters of one `Services`, by identity.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::cluster::{Cluster, ClusterSeed, ClusterStatus};
use crate::endpoint::HostPattern;
use crate::runtime::Shared;

/// The clusters, each made by the first connector that needs it.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    by_id: Mutex<BTreeMap<String, Arc<Cluster>>>,
}

impl Clusters {
    /// The cluster of that id, made now if there is none. Its monitor may connect as the seed's prober from now on.
    pub(crate) fn join(&self, shared: &Arc<Shared>, seed: ClusterSeed) -> Arc<Cluster> {
        let prober = Arc::downgrade(&seed.prober);
        let mut by_id = self.by_id.lock();
        by_id.retain(|id, cluster| *id == seed.id || !cluster.is_abandoned());
        let id = seed.id.clone();
        let cluster = Arc::clone(by_id.entry(id).or_insert_with(|| Cluster::new(shared, seed)));
        drop(by_id);
        cluster.contexts.add(prober);
        cluster
    }

    /// The cluster of that id, if there is one.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Cluster>> {
        self.by_id.lock().get(id).cloned()
    }

    /// The cluster that has the instance `host_id` under `pattern`, if one is known.
    pub(crate) fn find_member(&self, pattern: &HostPattern, host_id: &str) -> Option<Arc<Cluster>> {
        let by_id = self.by_id.lock();
        let has_it = |cluster: &&Arc<Cluster>| {
            cluster.seed.pattern == *pattern
                && cluster.current().hosts.iter().any(|host| host.host_id.as_deref() == Some(host_id))
        };
        by_id.values().find(has_it).cloned()
    }

    pub(crate) fn status(&self) -> Vec<ClusterStatus> {
        let clusters: Vec<_> = self.by_id.lock().values().cloned().collect();
        clusters.iter().map(|cluster| cluster.status()).collect()
    }
}
