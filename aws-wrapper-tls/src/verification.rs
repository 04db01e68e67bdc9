//! From `sslmode` to what of a certificate is checked.

use aws_wrapper_core::driver::SslMode;
use aws_wrapper_core::error::{Error, Result};

/// What of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each adapter has to handle all of them")]
pub enum Verification {
    /// Nothing: the connection is encrypted, but the server may be anyone.
    None,
    /// That a trusted authority signed it.
    Chain,
    /// Also that it was issued for the host name.
    ChainAndName,
}

impl Verification {
    /// What `mode`, one that encrypts, asks for. As in libpq, `require` verifies the chain if there are root certificates.
    ///
    /// # Errors
    /// `Config` naming `sslmode` and `ssl_root_cert`, when certificates are to be verified without root certificates.
    pub fn of(mode: SslMode, has_roots: bool) -> Result<Self> {
        let verification = match mode {
            SslMode::Disable | SslMode::Prefer => return Ok(Self::None),
            SslMode::Require if !has_roots => return Ok(Self::None),
            SslMode::Require | SslMode::VerifyCa => Self::Chain,
            _ => Self::ChainAndName,
        };
        if has_roots {
            return Ok(verification);
        }
        Err(Error::config(format!(
            "`sslmode` is `{}`, but there are no root certificates to verify with; set the parameter `ssl_root_cert` to a \
             file of them (for RDS: the bundle AWS publishes)",
            mode.code(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_certificates_turn_require_into_verification() {
        for (mode, has_roots, expected) in [
            (SslMode::Prefer, false, Verification::None),
            (SslMode::Prefer, true, Verification::None),
            (SslMode::Require, false, Verification::None),
            (SslMode::Require, true, Verification::Chain),
            (SslMode::VerifyCa, true, Verification::Chain),
            (SslMode::VerifyFull, true, Verification::ChainAndName),
        ] {
            assert_eq!(Verification::of(mode, has_roots).unwrap(), expected, "{mode:?} {has_roots}");
        }
    }

    #[test]
    fn verifying_without_root_certificates_names_both_parameters() {
        for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
            let text = Verification::of(mode, false).unwrap_err().to_string();
            assert!(
                text.contains(mode.code()) && text.contains("sslmode") && text.contains("ssl_root_cert"),
                "{text}"
            );
        }
    }
}
