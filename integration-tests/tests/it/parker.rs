//! A plugin that parks another connection while it holds a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_wrapper_core::driver::DriverDialect;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::method::{Method, MethodSet};
use aws_wrapper_core::plugin::{
    Call, CallClass, CallOutcome, ConnectHandle, ConnectionChange, ConnectionPlugin, Logical, PluginContext,
    PluginFactory, Step, Subscriptions,
};
use aws_wrapper_core::registry::Purpose;
use parking_lot::Mutex;
use tokio::time::Instant;

/// What a test has in common with the plugin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parked(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// The next call is to find another connection when it goes out.
    is_armed: AtomicBool,
    /// The id of the connection that was parked last.
    parked: Mutex<Option<u64>>,
    ended: Mutex<Vec<Ended>>,
    changes: Mutex<Vec<(u64, u64)>>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) method: Method,
    /// The connection that carried it.
    pub(crate) carrier: Option<u64>,
    pub(crate) outcome: CallOutcome,
}

impl Parked {
    pub(crate) fn arm(&self) {
        self.0.ended.lock().clear();
        *self.0.parked.lock() = None;
        self.0.is_armed.store(true, Ordering::Release);
    }

    pub(crate) fn id(&self) -> Option<u64> {
        *self.0.parked.lock()
    }

    /// The calls since it was armed.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        self.0.ended.lock().clone()
    }

    /// From which connection to which.
    pub(crate) fn changes(&self) -> Vec<(u64, u64)> {
        self.0.changes.lock().clone()
    }
}

#[derive(Debug)]
struct Parker<D: DriverDialect> {
    parked: Arc<Parked>,
    driver: Arc<D>,
    connect: ConnectHandle<D>,
    host: HostKey,
}

/// The value of `plugins` for both of [`factories`].
pub(crate) const PLUGINS: &str = "onlooker,parker";

pub(crate) fn factories<D: DriverDialect>() -> [PluginFactory<D>; 2] {
    let onlooker = PluginFactory::new("onlooker", |context: &PluginContext<D>| {
        Ok(Arc::new(Onlooker(context.provided().expect("the test gives it"))))
    });
    let parker = PluginFactory::new("parker", |context: &PluginContext<D>| {
        Ok(Arc::new(Parker {
            parked: context.provided().expect("the test gives it"),
            driver: Arc::clone(&context.driver),
            connect: context.connect_handle(),
            host: context.topology.initial_host().clone(),
        }))
    });
    [onlooker, parker]
}

#[async_trait]
impl<D: DriverDialect> ConnectionPlugin<D> for Parker<D> {
    fn code(&self) -> &'static str {
        "parker"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL)
    }

    fn before<'a>(&'a self, call: &'a Call<'_, D>) -> Step<'a> {
        let state = &self.parked.0;
        if !state.is_armed.swap(false, Ordering::AcqRel) {
            return Step::Continue;
        }
        Step::Wait(Box::pin(async move {
            let deadline = Instant::now() + Duration::from_secs(60);
            let connection = self.connect.connect(self.host.clone(), Purpose::Switch, deadline).await?;
            let slot = Arc::clone(self.driver.slot(&connection));
            *state.parked.lock() = Some(slot.id());
            assert!(!call.was_sent(), "it is held here");
            call.logical().park(connection, slot, None);
            Ok(())
        }))
    }
}

/// Stands outside of the other one, and sees how calls end that it still holds.
#[derive(Debug)]
struct Onlooker(Arc<Parked>);

impl<D: DriverDialect> ConnectionPlugin<D> for Onlooker {
    fn code(&self) -> &'static str {
        "onlooker"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL).connection_changes()
    }

    fn after(&self, call: &Call<'_, D>, outcome: &CallOutcome) {
        let (method, carrier) = (call.method(), call.carrier());
        self.0.0.ended.lock().push(Ended { method, carrier, outcome: *outcome });
    }

    fn connection_changed(&self, _logical: &Logical<D>, change: &ConnectionChange) {
        self.0.0.changes.lock().push((change.old.id(), change.new.id()));
    }
}

/// Whether the call that found a parked connection was carried by it, and went well.
pub(crate) fn check(name: &str, parked: &Parked, before: u64) {
    let id = parked.id().unwrap_or_else(|| panic!("{name}: no call was seen"));
    let ended = parked.ended();
    let first = ended.first().unwrap_or_else(|| panic!("{name}: no call has ended"));
    assert_eq!(first.carrier, Some(id), "{name}: {ended:?}");
    assert_eq!(first.outcome.class, CallClass::Ok, "{name}: {ended:?}");
    assert_eq!(first.outcome.elapsed, None, "{name}: nobody has asked for the time");
    assert_eq!(parked.changes().last(), Some(&(before, id)), "{name}");
}
