//! Calls of the driver's own client, which pass no pipeline: what the bytes tell of them.

use std::sync::Arc;

use aws_wrapper_core::registry::{InFlight, Slot};

/// Marks the connection as busy from the first byte that is sent until the driver has the whole answer.
///
/// Of several calls that are sent one behind the other the first answer counts for all: the bytes would have to be parsed
/// to tell them apart, and a count that is wrong once would be wrong for ever.
#[derive(Debug, Default)]
pub(crate) struct DriverCall {
    in_flight: Option<InFlight<Arc<Slot>>>,
    is_answered: bool,
}

impl DriverCall {
    /// The driver sends something.
    pub(crate) fn sent(&mut self, slot: &Arc<Slot>) {
        self.is_answered = false;
        self.in_flight.get_or_insert_with(|| slot.enter_shared());
    }

    /// The server has said that it is ready. The driver has not handed the answer on yet: a connection that is retired
    /// would end here and take it along.
    pub(crate) fn answered(&mut self) {
        self.is_answered = true;
    }

    /// The driver reads on, so what it has read before is where it belongs.
    pub(crate) fn delivered(&mut self) {
        if self.is_answered {
            if let Some(in_flight) = self.in_flight.take() {
                in_flight.answered();
            }
        }
    }
}
