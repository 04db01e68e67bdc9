//! What the programs of this package share.

pub mod bench;
pub mod demo;
pub mod names;
