//! How long calls take, for an instrument that wants to know.
//!
//! **Effect.** Each call is measured as [`CALL_DURATION`](metrics::CALL_DURATION), also one that fails or is dropped, and has a
//! [span](spans::CALL) from its beginning to its end. No name in `plugins` leads here: it is in the chain of every connector whose instrument
//! [wants calls](crate::telemetry::Instrument::wants_calls), and of no other. **Order.** Innermost: calls that a plugin does
//! not let pass are not measured. **Failure.** None. **Cost.** Two clock reads a call, two allocations if somebody looks at
//! the span, and what the instrument does.

use std::sync::{Arc, OnceLock};

use tracing::field::Empty;
use tracing::{Level, Span};

use crate::driver::DriverDialect;
use crate::method::MethodSet;
use crate::plugin::{
    Call, CallClass, CallOutcome, CallState, ConnectionPlugin, PluginContext, Step, Subscriptions,
};
use crate::telemetry::{Instrument, Unit, key, metrics, spans};

/// Tells an instrument of calls.
#[derive(Debug)]
pub(crate) struct CallMetrics {
    instrument: Arc<dyn Instrument>,
    span: CallState<OnceLock<Span>>,
}

impl CallMetrics {
    pub(crate) fn new<D: DriverDialect>(
        context: &PluginContext<D>,
        instrument: &Arc<dyn Instrument>,
    ) -> Self {
        Self { instrument: Arc::clone(instrument), span: context.call_state() }
    }
}

impl<D: DriverDialect> ConnectionPlugin<D> for CallMetrics {
    fn code(&self) -> &'static str {
        "call_metrics"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL).timing()
    }

    fn before<'a>(&'a self, call: &'a Call<'_, D>) -> Step<'a> {
        let (operation, slot) = (call.method().name(), call.logical().newest());
        let span = tracing::info_span!(spans::CALL, operation, host = %slot.routed_host(), outcome = Empty);
        if !span.is_disabled() {
            // Nobody has set it: each call comes here once.
            let _ = call.state(&self.span).set(span);
        }
        Step::Continue
    }

    fn after(&self, call: &Call<'_, D>, outcome: &CallOutcome) {
        let Some(elapsed) = outcome.elapsed else { return };
        let slot = call.logical().newest();
        let host = slot.routed_host();
        let error = error_type(outcome.class);
        if tracing::span_enabled!(Level::INFO) {
            if let Some(span) = call.state(&self.span).get() {
                span.record("outcome", error.unwrap_or("ok"));
            }
        }
        let attributes = [
            key::DB_SYSTEM_NAME.of(D::ENGINE.code()),
            key::DB_OPERATION_NAME.of(call.method().name()),
            key::SERVER_ADDRESS.of(host.host()),
            key::SERVER_PORT.of(u64::from(host.port())),
            key::ERROR_TYPE.of(error.unwrap_or_default()),
        ];
        let known = if error.is_some() { &attributes[..] } else { &attributes[..4] };
        self.instrument.record(&metrics::CALL_DURATION, Unit::Seconds.of(elapsed), known);
    }
}

fn error_type(class: CallClass) -> Option<&'static str> {
    match class {
        CallClass::Ok => None,
        CallClass::Failed(kind) => Some(kind.code()),
        CallClass::DroppedBeforeSending | CallClass::DroppedAfterSending => Some("dropped"),
    }
}
