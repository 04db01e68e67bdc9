//! The two pipelines: connects are wrapped, calls are observed.
//!
//! Chains are built once, when the connector is made: for each method the plugins that want to see it, in order. A call
//! that nobody subscribed to costs one test.

pub mod call;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::DriverDialect;
use crate::method::Method;
use crate::plugin::chain::{ConnectChain, Dial};
use crate::plugin::{ConnectionChange, ConnectionPlugin, Connects, Logical};

/// The chains of one connector.
pub struct Pipeline<D: DriverDialect> {
    calls: [CallChain<D>; Method::COUNT],
    application: Arc<ConnectChain<D>>,
    monitoring: Arc<ConnectChain<D>>,
    /// The plugins that want to hear of changes of physical connections.
    watchers: Box<[Arc<dyn ConnectionPlugin<D>>]>,
    /// How long a call may wait for its answer; nothing for as long as it takes.
    call_limit: Option<Duration>,
}

/// The plugins of one method, outermost first.
#[derive(Debug)]
struct CallChain<D: DriverDialect> {
    /// Those that want to see each call.
    observers: Arc<[Observer<D>]>,
    /// Whether one of them wants to know how long it took.
    is_timed: bool,
    /// Those that want to see failures.
    helpers: Arc<[Arc<dyn ConnectionPlugin<D>>]>,
}

/// A plugin that wants to see each call of a method.
#[derive(Debug)]
struct Observer<D: DriverDialect> {
    plugin: Arc<dyn ConnectionPlugin<D>>,
    wants_time: bool,
}

impl<D: DriverDialect> Pipeline<D> {
    pub(crate) fn new(
        plugins: &[Arc<dyn ConnectionPlugin<D>>],
        end: Arc<dyn Dial<D>>,
        call_limit: Option<Duration>,
    ) -> Self {
        let subscribed: Vec<_> = plugins.iter().map(|plugin| (plugin, plugin.subscriptions())).collect();
        let calls = Method::ALL.map(|method| {
            let observers: Arc<[Observer<D>]> = subscribed
                .iter()
                .filter(|(_, wants)| wants.calls.contains(method))
                .map(|(plugin, wants)| Observer { plugin: Arc::clone(plugin), wants_time: wants.timing })
                .collect();
            let helpers = subscribed.iter().filter(|(_, wants)| wants.failures.contains(method));
            CallChain {
                is_timed: observers.iter().any(|observer| observer.wants_time),
                observers,
                helpers: helpers.map(|(plugin, _)| Arc::clone(plugin)).collect(),
            }
        });
        let watchers = subscribed.iter().filter(|(_, wants)| wants.connection_changes);
        let watchers = watchers.map(|(plugin, _)| Arc::clone(plugin)).collect();
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
            watchers,
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

    /// A logical connection has put another physical connection to use.
    pub(crate) fn connection_changed(&self, logical: &Logical<D>, change: &ConnectionChange) {
        self.watchers.iter().for_each(|plugin| plugin.connection_changed(logical, change));
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
