//! What a pool was told, checked.

use std::time::Duration;

use aws_wrapper_core::pooling::{PoolReset, ReaderFallback};
use deadpool::managed::{PoolConfig, QueueMode, Timeouts};

/// The rules of one pool; all its sub-pools share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Connections of each sub-pool.
    pub(crate) max_size: usize,
    /// `None`: for as long as it takes.
    pub(crate) wait_timeout: Option<Duration>,
    pub(crate) create_timeout: Option<Duration>,
    pub(crate) recycle_timeout: Option<Duration>,
    /// Zero: before every use.
    pub(crate) idle_check_after: Duration,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) reset: PoolReset,
    pub(crate) reader_fallback: ReaderFallback,
}

/// Our own limits come first, because they know what went wrong; deadpool's are there for what they do not cover.
const GRACE: Duration = Duration::from_millis(200);
/// How long cleaning may take when the pool has no limit. A task does it, which would never give up by itself.
const LONGEST_CLEANING: Duration = Duration::from_secs(10);

impl Rules {
    /// How long cleaning a connection that was given back may take.
    pub(crate) fn cleaning_limit(&self) -> Duration {
        self.recycle_timeout.unwrap_or(LONGEST_CLEANING)
    }

    /// How deadpool is configured for a sub-pool.
    pub(crate) fn config(&self, queue_mode: QueueMode) -> PoolConfig {
        let mut config = PoolConfig::new(self.max_size);
        config.queue_mode = queue_mode;
        config.timeouts = Timeouts {
            wait: self.wait_timeout,
            create: self.create_timeout.map(|limit| limit.saturating_add(GRACE)),
            recycle: self.recycle_timeout.map(|limit| limit.saturating_add(GRACE)),
        };
        config
    }
}

/// The age at which the connection with the number `id` is replaced: up to a tenth before `limit`, always the same for
/// one connection.
pub(crate) fn lifetime(limit: Duration, id: u64) -> Duration {
    const STEPS: u32 = 1000;
    // Fibonacci hashing: numbers in a row are spread evenly.
    let hash = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let step = u32::try_from(hash % u64::from(STEPS)).unwrap_or(0);
    limit.saturating_sub(limit / 10 / STEPS * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_spread_over_the_last_tenth() {
        let limit = Duration::from_secs(1000);
        let all: Vec<_> = (1..=1000).map(|id| lifetime(limit, id)).collect();
        assert!(all.iter().all(|life| (Duration::from_secs(900)..=limit).contains(life)), "{all:?}");
        let early = all.iter().filter(|life| **life < Duration::from_secs(950)).count();
        assert!((450..=550).contains(&early), "{early}");
        // Those opened one after the other do not end one after the other.
        assert!(all[0].abs_diff(all[1]) > Duration::from_secs(10), "{:?} {:?}", all[0], all[1]);
        assert_eq!(lifetime(limit, 7), lifetime(limit, 7));
    }
}
