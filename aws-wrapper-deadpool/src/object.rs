//! A connection in use.

use std::fmt;
use std::ops::{Deref, DerefMut};

use aws_wrapper_core::host::HostKey;
use deadpool::managed;
use tokio::time::Instant;

use crate::adapter::Adapter;
use crate::clean::{Cleaning, Left};
use crate::manager::Manager;
use crate::sub_pool::show_size;
use crate::target::Target;

/// A connection of a pool. Works like the connection itself; dropping it gives it back.
///
/// One on which something was left, such as an open transaction, goes back when a task has cleaned it. One that must not be
/// used again does not go back: it is closed at once when a call on it was dropped, when it has ended, and when it would
/// have to be cleaned and is dropped outside of a runtime. That needs none.
pub struct Object<A: Adapter> {
    /// Taken when it is dropped.
    inner: Option<managed::Object<Manager<A>>>,
}

impl<A: Adapter> Object<A> {
    /// Takes the connection out of the pool, which can open another one in its place.
    ///
    /// # Panics
    /// Never: only dropping it leaves it empty.
    pub fn take(mut this: Self) -> A::Client {
        let inner = this.inner.take().expect("only dropping takes it");
        let pool = managed::Object::pool(&inner);
        let client = managed::Object::take(inner).into_client();
        pool.iter().for_each(show_size);
        client
    }

    /// The instance the next call goes to.
    pub fn host(this: &Self) -> HostKey {
        A::slot(this).routed_host().clone()
    }

    /// Where the connections of its sub-pool lead to.
    pub(crate) fn target(this: &Self) -> Target {
        match managed::Object::pool(Self::inner(this)) {
            Some(pool) => pool.manager().target().clone(),
            // The pool is gone; its connection is not.
            None => Target::Endpoint,
        }
    }

    /// deadpool's own object.
    ///
    /// # Panics
    /// Never: only dropping it leaves it empty.
    pub fn inner(this: &Self) -> &managed::Object<Manager<A>> {
        this.inner.as_ref().expect("only dropping takes it")
    }
}

impl<A: Adapter> From<managed::Object<Manager<A>>> for Object<A> {
    /// deadpool hands it out: what its hooks did to the session belongs to a clean one.
    fn from(inner: managed::Object<Manager<A>>) -> Self {
        inner.slot().session_is_clean();
        Self { inner: Some(inner) }
    }
}

impl<A: Adapter> Deref for Object<A> {
    type Target = A::Client;

    fn deref(&self) -> &A::Client {
        Self::inner(self)
    }
}

impl<A: Adapter> DerefMut for Object<A> {
    fn deref_mut(&mut self) -> &mut A::Client {
        self.inner.as_mut().expect("only dropping takes it")
    }
}

impl<A: Adapter> fmt::Debug for Object<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&**self).finish()
    }
}

impl<A: Adapter> Drop for Object<A> {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else { return };
        let Some(pool) = managed::Object::pool(&inner) else { return };
        match pool.manager().accepts(&mut inner) {
            Ok(Left::Nothing) => {
                inner.idle_since = Instant::now();
                drop(inner);
            }
            Ok(Left::Chores(chores)) => return Cleaning::start(pool, inner, chores),
            Err(reason) => pool.manager().discard(inner, reason),
        }
        show_size(&pool);
    }
}
