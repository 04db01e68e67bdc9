//! Places for what a plugin keeps of a call or of a logical connection.
//!
//! A plugin reserves its places when it is made ([`PluginContext`](super::PluginContext)); the value is made when it is first
//! asked for, so a call in which no plugin asks pays for an empty pointer.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Where a plugin finds its `T` in each call, see [`Call::state`](super::Call::state).
pub struct CallState<T>(Place<T>);

/// Where a plugin finds its `T` in each logical connection, see [`Logical::state`](super::Logical::state).
pub struct ConnectionState<T>(Place<T>);

impl<T> CallState<T> {
    pub(super) fn place(&self) -> &Place<T> {
        &self.0
    }
}

impl<T> ConnectionState<T> {
    pub(super) fn place(&self) -> &Place<T> {
        &self.0
    }
}

impl<T> fmt::Debug for CallState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallState").field(&self.0.index).finish()
    }
}

impl<T> fmt::Debug for ConnectionState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionState").field(&self.0.index).finish()
    }
}

/// The number of a place, and how many there are when all plugins are made.
pub(super) struct Place<T> {
    index: usize,
    count: Arc<AtomicUsize>,
    of: PhantomData<fn() -> T>,
}

/// The places of one connector.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    of_calls: Arc<AtomicUsize>,
    of_connections: Arc<AtomicUsize>,
}

impl Places {
    pub(super) fn in_calls<T>(&self) -> CallState<T> {
        CallState(reserve(&self.of_calls))
    }

    pub(super) fn in_connections<T>(&self) -> ConnectionState<T> {
        ConnectionState(reserve(&self.of_connections))
    }
}

fn reserve<T>(count: &Arc<AtomicUsize>) -> Place<T> {
    Place { index: count.fetch_add(1, Ordering::Relaxed), count: Arc::clone(count), of: PhantomData }
}

/// The values of one call or one logical connection. Nothing until the first is asked for; one pointer, as each call has it.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "a thin pointer")]
pub(super) struct States(OnceLock<Box<Vec<Value>>>);

type Value = OnceLock<Box<dyn Any + Send + Sync>>;

impl States {
    #[inline]
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The value at `place`, made now if it is not there yet.
    pub(super) fn get<T: Default + Send + Sync + 'static>(&self, place: &Place<T>) -> &T {
        let values = self.0.get_or_init(|| {
            // A place can only be reserved while plugins are made, and calls are made after that.
            Box::new((0..place.count.load(Ordering::Relaxed)).map(|_| OnceLock::new()).collect())
        });
        let value = values[place.index].get_or_init(|| Box::<T>::default());
        value.downcast_ref().expect("a place has one type")
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made =
            self.0.get().map_or(0, |values| values.iter().filter(|value| value.get().is_some()).count());
        f.debug_struct("States").field("made", &made).finish()
    }
}
