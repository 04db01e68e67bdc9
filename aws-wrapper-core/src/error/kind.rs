//! The words in which errors answer.

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A parameter is unknown, misspelled, out of range or contradicts another.
    Config,
    /// Two plugins exclude each other, or one stands twice in the list.
    PluginConflict,
    /// The server refused the user, the password or the token.
    Login,
    /// No usable host: none could be reached, or the one in use was given up by the wrapper.
    HostUnavailable,
    /// A deadline of the wrapper passed; the phase says which.
    Timeout(Phase),
    /// The connection was lost and the wrapper looked for another one; the outcome says how that ended.
    Failover(FailoverOutcome),
    /// No host of the wanted role may be used, or a plugin led the connection out of its cluster.
    Routing,
    /// Session settings could not be applied to a new connection.
    SessionTransfer,
    /// The object belongs to a connection that has been replaced since.
    ConnectionSwitched,
    /// The server answered a commit by rolling the transaction back. SQLSTATE `40000`.
    RolledBack,
    /// The driver, the server or this version cannot do what was asked.
    Unsupported,
    /// The driver reported an error and no plugin changed its meaning.
    Driver(DriverClass),
}

/// Which wait ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Opening one physical connection: name, dial, TLS, authentication, role.
    Connect,
    /// Waiting for a topology that answers the question.
    Topology,
    /// The answer to one call of the application: `socket_timeout_ms`.
    Call,
    /// A whole failover.
    Failover,
    /// One query of the wrapper's own, such as the role query.
    Probe,
    /// Waiting for running tasks when shutting down.
    Shutdown,
}

/// How a failover ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailoverOutcome {
    /// A new connection is in place and no transaction was open. Repeat the statement. SQLSTATE `08S02`.
    Succeeded,
    /// A new connection is in place, but a transaction was open or its commit was on its way. SQLSTATE `08007`.
    TransactionUnknown,
    /// No new connection; the next call tries again. SQLSTATE `08001`.
    Failed,
}

/// What became of the transaction in which an error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionOutcome {
    /// No transaction ended with it: none was open, or the connection lives and the transaction is still the caller's
    /// to end.
    NotInTransaction,
    /// Nothing of the transaction is kept: its connection was lost before a commit was sent, or the server rolled it
    /// back.
    RolledBack,
    /// The commit was on its way: it may have happened or not.
    Unknown,
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryAdvice {
    /// The connection works again. Repeat the statement, if it may run twice or [`Error::statement_may_have_run`](super::Error::statement_may_have_run) is
    /// false.
    RetryStatement,
    /// The connection works again. Repeat the whole transaction; a statement outside of one is its own.
    RetryTransaction,
    /// Look first whether the work was committed: it may have been. Repeating it blindly could do it twice.
    CheckOutcome,
    /// The connection is gone. Open a new one, or call again to start another failover.
    Reconnect,
    /// Repeating will not help.
    DoNotRetry,
}

/// What an error of the driver means, whichever driver it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriverClass {
    /// The connection is unusable: the server or the path to it is gone, or its name does not exist.
    Network,
    /// The host's name could not be looked up. Says nothing about the host, which is not taken for unavailable.
    Lookup,
    /// The server refused user, password or token.
    Login,
    /// The server refuses writes. Only a role query tells whether it is a reader.
    Role,
    /// The server ended this session; the host is fine.
    SessionTerminated,
    /// The caller's own cancellation or time limit.
    Cancelled,
    /// Anything else: the statement failed, the connection is fine.
    Other,
}

impl ErrorKind {
    /// The word for it in metrics and logs, in `snake_case`; what is inside stands behind it, as in `timeout_connect`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::PluginConflict => "plugin_conflict",
            Self::Login => "login",
            Self::HostUnavailable => "host_unavailable",
            Self::Timeout(Phase::Connect) => "timeout_connect",
            Self::Timeout(Phase::Topology) => "timeout_topology",
            Self::Timeout(Phase::Call) => "timeout_call",
            Self::Timeout(Phase::Failover) => "timeout_failover",
            Self::Timeout(Phase::Probe) => "timeout_probe",
            Self::Timeout(Phase::Shutdown) => "timeout_shutdown",
            Self::Failover(FailoverOutcome::Succeeded) => "failover_succeeded",
            Self::Failover(FailoverOutcome::TransactionUnknown) => "failover_transaction_unknown",
            Self::Failover(FailoverOutcome::Failed) => "failover_failed",
            Self::Routing => "routing",
            Self::SessionTransfer => "session_transfer",
            Self::ConnectionSwitched => "connection_switched",
            Self::RolledBack => "rolled_back",
            Self::Unsupported => "unsupported",
            Self::Driver(DriverClass::Network) => "driver_network",
            Self::Driver(DriverClass::Lookup) => "driver_lookup",
            Self::Driver(DriverClass::Login) => "driver_login",
            Self::Driver(DriverClass::Role) => "driver_role",
            Self::Driver(DriverClass::SessionTerminated) => "driver_session_terminated",
            Self::Driver(DriverClass::Cancelled) => "driver_cancelled",
            Self::Driver(DriverClass::Other) => "driver_other",
        }
    }
}

impl FailoverOutcome {
    /// The word for it in metrics, in `snake_case`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::TransactionUnknown => "transaction_unknown",
            Self::Failed => "failed",
        }
    }
}
