//! The physical connection in use, and how another one takes its place.
//!
//! As long as nothing was switched it is a plain field, which costs a flag to reach and can be borrowed mutably, as a
//! transaction of the driver must. A switch under `&self` goes through a pointer that is swapped; the next `&mut self`
//! folds it back into the field.
//!
//! A [handle](crate::ClientHandle) on a client has only the pointer: it never moves to another connection, and it can be
//! taken away from it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use crate::driver::Shared;
use crate::physical::Physical;

/// The connection in use.
#[derive(Debug)]
pub(crate) struct Current {
    /// Nothing in a handle. Shared with a handle while that is in use.
    base: Option<Arc<Physical>>,
    /// Whether `newer` has taken the place of `base`.
    switched: AtomicBool,
    newer: ArcSwapOption<Physical>,
}

/// The connection a call goes out on. A call that runs while another one switches ends on the old connection.
pub(crate) enum Now<'a> {
    Base(&'a Physical),
    Newer(Arc<Physical>),
}

impl Deref for Now<'_> {
    type Target = Physical;

    #[inline]
    fn deref(&self) -> &Physical {
        match self {
            Self::Base(base) => base,
            Self::Newer(newer) => newer,
        }
    }
}

impl Current {
    pub(crate) fn new(base: Physical) -> Self {
        let base = Some(Arc::new(base));
        Self { base, switched: AtomicBool::new(false), newer: ArcSwapOption::empty() }
    }

    /// A handle's: it stays on this connection until it is taken away.
    pub(crate) fn of_handle(physical: Arc<Physical>) -> Self {
        let newer = ArcSwapOption::new(Some(physical));
        Self { base: None, switched: AtomicBool::new(true), newer }
    }

    /// Whether it is a handle's.
    pub(crate) fn is_of_handle(&self) -> bool {
        self.base.is_none()
    }

    /// Takes the connection away from a handle.
    pub(crate) fn take_away(&self) {
        self.newer.store(None);
    }

    /// Makes the newest connection the base, for this caller alone. `false` if that is impossible: then it needs a base by
    /// other means.
    pub(crate) fn fold(&mut self, shared: &Shared) -> bool {
        if shared.logical().has_parked() {
            let mut parked = None;
            shared.adopt(|connection| parked = Some(connection));
            if let Some(parked) = parked {
                self.set_base(parked);
            }
        }
        if *self.switched.get_mut() {
            self.base = self.newer.swap(None);
            *self.switched.get_mut() = false;
        }
        // A call was started and forgotten: its future holds the connection and always will.
        self.base.as_mut().and_then(Arc::get_mut).is_some()
    }

    pub(crate) fn set_base(&mut self, base: Physical) {
        self.newer.store(None);
        *self.switched.get_mut() = false;
        self.base = Some(Arc::new(base));
    }

    /// The base as a whole. It is the connection in use, and this caller's alone, only after a [`fold`](Self::fold) or
    /// [`set_base`](Self::set_base).
    ///
    /// # Panics
    /// Without that.
    pub(crate) fn base_mut(&mut self) -> &mut Physical {
        self.base.as_mut().and_then(Arc::get_mut).expect("only a folded base is asked for")
    }

    /// The connection in use. `None` only for a handle that it was taken away from.
    #[inline]
    pub(crate) fn now(&self) -> Option<Now<'_>> {
        if !self.switched.load(Ordering::Acquire) {
            return self.base.as_deref().map(Now::Base);
        }
        self.newer.load_full().map(Now::Newer)
    }

    /// The connection in use, for a handle to share. `None` as for [`now`](Self::now).
    pub(crate) fn share(&self) -> Option<Arc<Physical>> {
        if self.switched.load(Ordering::Acquire) { self.newer.load_full() } else { self.base.clone() }
    }

    /// Puts the connection that waits to use. Several calls may do so at once.
    #[cold]
    pub(crate) fn adopt(&self, shared: &Shared) {
        let mut replaced = None;
        shared.adopt(|connection| {
            replaced = self.newer.swap(Some(Arc::new(connection)));
            self.switched.store(true, Ordering::Release);
        });
        drop(replaced);
    }
}
