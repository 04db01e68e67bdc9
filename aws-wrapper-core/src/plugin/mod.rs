//! Plugins: behaviours around connecting and calling.
//!
//! Connecting is rare, so plugins wrap it ([`ConnectionPlugin::connect`] around [`Next`]). Calls are frequent, so
//! plugins observe them ([`before`](ConnectionPlugin::before), [`after`](ConnectionPlugin::after)) and are asked for
//! help only when one fails ([`recover`](ConnectionPlugin::recover)). The typed result of a call never passes here.

mod call;
pub(crate) mod chain;
mod changes;
mod context;
mod factory;
mod logical;
mod outcome;
mod provided;
mod state;

use std::fmt::Debug;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

pub use self::call::{Ask, BeginOptions, Call, Intent, Text};
pub use self::chain::{ConnectHandle, Next};
pub use self::changes::ConnectionChange;
pub use self::context::PluginContext;
pub use self::factory::{Make, PluginFactory};
pub use self::logical::Logical;
pub use self::outcome::{CallClass, CallOutcome};
pub(crate) use self::provided::Provided;
pub(crate) use self::state::Places;
pub use self::state::{CallState, ConnectionState};
use crate::driver::{ConnectRequest, DriverDialect};
use crate::error::{Error, Result};
use crate::method::MethodSet;
use crate::topology::Snapshot;

/// One behaviour. Everything but [`code`](Self::code) and [`subscriptions`](Self::subscriptions) has a default.
///
/// A plugin may be dropped at any await. It holds no lock while it calls `next` or anything else of the pipeline.
#[async_trait]
pub trait ConnectionPlugin<D: DriverDialect>: Debug + Send + Sync {
    /// Its name in the `plugins` parameter, errors and logs.
    fn code(&self) -> &'static str;

    /// What it wants to see. Asked once, when the chains are built.
    fn subscriptions(&self) -> Subscriptions;

    /// Where it stands in the chain. The built-ins have weights; by default a plugin stands behind its predecessor in
    /// the list, which for those given to the builder is the innermost place.
    fn place(&self) -> Place {
        Place::AfterPrevious
    }

    /// Wraps the opening of a physical connection: change the request, run `next` none, one or several times, check
    /// what came back.
    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, D>) -> Result<D::Connection> {
        next.run(request).await
    }

    /// Runs before a call is sent. Must be quick; what waits goes into [`Step::Wait`].
    fn before<'a>(&'a self, _call: &'a Call<'_, D>) -> Step<'a> {
        Step::Continue
    }

    /// Runs when the call is over, for exactly those plugins whose `before` ran, in reverse; also when it was dropped. Of a
    /// call that failed it runs before any `recover`, so `outcome` is what the server or the driver said.
    fn after(&self, _call: &Call<'_, D>, _outcome: &CallOutcome) {}

    /// Runs when the call failed, after the `after` of all plugins, inner plugins first.
    async fn recover(&self, _call: &Call<'_, D>, error: Error) -> Recovery {
        Recovery::Fail(error)
    }

    /// A logical connection has put a physical connection to use that was parked for it: by a failover, by a plugin, or
    /// because the old one was lost. Runs within the call that did so; must be quick.
    fn connection_changed(&self, _logical: &Logical<D>, _change: &ConnectionChange) {}

    /// The monitor of the cluster has published a topology. Runs in a task of the connector, for plugins that
    /// [subscribe to it](Subscriptions::topologies), once the cluster is known, which takes a plugin that
    /// [needs the topology](PluginFactory::with_topology); of several in quick succession, the newest.
    fn topology_changed(&self, _topology: &Snapshot) {}
}

/// What a plugin wants to see. Starts with [`none`](Self::none), to which each method adds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subscriptions {
    pub(crate) calls: MethodSet,
    pub(crate) failures: MethodSet,
    pub(crate) connects: Connects,
    pub(crate) timing: bool,
    pub(crate) connection_changes: bool,
    pub(crate) topologies: bool,
}

impl Subscriptions {
    /// Nothing.
    pub const fn none() -> Self {
        Self {
            calls: MethodSet::NONE,
            failures: MethodSet::NONE,
            connects: Connects::None,
            timing: false,
            connection_changes: false,
            topologies: false,
        }
    }

    /// Calls whose `before` and `after` it wants.
    #[must_use]
    pub const fn calls(mut self, methods: MethodSet) -> Self {
        self.calls = methods;
        self
    }

    /// Calls whose failures it wants.
    #[must_use]
    pub const fn failures(mut self, methods: MethodSet) -> Self {
        self.failures = methods;
        self
    }

    /// The time each of these calls took ([`CallOutcome::elapsed`]): two readings of the clock.
    #[must_use]
    pub const fn timing(mut self) -> Self {
        self.timing = true;
        self
    }

    /// Logical connections that go over to another physical connection.
    #[must_use]
    pub const fn connection_changes(mut self) -> Self {
        self.connection_changes = true;
        self
    }

    /// New topologies.
    #[must_use]
    pub const fn topologies(mut self) -> Self {
        self.topologies = true;
        self
    }

    /// Which connects it wraps.
    #[must_use]
    pub const fn connects(mut self, connects: Connects) -> Self {
        self.connects = connects;
        self
    }
}

/// Which connects a plugin wraps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connects {
    /// None.
    #[default]
    None,
    /// Those the application will use.
    Application,
    /// Those, and the wrapper's own for monitoring. For plugins that supply credentials.
    All,
}

/// What `before` decides.
#[expect(missing_debug_implementations, reason = "holds a future")]
#[non_exhaustive]
pub enum Step<'a> {
    /// Go on.
    Continue,
    /// Do not send the call.
    Fail(Error),
    /// Wait for this first; its error stops the call.
    Wait(BoxFuture<'a, Result<()>>),
}

/// What `recover` decides.
#[derive(Debug)]
#[non_exhaustive]
pub enum Recovery {
    /// The call fails with this error, which outer plugins see next.
    Fail(Error),
    /// The call fails with this error and no outer plugin needs to look at it: it has been dealt with.
    Handled(Error),
}

/// Where a plugin stands in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// By weight: the lower, the further outside. The weights of the built-ins are in `docs/parameters.md`.
    Weight(u16),
    /// Right behind the plugin that stands before it in the list.
    AfterPrevious,
}
