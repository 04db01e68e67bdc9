//! Core.

pub mod availability;
pub mod call;
pub mod config;
pub mod connection;
pub mod connector;
pub mod dialect;
pub mod driver;
pub mod endpoint;
pub mod error;
pub mod events;
pub mod host;
pub mod method;
pub mod pipeline;
pub mod plugin;
pub mod plugins;
pub mod registry;
pub mod resolver;
pub mod retry;
pub mod select;
pub mod services;
pub mod session;
pub mod table;
mod tasks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod topology;

pub use crate::error::{Error, ErrorKind, Result};
pub use crate::tasks::TaskStatus;
