//! The calls a plugin can subscribe to.

use std::fmt;

/// One kind of call on a connection, the same for every driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Method {
    /// A query whose rows are returned together.
    Query,
    /// A query whose rows are returned as a stream; entered when it is opened, left when the stream is dropped.
    QueryStream,
    /// A statement of which only the count of rows is wanted.
    Execute,
    /// Several statements as text, without results.
    BatchExecute,
    /// One or more statements as text, with results as text.
    SimpleQuery,
    /// Preparing a statement.
    Prepare,
    /// Opening a transaction.
    Begin,
    /// Ending a transaction, keeping its effect.
    Commit,
    /// Ending a transaction, dropping its effect.
    Rollback,
    /// Opening a savepoint.
    Savepoint,
    /// Making or reading a portal.
    Portal,
    /// Sending bulk data; left when the sink is finished or dropped.
    CopyIn,
    /// Receiving bulk data; left when the stream is dropped.
    CopyOut,
    /// Asking the server whether the connection works.
    Ping,
    /// Bringing the session back to its initial state.
    Reset,
    /// Subscribing to a notification channel.
    Listen,
}

impl Method {
    /// Every method, in order.
    pub const ALL: [Self; 16] = [
        Self::Query,
        Self::QueryStream,
        Self::Execute,
        Self::BatchExecute,
        Self::SimpleQuery,
        Self::Prepare,
        Self::Begin,
        Self::Commit,
        Self::Rollback,
        Self::Savepoint,
        Self::Portal,
        Self::CopyIn,
        Self::CopyOut,
        Self::Ping,
        Self::Reset,
        Self::Listen,
    ];

    /// How many methods there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in `snake_case`, as used in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::QueryStream => "query_stream",
            Self::Execute => "execute",
            Self::BatchExecute => "batch_execute",
            Self::SimpleQuery => "simple_query",
            Self::Prepare => "prepare",
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::Savepoint => "savepoint",
            Self::Portal => "portal",
            Self::CopyIn => "copy_in",
            Self::CopyOut => "copy_out",
            Self::Ping => "ping",
            Self::Reset => "reset",
            Self::Listen => "listen",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of methods, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MethodSet(u32);

impl MethodSet {
    /// No method.
    pub const NONE: Self = Self(0);
    /// Every method. All of them wait for the network.
    pub const ALL: Self = Self((1 << Method::COUNT) - 1);

    /// The set of `methods`.
    pub const fn of(methods: &[Method]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < methods.len() {
            bits |= 1 << methods[i] as u32;
            i += 1;
        }
        Self(bits)
    }

    /// Whether `method` is in the set.
    pub const fn contains(self, method: Method) -> bool {
        self.0 & (1 << method as u32) != 0
    }
}

impl fmt::Debug for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Method::ALL.iter().filter(|m| self.contains(**m))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_method_at_its_own_index() {
        for (index, method) in Method::ALL.iter().enumerate() {
            assert_eq!(*method as usize, index);
            assert!(MethodSet::ALL.contains(*method));
            assert!(!MethodSet::NONE.contains(*method));
        }
        assert!(MethodSet::of(&[Method::Commit]).contains(Method::Commit));
        assert!(!MethodSet::of(&[Method::Commit]).contains(Method::Query));
    }
}
