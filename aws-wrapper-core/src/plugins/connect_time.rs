//! `connect_time`: how long opening connections takes.
//!
//! **Effect.** Each connect is logged at debug level with its time; totals are kept in the plugin, which
//! [`ConnectTimes`] reads. **Order.** Relative: it times what stands behind it. **Failure.** None. **Cost.** Two clock
//! reads a connect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::driver::{ConnectRequest, DriverDialect};
use crate::error::Result;
use crate::plugin::{ConnectionPlugin, Connects, Next, PluginFactory, Subscriptions};

/// Times connects.
#[derive(Debug, Default)]
pub struct ConnectTime {
    times: ConnectTimes,
}

/// Totals of the connects that were timed. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ConnectTimes(Arc<Totals>);

#[derive(Debug, Default)]
struct Totals {
    count: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
}

impl ConnectTime {
    /// How it is registered.
    pub const fn factory<D: DriverDialect>() -> PluginFactory<D> {
        PluginFactory::new("connect_time", |_| Ok(Arc::new(Self::default())))
    }

    /// A plugin that adds to `times`, so that the application can read them.
    pub fn new(times: ConnectTimes) -> Self {
        Self { times }
    }
}

impl ConnectTimes {
    /// How many connects were timed, failed ones included.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// How many of them failed.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Their time together.
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.0.micros.load(Ordering::Relaxed))
    }

    fn add(&self, elapsed: Duration, failed: bool) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
        self.0.micros.fetch_add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[async_trait]
impl<D: DriverDialect> ConnectionPlugin<D> for ConnectTime {
    fn code(&self) -> &'static str {
        "connect_time"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().connects(Connects::Application)
    }

    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, D>) -> Result<D::Connection> {
        let started = Instant::now();
        let result = next.run(request).await;
        let elapsed = started.elapsed();
        self.times.add(elapsed, result.is_err());
        tracing::debug!(host = %request.host(), elapsed_us = elapsed.as_micros(), ok = result.is_ok(), "connect");
        result
    }
}
