//! The error after which the server keeps nothing of a transaction.

use crate::error::{DriverClass, Error};

/// What the server said when a transaction failed, kept for the commit that it will refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFailure {
    sqlstate: String,
    vendor_code: Option<u32>,
    message: String,
}

impl TransactionFailure {
    /// The server's SQLSTATE, its own number where the product has such, and its text.
    pub fn new(sqlstate: impl Into<String>, vendor_code: Option<u32>, message: impl Into<String>) -> Self {
        Self { sqlstate: sqlstate.into(), vendor_code, message: message.into() }
    }

    /// The wrapper's error for it.
    pub fn into_error(self) -> Error {
        let error = Error::driver(DriverClass::Other, self.message).with_sqlstate(&self.sqlstate);
        match self.vendor_code {
            Some(code) => error.with_vendor_code(code),
            None => error,
        }
    }
}
