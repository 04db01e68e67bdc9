//! `execution_time`: logs how long calls take.
//!
//! **Effect.** Every call is logged at debug level with its time, failed ones too; one that takes `slow_query_ms` or
//! longer is logged as a warning with its statement, literals removed. **Order.** Relative. **Failure.** None.
//! **Cost.** Two clock reads a call.

use std::sync::Arc;
use std::time::Duration;

use crate::config::parameter::{Kind, Parameter};
use crate::config::values::{FromValues, Values};
use crate::driver::DriverDialect;
use crate::error::Result;
use crate::method::MethodSet;
use crate::plugin::{Call, CallOutcome, ConnectionPlugin, PluginFactory, Subscriptions};
use crate::session::lexer;

/// Times calls.
#[derive(Debug)]
pub struct ExecutionTime {
    slow: Option<Duration>,
}

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "slow_query_ms",
    aliases: &[],
    kind: Kind::millis(0),
    default: "0",
    group: "Diagnostics",
    doc: "Calls that take longer are logged. `0`: none.",
}];

impl ExecutionTime {
    /// How it is registered.
    pub const fn factory<D: DriverDialect>() -> PluginFactory<D> {
        PluginFactory::new("execution_time", |context| Ok(Arc::new(context.settings::<Self>()?)))
            .with_aliases(&["executeTime"])
            .with_parameters(PARAMETERS)
    }
}

impl FromValues for ExecutionTime {
    fn from_values(values: &Values) -> Result<Self> {
        let mut slow = None;
        values.read("slow_query_ms", &mut slow);
        Ok(Self { slow })
    }
}

impl<D: DriverDialect> ConnectionPlugin<D> for ExecutionTime {
    fn code(&self) -> &'static str {
        "execution_time"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL).timing()
    }

    fn after(&self, call: &Call<'_, D>, outcome: &CallOutcome) {
        let Some(elapsed) = outcome.elapsed else { return };
        let elapsed_us = elapsed.as_micros();
        if self.slow.is_some_and(|slow| elapsed >= slow) {
            let statement = call.sql().map(|sql| lexer::redact(D::ENGINE, sql));
            tracing::warn!(method = call.method().name(), elapsed_us, statement, "slow call");
        } else {
            tracing::debug!(method = call.method().name(), elapsed_us, "call");
        }
    }
}
