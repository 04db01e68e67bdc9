//! The state of a session: transactions now, settings later.

mod change;
pub mod lexer;
pub mod transaction;

pub use self::change::SessionChange;
