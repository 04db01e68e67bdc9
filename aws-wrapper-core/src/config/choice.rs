//! Parameters with a fixed set of values, as enums.

/// Declares an enum together with the text of each value, so that the two cannot drift apart.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The text of every value, as parameters take it.
            pub const CODES: &'static [&'static str] = &[$($code),+];

            /// The text of this value.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The value of one of the [`CODES`](Self::CODES).
            pub fn from_code(code: &str) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

choice! {
    /// Which host a failover may end on.
    FailoverMode {
        /// The writer, and nothing else.
        StrictWriter = "strict-writer",
        /// A reader, and nothing else.
        StrictReader = "strict-reader",
        /// A reader if there is one, else the writer.
        ReaderOrWriter = "reader-or-writer",
    }
}

choice! {
    /// What a pool gives out when a reader is asked for and there is none.
    ReaderFallback {
        /// A connection to the writer.
        Writer = "writer",
        /// An error.
        Error = "error",
    }
}

choice! {
    /// What a connection that is given back to a pool is cleaned of. A transaction that is open or may be is ended whatever
    /// this says.
    PoolReset {
        /// The session is reset if anything but plain statements ran on it.
        Auto = "auto",
        /// The session is reset each time.
        Always = "always",
        /// The session stays as it is.
        Never = "never",
    }
}

impl PoolReset {
    /// The words of deadpool's own pools are understood, too.
    pub(crate) const ACCEPTED: &'static [&'static str] =
        &["auto", "always", "never", "fast", Self::VERIFIED, "clean"];

    /// As `never`, and every connection is asked for a sign of life when it is checked out.
    pub(crate) const VERIFIED: &'static str = "verified";

    /// What one of the words of [`ACCEPTED`](Self::ACCEPTED) means.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "fast" | Self::VERIFIED => Some(Self::Never),
            "clean" => Some(Self::Always),
            code => Self::from_code(code),
        }
    }
}

choice! {
    /// The role an endpoint stands for, or that a new connection must have.
    EndpointRole {
        /// The writer.
        Writer = "writer",
        /// A reader.
        Reader = "reader",
        /// Any host of the cluster.
        Any = "any",
        /// The endpoint is used as it is and no role is checked.
        None = "none",
    }
}

impl EndpointRole {
    /// The roles that can be checked; `any` is no check.
    pub(crate) const VERIFIABLE: &'static [&'static str] = &["writer", "reader", "none"];
}

choice! {
    /// How a host that could not be reached is treated.
    AvailabilityStrategyKind {
        /// It stays out until it has been reached again.
        Simple = "simple",
        /// It is tried again after a pause that doubles with each failure.
        ExponentialBackoff = "exponential_backoff",
    }
}

choice! {
    /// Where the topology monitor likes to keep its connection. A preference: a working connection is never dropped
    /// for it.
    MonitoringPriority {
        /// The writer.
        StrictWriter = "strict-writer",
        /// A reader.
        StrictReader = "strict-reader",
        /// Whatever answers.
        WriterOrReader = "writer-or-reader",
    }
}

choice! {
    /// Where host monitors run.
    MonitorRuntime {
        /// With the application's tasks.
        Shared = "shared",
        /// On one thread of their own.
        Dedicated = "dedicated",
    }
}

choice! {
    /// Whether a connection is encrypted and what is checked, as in libpq.
    SslMode {
        /// Never encrypted.
        Disable = "disable",
        /// Encrypted if the server offers it; nothing is checked.
        Prefer = "prefer",
        /// Always encrypted.
        Require = "require",
        /// Always encrypted, and the certificate must come from a trusted authority.
        VerifyCa = "verify-ca",
        /// As `verify-ca`, and the certificate must name the host.
        VerifyFull = "verify-full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_its_value_lead_to_each_other() {
        for code in FailoverMode::CODES {
            assert_eq!(FailoverMode::from_code(code).map(FailoverMode::code), Some(*code));
        }
        assert_eq!(FailoverMode::from_code("writer"), None);
        for code in EndpointRole::VERIFIABLE {
            assert!(EndpointRole::CODES.contains(code));
        }
    }

    #[test]
    fn the_words_of_deadpool_say_what_is_reset() {
        let meant = PoolReset::ACCEPTED.iter().map(|word| PoolReset::from_word(word).unwrap().code());
        assert_eq!(meant.collect::<Vec<_>>(), ["auto", "always", "never", "never", "never", "always"]);
    }
}
