//! The state of a transaction, as the protocol tells it.

/// Whether a transaction is open on a physical connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionState {
    /// No transaction is open.
    Idle,
    /// A transaction is open.
    InTransaction,
    /// A transaction is open and has failed: the server refuses everything but its end. PostgreSQL only.
    Failed,
    /// Not known, because a call was cut off or an error has not been settled yet.
    Unknown,
}
