//! Values for plugins, by type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What an application gives its plugins besides parameters: at most one value of a type.
#[derive(Clone, Default)]
pub(crate) struct Provided {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Provided {
    /// Keeps `value` in place of another one of its type.
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.values.insert(TypeId::of::<T>(), Arc::new(value));
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.values.get(&TypeId::of::<T>())?).downcast().ok()
    }
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provided").field("values", &self.values.len()).finish_non_exhaustive()
    }
}
