//! What plugins hear besides connects and calls.

use std::sync::Arc;

use crate::registry::Slot;

/// A logical connection has gone over to another physical connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionChange {
    /// The physical connection it had.
    pub old: Arc<Slot>,
    /// The one it has now, which carries the call that put it to use.
    pub new: Arc<Slot>,
}

impl ConnectionChange {
    pub(crate) fn new(old: Arc<Slot>, new: Arc<Slot>) -> Self {
        Self { old, new }
    }
}
