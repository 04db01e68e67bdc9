//! How long calls take, for an instrument that wants to know.
//!
//! **Effect.** Each call is measured as [`CALL_DURATION`](metrics::CALL_DURATION), also one that fails or is dropped. No name in
//! `plugins` leads here: it is in the chain of every connector whose instrument
//! [wants calls](crate::telemetry::Instrument::wants_calls), and of no other. **Order.** Innermost: calls that a plugin does
//! not let pass are not measured. **Failure.** None. **Cost.** Two clock reads a call, and what the instrument does.

use std::sync::Arc;

use crate::driver::DriverDialect;
use crate::method::MethodSet;
use crate::plugin::{Call, CallClass, CallOutcome, ConnectionPlugin, Subscriptions};
use crate::telemetry::{Instrument, Unit, key, metrics};

/// Tells an instrument of calls.
#[derive(Debug)]
pub(crate) struct CallMetrics {
    pub(crate) instrument: Arc<dyn Instrument>,
}

impl<D: DriverDialect> ConnectionPlugin<D> for CallMetrics {
    fn code(&self) -> &'static str {
        "call_metrics"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL).timing()
    }

    fn after(&self, call: &Call<'_, D>, outcome: &CallOutcome) {
        let Some(elapsed) = outcome.elapsed else { return };
        let slot = call.logical().newest();
        let host = slot.routed_host();
        let error = error_type(outcome.class);
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
