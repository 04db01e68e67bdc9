//! The two pipelines: connects are wrapped, calls are observed.
//!
//! Chains are built once, when the connector is made: for each method the plugins that want to see it, in order. A call
//! that nobody subscribed to costs one test.

pub mod call;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::DriverDialect;
use crate::method::{Method, MethodSet};
use crate::plugin::chain::{ConnectChain, Dial};
use crate::plugin::{ConnectionPlugin, Connects};

/// The chains of one connector.
pub struct Pipeline<D: DriverDialect> {
    calls: [CallChain<D>; Method::COUNT],
    application: Arc<ConnectChain<D>>,
    monitoring: Arc<ConnectChain<D>>,
    /// How long a call may wait for its answer; nothing for as long as it takes.
    call_limit: Option<Duration>,
}

/// The plugins of one method, outermost first.
struct CallChain<D: DriverDialect> {
    /// Those that want to see each call.
    observers: Arc<[Arc<dyn ConnectionPlugin<D>>]>,
    /// Those that want to see failures.
    helpers: Arc<[Arc<dyn ConnectionPlugin<D>>]>,
}

impl<D: DriverDialect> Pipeline<D> {
    pub(crate) fn new(
        plugins: &[Arc<dyn ConnectionPlugin<D>>],
        end: Arc<dyn Dial<D>>,
        call_limit: Option<Duration>,
    ) -> Self {
        let wanting = |method: Method, wants: fn(&dyn ConnectionPlugin<D>) -> MethodSet| {
            plugins.iter().filter(|plugin| wants(plugin.as_ref()).contains(method)).cloned().collect()
        };
        let calls = Method::ALL.map(|method| CallChain {
            observers: wanting(method, |plugin| plugin.subscriptions().calls),
            helpers: wanting(method, |plugin| plugin.subscriptions().failures),
        });
        // Every plugin keeps its place in the application's chain, also those that do not wrap connects: the handle a
        // plugin gets enters the chain behind that place.
        let application = plugins
            .iter()
            .map(|plugin| (plugin.subscriptions().connects != Connects::None).then(|| Arc::clone(plugin)))
            .collect();
        let monitoring = plugins
            .iter()
            .map(|plugin| (plugin.subscriptions().connects == Connects::All).then(|| Arc::clone(plugin)))
            .collect();
        Self {
            calls,
            application: Arc::new(ConnectChain::new(application, Arc::clone(&end))),
            monitoring: Arc::new(ConnectChain::new(monitoring, end)),
            call_limit,
        }
    }

    /// The chain that opens the application's connections.
    pub(crate) fn application(&self) -> &Arc<ConnectChain<D>> {
        &self.application
    }

    /// The chain that opens the wrapper's own connections.
    pub(crate) fn monitoring(&self) -> &Arc<ConnectChain<D>> {
        &self.monitoring
    }

    fn chain(&self, method: Method) -> &CallChain<D> {
        &self.calls[method as usize]
    }
}

impl<D: DriverDialect> fmt::Debug for Pipeline<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("application", &self.application).finish_non_exhaustive()
    }
}
