//! Which servers a driver talks to.

/// The servers a driver talks to; decides which database dialects are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// PostgreSQL and what speaks its protocol.
    Postgres,
    /// MySQL, MariaDB and what speaks their protocol.
    MySql,
}

impl Engine {
    /// The word for it in metrics: OpenTelemetry's `db.system.name`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::MySql => "mysql",
        }
    }
}
