//! One of deadpool's pools: connections with one target.

use std::sync::Arc;

use aws_wrapper_core::telemetry::spans;
use deadpool::Runtime;
use deadpool::managed;
use tracing::Instrument as _;
use tracing::field::{Empty, display};

use crate::adapter::Adapter;
use crate::error::Error;
use crate::hooks::Hooks;
use crate::manager::{Manager, Route};
use crate::meter::Meter;
use crate::object::Object;
use crate::rules::Rules;
use crate::target::Target;

/// One of deadpool's pools.
pub type SubPool<A> = managed::Pool<Manager<A>, Object<A>>;

/// What all sub-pools of a pool have in common.
#[derive(Debug)]
pub(crate) struct Recipe<A: Adapter> {
    pub(crate) connector: A::Connector,
    pub(crate) rules: Arc<Rules>,
    pub(crate) hooks: Arc<Hooks<A>>,
    pub(crate) queue_mode: managed::QueueMode,
}

impl<A: Adapter> Recipe<A> {
    /// A sub-pool with nothing in it.
    pub(crate) fn make(&self, target: Target, route: Route) -> SubPool<A> {
        let manager = Manager::new(target, route, self);
        let builder =
            SubPool::builder(manager).config(self.rules.config(self.queue_mode)).runtime(Runtime::Tokio1);
        Hooks::install(&self.hooks, builder).build().expect("time limits have the runtime they need")
    }
}

/// Checks a connection out.
pub(crate) async fn checkout<A: Adapter>(sub_pool: &SubPool<A>) -> Result<Object<A>, Error> {
    let manager = sub_pool.manager();
    let meter = &manager.counters.meter;
    let timer = meter.start();
    let span =
        tracing::debug_span!(spans::POOL_GET, target = %manager.target(), host = Empty, outcome = Empty);
    let object = sub_pool.get().instrument(span.clone()).await;
    let object = object.map_err(|error| Error::new(error, manager.target(), || manager.last_error()));
    meter.checked_out(timer, &object);
    if !span.is_disabled() {
        if let Ok(object) = &object {
            span.record("host", display(Object::host(object)));
        }
        span.record("outcome", Meter::outcome(&object));
    }
    show_size(sub_pool);
    object
}

/// Tells the application's instrument how many connections there are.
pub(crate) fn show_size<A, W>(sub_pool: &managed::Pool<Manager<A>, W>)
where
    A: Adapter,
    W: From<managed::Object<Manager<A>>>,
{
    sub_pool.manager().counters.meter.show_size(|| sub_pool.status());
}

/// Drops the idle connections that must not be used again, and says how many.
pub(crate) fn purge<A: Adapter>(sub_pool: &SubPool<A>) -> usize {
    let manager = sub_pool.manager();
    let judged = sub_pool.retain(|pooled, _| match manager.keeps(pooled) {
        Ok(()) => true,
        Err(reason) => {
            manager.counters.discarded(reason);
            false
        }
    });
    show_size(sub_pool);
    judged.removed.len()
}

/// Closes what lies idle, and lets nobody in any more.
pub(crate) fn close<A: Adapter>(sub_pool: &SubPool<A>) {
    // Not by deadpool, which would drop connections while it holds its lock.
    drop(sub_pool.retain(|_, _| false));
    sub_pool.close();
    show_size(sub_pool);
}

/// Whether a checkout would have to wait for somebody to give a connection back.
pub(crate) fn is_exhausted<A: Adapter>(sub_pool: &SubPool<A>) -> bool {
    let status = sub_pool.status();
    status.available == 0 && status.size + status.waiting >= status.max_size
}
