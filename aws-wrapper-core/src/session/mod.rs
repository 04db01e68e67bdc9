//! The state of a session: transactions now, settings later.

pub mod lexer;
pub mod transaction;
