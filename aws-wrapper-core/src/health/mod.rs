//! Whether hosts live: who waits for an answer, and what a host says over a connection that is asked nothing else.
//!
//! One `HostWatch` for each address knows its connections. A coarse clock looks at those whose call has come of age and wakes
//! the monitor of the address, which probes. `verdict` is the arithmetic, `outcome` says what an error means.

mod clock;
mod dedicated;
mod incarnation;
mod monitor;
mod outcome;
mod profile;
mod settings;
mod verdict;
mod watch;

pub(crate) use self::clock::HostMonitors;
pub(crate) use self::profile::Profile;
pub(crate) use self::settings::PARAMETERS;
pub use self::settings::{MonitorRuntime, MonitoringSettings};
pub use self::verdict::{Outcome, Verdict};
pub use self::watch::HostMonitorStatus;
pub(crate) use self::watch::{Target, WatchKey};
