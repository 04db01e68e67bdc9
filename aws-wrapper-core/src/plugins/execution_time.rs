//! `execution_time`: logs how long calls take.
//!
//! **Effect.** Every call is logged at debug level with its time, failed ones too; one that takes `slow_query_ms` or
//! longer is logged as a warning with its statement, literals removed. **Order.** Relative. **Failure.** None.
//! **Cost.** Two clock reads and a lock a call.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::settings::Settings;
use crate::driver::DriverDialect;
use crate::method::MethodSet;
use crate::plugin::{Call, ConnectionPlugin, Step, Subscriptions};
use crate::session::lexer;

/// Times calls.
#[derive(Debug)]
pub struct ExecutionTime {
    slow: Option<Duration>,
    /// Start of each running call, by the address of its `Call`, which stays in place while it runs.
    running: Mutex<HashMap<usize, Instant>>,
}

impl ExecutionTime {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { slow: settings.diagnostics.slow_query, running: Mutex::default() }
    }
}

fn key<D: DriverDialect>(call: &Call<'_, D>) -> usize {
    std::ptr::from_ref(call).addr()
}

impl<D: DriverDialect> ConnectionPlugin<D> for ExecutionTime {
    fn code(&self) -> &'static str {
        "execution_time"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions { calls: MethodSet::ALL, ..Subscriptions::default() }
    }

    fn before<'a>(&'a self, call: &'a Call<'_, D>) -> Step<'a> {
        self.running.lock().insert(key(call), Instant::now());
        Step::Continue
    }

    fn after(&self, call: &Call<'_, D>) {
        let Some(started) = self.running.lock().remove(&key(call)) else { return };
        let elapsed = started.elapsed();
        let elapsed_us = elapsed.as_micros();
        if self.slow.is_some_and(|slow| elapsed >= slow) {
            let statement = call.sql().map(|sql| lexer::redact(D::ENGINE, sql));
            tracing::warn!(method = call.method().name(), elapsed_us, statement, "slow call");
        } else {
            tracing::debug!(method = call.method().name(), elapsed_us, "call");
        }
    }
}
