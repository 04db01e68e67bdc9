//! `query_log`: logs statements.
//!
//! **Effect.** Each statement is logged at debug level under the target `aws_wrapper::query`, literals replaced unless
//! `query_log_redact_literals` is off. Parameters are never logged. **Order.** Innermost, so that it shows what is sent.
//! **Failure.** None. **Cost.** Nothing measurable while the target is off.

use crate::config::settings::Settings;
use crate::driver::DriverDialect;
use crate::method::MethodSet;
use crate::plugin::{Call, ConnectionPlugin, Step, Subscriptions};
use crate::session::lexer;

/// Logs statements.
#[derive(Debug)]
pub struct QueryLog {
    redact: bool,
}

impl QueryLog {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { redact: settings.diagnostics.redact_literals }
    }
}

impl<D: DriverDialect> ConnectionPlugin<D> for QueryLog {
    fn code(&self) -> &'static str {
        "query_log"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions { calls: MethodSet::ALL, ..Subscriptions::default() }
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
