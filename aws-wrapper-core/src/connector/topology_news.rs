//! Tells plugins of new topologies.

use std::sync::{Arc, OnceLock};

use tokio::task::AbortHandle;

use crate::driver::DriverDialect;
use crate::plugin::ConnectionPlugin;
use crate::runtime::Shared;
use crate::topology::view::Topology;

/// Follows the cluster of a connector, once it is known, for the plugins that want to hear of it. Ends with the connector.
#[derive(Debug)]
pub(super) struct TopologyNews<D: DriverDialect> {
    plugins: Arc<[Arc<dyn ConnectionPlugin<D>>]>,
    task: OnceLock<AbortHandle>,
}

impl<D: DriverDialect> TopologyNews<D> {
    pub(super) fn for_those_of(plugins: &[Arc<dyn ConnectionPlugin<D>>]) -> Self {
        let wanting = plugins.iter().filter(|plugin| plugin.subscriptions().topologies);
        Self { plugins: wanting.cloned().collect(), task: OnceLock::new() }
    }

    /// The cluster may be known now.
    pub(super) fn follow(&self, topology: &Topology, shared: &Shared) {
        if self.plugins.is_empty() || self.task.get().is_some() {
            return;
        }
        let Some(mut snapshots) = topology.subscribe() else { return };
        self.task.get_or_init(|| {
            let plugins = Arc::clone(&self.plugins);
            shared.tasks.spawn(async move {
                loop {
                    let newest = Arc::clone(&snapshots.borrow_and_update());
                    if !newest.is_initial() {
                        plugins.iter().for_each(|plugin| plugin.topology_changed(&newest));
                    }
                    if snapshots.changed().await.is_err() {
                        return;
                    }
                }
            })
        });
    }
}

impl<D: DriverDialect> Drop for TopologyNews<D> {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}
