//! The state of a session: transactions now, settings later.

mod change;
mod kind;
pub mod lexer;
pub mod transaction;

pub use self::change::SessionChange;
pub use self::kind::StatementKind;
