//! What connecting failed with last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_wrapper_core::Error;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The last error of connecting, until there is reason to believe that it is over.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    /// Asked by every checkout: usually nothing has failed.
    is_set: AtomicBool,
    last: Mutex<Option<(Instant, Arc<Error>)>>,
}

impl Failure {
    pub(crate) fn set(&self, error: &Arc<Error>) {
        *self.last.lock() = Some((Instant::now(), Arc::clone(error)));
        self.is_set.store(true, Ordering::Release);
    }

    pub(crate) fn last(&self) -> Option<Arc<Error>> {
        self.last.lock().as_ref().map(|(_, error)| Arc::clone(error))
    }

    /// A connection was opened.
    pub(crate) fn is_over(&self) {
        if self.is_set.swap(false, Ordering::AcqRel) {
            *self.last.lock() = None;
        }
    }

    /// A connection was given back at `moment` and is good: if it failed before that, somebody has worked with the host
    /// since.
    pub(crate) fn is_over_since(&self, moment: Instant) {
        if self.is_set.load(Ordering::Acquire)
            && self.last.lock().as_ref().is_some_and(|(at, _)| *at < moment)
        {
            self.is_over();
        }
    }
}
