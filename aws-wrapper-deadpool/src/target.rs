//! Where the connections of a sub-pool lead to.

use std::fmt;

use aws_wrapper_core::host::HostKey;

/// Where the connections of a sub-pool lead to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// Where the connector leads to: a plain server, an instance, a custom endpoint.
    Endpoint,
    /// The writer, whichever instance that is.
    Writer,
    /// One reader.
    Reader(HostKey),
    /// Any reader. No sub-pool has this target; errors have.
    AnyReader,
}

impl Target {
    /// The word for it in metrics; a reader is known by its host.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Writer => "writer",
            Self::Reader(_) | Self::AnyReader => "reader",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str("the endpoint"),
            Self::Writer => f.write_str("the writer"),
            Self::Reader(host) => write!(f, "the reader {host}"),
            Self::AnyReader => f.write_str("a reader"),
        }
    }
}
