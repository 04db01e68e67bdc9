//! A host with little load.

use super::random::draw;
use super::{HostSelector, SelectContext};
use crate::host::Host;

/// The less loaded of two eligible hosts drawn at random.
///
/// Always taking the least loaded host would send every client to the same one until the next reading of the topology.
/// The two are drawn independently and may be the same host, so that this holds with two hosts too: the busier one
/// still gets a quarter.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LowestLoad;

/// Processor use of a host that does not report it, in percent.
const UNKNOWN_CPU: f32 = 40.0;
/// Lag of a host that does not report it, in milliseconds.
const UNKNOWN_LAG: f32 = 50.0;

impl HostSelector for LowestLoad {
    fn pick(&self, context: &SelectContext, hosts: &[Host]) -> Option<usize> {
        let eligible = context.eligible(hosts);
        let (first, second) = (draw(eligible.clone())?, draw(eligible)?);
        let less = if load(second.1) < load(first.1) { second } else { first };
        Some(less.0)
    }
}

/// The load the topology gave the host, else one made of its lag and processor use in the same way.
fn load(host: &Host) -> u64 {
    host.load.unwrap_or_else(|| {
        let lag = whole(host.lag_ms.unwrap_or(UNKNOWN_LAG));
        lag.saturating_mul(100).saturating_add(whole(host.cpu_percent.unwrap_or(UNKNOWN_CPU)))
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and NaN becomes 0"
)]
fn whole(value: f32) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{counts, readers, seeded};

    #[test]
    fn load_comes_from_the_topology_or_from_lag_and_processor_use() {
        let mut host = readers(&["a"]).remove(0);
        assert_eq!(load(&host), 5040);
        for (lag, cpu, expected) in [(20.0, 10.0, 2010), (5.0, 90.0, 590), (0.4, 0.6, 1), (-1.0, f32::NAN, 0)]
        {
            (host.lag_ms, host.cpu_percent) = (Some(lag), Some(cpu));
            assert_eq!(load(&host), expected);
        }
        host.lag_ms = Some(f32::INFINITY);
        assert_eq!(load(&host), u64::MAX);
        host.load = Some(7);
        assert_eq!(load(&host), 7);
    }

    #[test]
    fn less_load_means_more_picks_and_nobody_gets_all() {
        seeded();
        let mut hosts = readers(&["busy", "idle", "unknown"]);
        hosts[0].load = Some(9000);
        hosts[1].load = Some(100);
        // The chances are 1, 5 and 3 of 9; five standard deviations at most are allowed.
        let counts = counts(&LowestLoad, &hosts, 9000);
        for (count, expected) in counts.iter().zip([1000, 5000, 3000_usize]) {
            assert!(count.abs_diff(expected) < 240, "{counts:?}");
        }
    }
}
