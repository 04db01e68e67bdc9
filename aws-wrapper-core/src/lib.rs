//! Core.

pub mod error;
pub mod host;
pub mod method;

pub use crate::error::{Error, ErrorKind, Result};
