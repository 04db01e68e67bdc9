//! How a call ended, for those who observe it.

use std::time::Duration;

use crate::error::ErrorKind;

/// How a call ended, as [`ConnectionPlugin::after`](super::ConnectionPlugin::after) sees it: before any plugin was asked to
/// recover it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOutcome {
    /// What it came to.
    pub class: CallClass,
    /// How many rows it changed, where the driver tells.
    pub rows_affected: Option<u64>,
    /// From before the first `before` to the end. Only for plugins that [subscribe to it](super::Subscriptions::timing): no
    /// clock is read for others.
    pub elapsed: Option<Duration>,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallClass {
    /// It went well. A result that is read row by row was read to its end or dropped before.
    Ok,
    /// It failed, or a plugin did not let it pass.
    Failed(ErrorKind),
    /// Its future was dropped before it was sent: nothing was lost with it.
    DroppedBeforeSending,
    /// Its future was dropped when it may have been sent.
    DroppedAfterSending,
}
