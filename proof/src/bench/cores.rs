//! Which processors client and servers run on, so that the scheduler's choice is not what is measured.

use std::fmt;
use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Where to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a choice of the command line")]
pub enum Cores {
    /// Wherever the scheduler likes.
    Any,
    /// All on one processor: an answer is one switch away, and nobody has to be woken on an idle processor.
    Together,
    /// Client and servers on one processor each.
    Apart,
}

impl Cores {
    /// For what this thread starts from now on: the servers.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn for_servers(self) -> io::Result<()> {
        match self {
            Self::Any => Ok(()),
            Self::Together => pin(0),
            Self::Apart => pin(1),
        }
    }

    /// For this thread, and what it starts from now on.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn for_client(self) -> io::Result<()> {
        match self {
            Self::Any => Ok(()),
            Self::Together | Self::Apart => pin(0),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "used as the scheduler likes",
            Self::Together => "client and server bound to one of them",
            Self::Apart => "client and server bound to one each",
        })
    }
}

/// Binds this thread, and what it starts, to a processor.
fn pin(number: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(number);
    Ok(sched_setaffinity(None, &set)?)
}
