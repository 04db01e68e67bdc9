//! The one thread of the monitors, for applications that block the threads of their runtime.

use std::fmt;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A runtime on a thread of its own. Starts when it is first needed, ends when this is dropped.
#[derive(Default)]
pub(super) struct Dedicated {
    started: OnceLock<Option<Started>>,
}

struct Started {
    handle: Handle,
    /// Dropped with this, which ends the thread.
    _end: oneshot::Sender<()>,
}

impl Dedicated {
    /// Runs `spawn`, whose tasks go to the thread. Without one, to the runtime of the caller.
    pub(super) fn run(&self, spawn: impl FnOnce()) {
        let started = self.started.get_or_init(|| {
            start().inspect_err(|error| tracing::warn!(%error, "no thread for the host monitors; they share the application's")).ok()
        });
        let _on_thread = started.as_ref().map(|started| started.handle.enter());
        spawn();
    }
}

fn start() -> std::io::Result<Started> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (end, ended) = oneshot::channel::<()>();
    std::thread::Builder::new().name("host-monitors".to_owned()).spawn(move || {
        // The sender is only ever dropped.
        let _ = runtime.block_on(ended);
    })?;
    Ok(Started { handle, _end: end })
}

impl fmt::Debug for Dedicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_started = self.started.get().is_some_and(Option::is_some);
        f.debug_struct("Dedicated").field("is_started", &is_started).finish_non_exhaustive()
    }
}
