//! Fakes for tests and measurements of the core and of plugins.

pub mod cluster;
pub mod driver;
mod null;
mod recorder;

pub use self::null::{NullConnection, NullDriver};
pub use self::recorder::{Measured, Recorder};
