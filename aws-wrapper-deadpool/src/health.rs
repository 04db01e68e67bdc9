//! Whether a pool can do its work, in three states.

use std::fmt;

use aws_wrapper_core::topology::cluster::{ClusterStatus, Mode};

use crate::status::{Status, SubPoolStatus};
use crate::target::Target;

/// What a pool can do, as its own work has shown. Nobody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// All is well, as far as anybody has noticed.
    Up,
    /// It works, but not as it should: a reader cannot be reached, the writer is being looked for, or checkouts wait for
    /// connections that are all in use.
    Degraded,
    /// The last attempt to connect to the writer, or to the server, failed, and no connection to it is left.
    Down,
}

impl Health {
    pub(crate) fn of(status: &Status, cluster: Option<&ClusterStatus>) -> Self {
        let is_reader = |sub: &&SubPoolStatus| matches!(sub.target, Target::Reader(_));
        let mut others = status.sub_pools.iter().filter(|sub| !is_reader(sub));
        if others.any(|sub| sub.size == 0 && sub.last_error.is_some()) {
            return Self::Down;
        }
        let has_trouble = |sub: &SubPoolStatus| {
            let is_starved = sub.waiting > 0 && sub.available == 0 && sub.size >= sub.max_size;
            sub.last_error.is_some() || is_starved
        };
        let looks_for_writer = cluster.is_some_and(|cluster| cluster.mode == Mode::Panic);
        if looks_for_writer || status.sub_pools.iter().any(has_trouble) { Self::Degraded } else { Self::Up }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        })
    }
}
