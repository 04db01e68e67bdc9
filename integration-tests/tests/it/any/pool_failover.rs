//! Pools when the writer changes.
