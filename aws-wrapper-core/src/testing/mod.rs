//! Fakes for tests and measurements of the core and of plugins.

pub mod cluster;
mod null;

pub use self::null::{NullConnection, NullDriver};
