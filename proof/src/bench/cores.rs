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
}

impl Cores {
    /// For this thread, and what it starts from now on: threads and servers.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn apply(self) -> io::Result<()> {
        let count = match self {
            // The kernel takes what there is of them.
            Self::Any => CpuSet::MAX_CPU,
            Self::Together => 1,
        };
        let mut set = CpuSet::new();
        (0..count).for_each(|number| set.set(number));
        Ok(sched_setaffinity(None, &set)?)
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "used as the scheduler likes",
            Self::Together => "client and server bound to one of them",
        })
    }
}
