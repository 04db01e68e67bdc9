//! What is done to a session.

/// What was done to a session since it was clean ([`Slot::session_is_clean`](crate::registry::Slot::session_is_clean)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum SessionChange {
    /// Only plain statements ran: it is as clean as it was.
    None = 1,
    /// Settings, temporary tables, locks or the like may be left, which a reset of the session takes away.
    Resettable = 2,
    /// Its user, its database or the like may be another one, which no reset takes back.
    Lasting = 3,
}
