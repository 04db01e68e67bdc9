//! `query_log`: logs statements.
//!
//! **Effect.** Each statement is logged at debug level under the target `aws_wrapper::query`, literals replaced unless
//! `query_log_redact_literals` is off. Parameters are never logged. **Order.** Innermost, so that it shows what is sent.
//! **Failure.** None. **Cost.** Nothing measurable while the target is off.

use std::sync::Arc;

use crate::config::parameter::{Kind, Parameter};
use crate::config::values::{FromValues, Values};
use crate::driver::DriverDialect;
use crate::error::Result;
use crate::method::MethodSet;
use crate::plugin::{Call, ConnectionPlugin, Place, PluginFactory, Step, Subscriptions};
use crate::session::lexer;

/// Logs statements.
#[derive(Debug)]
pub struct QueryLog {
    redact: bool,
}

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "query_log_redact_literals",
    aliases: &[],
    kind: Kind::Bool,
    default: "true",
    group: "Diagnostics",
    doc: "Whether the `query_log` plugin leaves the literals of a statement out.",
}];

impl QueryLog {
    /// How it is registered.
    pub const fn factory<D: DriverDialect>() -> PluginFactory<D> {
        PluginFactory::new("query_log", |context| Ok(Arc::new(context.settings::<Self>()?)))
            .with_aliases(&["logQuery"])
            .with_place(Place::Weight(2100))
            .with_parameters(PARAMETERS)
    }
}

impl FromValues for QueryLog {
    fn from_values(values: &Values) -> Result<Self> {
        let mut log = Self { redact: true };
        values.read("query_log_redact_literals", &mut log.redact);
        Ok(log)
    }
}

impl<D: DriverDialect> ConnectionPlugin<D> for QueryLog {
    fn code(&self) -> &'static str {
        "query_log"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL)
    }

    fn before<'a>(&'a self, call: &'a Call<'_, D>) -> Step<'a> {
        if tracing::enabled!(target: "aws_wrapper::query", tracing::Level::DEBUG) {
            if let Some(sql) = call.sql() {
                let method = call.method().name();
                if self.redact {
                    tracing::debug!(target: "aws_wrapper::query", method, sql = lexer::redact(D::ENGINE, sql));
                } else {
                    tracing::debug!(target: "aws_wrapper::query", method, sql);
                }
            }
        }
        Step::Continue
    }
}
