//! The physical connection in use, and how another one takes its place.
//!
//! As long as nothing was switched it is a plain field, which costs a flag to reach and can be borrowed mutably, as a
//! transaction of the driver must. A switch under `&self` goes through a pointer that is swapped; the next `&mut self`
//! folds it back into the field.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use aws_wrapper_core::connection::Logical;

use crate::driver::PgDriver;
use crate::physical::Physical;

/// The connection in use.
#[derive(Debug)]
pub(crate) struct Current {
    base: Physical,
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
        Self { base, switched: AtomicBool::new(false), newer: ArcSwapOption::empty() }
    }

    /// Makes the newest connection the base. `false` if that is impossible: then it needs a base by other means.
    pub(crate) fn fold(&mut self, logical: &Logical<PgDriver>) -> bool {
        if logical.has_parked() {
            let mut parked = None;
            logical.adopt(|connection| parked = Some(connection));
            if let Some(parked) = parked {
                self.set_base(parked);
            }
        }
        if !*self.switched.get_mut() {
            return true;
        }
        let newer = self.newer.swap(None).expect("it is stored before the flag is set");
        match Arc::try_unwrap(newer) {
            Ok(newer) => {
                self.set_base(newer);
                true
            }
            // A call was started and forgotten: its future holds the connection and always will.
            Err(held) => {
                self.newer.store(Some(held));
                false
            }
        }
    }

    pub(crate) fn set_base(&mut self, base: Physical) {
        self.newer.store(None);
        *self.switched.get_mut() = false;
        self.base = base;
    }

    /// The base as a whole. It is the connection in use only after a [`fold`](Self::fold).
    pub(crate) fn base_mut(&mut self) -> &mut Physical {
        &mut self.base
    }

    /// The connection in use.
    #[inline]
    pub(crate) fn now(&self) -> Now<'_> {
        if !self.switched.load(Ordering::Acquire) {
            return Now::Base(&self.base);
        }
        Now::Newer(self.newer.load_full().expect("stored before the flag is set, taken out by `&mut` only"))
    }

    /// Puts the connection that waits to use. Several calls may do so at once.
    #[cold]
    pub(crate) fn adopt(&self, logical: &Logical<PgDriver>) {
        let mut replaced = None;
        logical.adopt(|connection| {
            replaced = self.newer.swap(Some(Arc::new(connection)));
            self.switched.store(true, Ordering::Release);
        });
        drop(replaced);
    }
}
