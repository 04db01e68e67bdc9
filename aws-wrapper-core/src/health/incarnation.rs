//! Which start of the server a connection belongs to.

use crate::engine::Engine;
use crate::probe::Probe;

/// When the server was started, by its own clock, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incarnation(f64);

/// MySQL tells its age in whole seconds, so the moment of its start moves by one now and then.
const TOLERANCE: f64 = 2.0;

impl Incarnation {
    /// Asks the server; nothing if it does not say. The caller sets the deadline.
    pub(super) async fn ask(probe: &mut dyn Probe, engine: Engine) -> Option<Self> {
        let sql = match engine {
            Engine::Postgres => "SELECT extract(epoch FROM pg_postmaster_start_time())",
            Engine::MySql => {
                "SELECT unix_timestamp() - variable_value FROM performance_schema.global_status \
                 WHERE variable_name = 'Uptime'"
            }
        };
        match probe.fetch_text(sql).await {
            Ok(table) => table.cell(0, 0)?.parse().ok().map(Self),
            Err(error) => {
                tracing::debug!(%error, "the server does not say when it was started");
                None
            }
        }
    }
}

impl PartialEq for Incarnation {
    fn eq(&self, other: &Self) -> bool {
        (self.0 - other.0).abs() <= TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_more_or_less_is_the_same_start() {
        assert_eq!(Incarnation(1_700_000_000.25), Incarnation(1_700_000_001.0));
        assert_ne!(Incarnation(1_700_000_000.0), Incarnation(1_700_000_003.0));
    }
}
