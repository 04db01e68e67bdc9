//! What a statement is for.

/// What a statement is for, as far as its words tell ([`statement_kind`](super::lexer::statement_kind)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatementKind {
    /// It reads. What functions it calls is not looked at.
    Read,
    /// It changes rows.
    Write,
    /// It begins or ends a transaction, or a part of one.
    TransactionControl,
    /// It changes a setting of the session.
    SessionSetting,
    /// Anything else, several statements, or a text that can be read in two ways.
    Unknown,
}
