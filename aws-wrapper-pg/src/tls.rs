//! TLS for tokio-postgres: which mode applies, and the driver's connector.

use std::fmt;

use aws_wrapper_core::driver::SslMode;
use aws_wrapper_core::error::Result;
use aws_wrapper_tls::{Roots, Verification, client_config};
use tokio_postgres::config::{SslMode as DriverSslMode, SslNegotiation};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::Socket;

/// Which encryption applies when the parameter `sslmode` is left out.
///
/// Root certificates are taken as the wish to verify. Without them nothing can be verified, so it is what the driver's
/// own configuration says, by default "encrypt when the server can".
pub(crate) fn effective_mode(asked: Option<SslMode>, driver: DriverSslMode, has_roots: bool) -> SslMode {
    match (asked, driver) {
        (Some(asked), _) => asked,
        (None, DriverSslMode::Disable) => SslMode::Disable,
        (None, _) if has_roots => SslMode::VerifyFull,
        (None, DriverSslMode::Require) => SslMode::Require,
        (None, _) => SslMode::Prefer,
    }
}

/// How connections are encrypted; the same for every host.
#[derive(Clone)]
pub(crate) struct Tls {
    mode: SslMode,
    connect: Option<MakeRustlsConnect>,
    may_send_cleartext: bool,
}

/// Makes the handshake with one server.
pub(crate) type Handshake = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

impl Tls {
    /// `asked` is what the user said, `driver` what the driver's configuration says.
    ///
    /// # Errors
    /// `Config` when certificates are to be verified and there are no root certificates.
    pub(crate) fn new(
        asked: Option<SslMode>,
        driver: DriverSslMode,
        negotiation: SslNegotiation,
        roots: Roots,
    ) -> Result<Self> {
        let mode = effective_mode(asked, driver, !roots.is_empty());
        if mode == SslMode::Disable {
            return Ok(Self { mode, connect: None, may_send_cleartext: true });
        }
        let verification = Verification::of(mode, !roots.is_empty())?;
        let mut config = client_config(verification, roots)?;
        if negotiation == SslNegotiation::Direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        let may_send_cleartext = asked == Some(SslMode::Prefer);
        Ok(Self { mode, connect: Some(MakeRustlsConnect::new(config)), may_send_cleartext })
    }

    /// The mode for the driver's configuration.
    pub(crate) fn driver_mode(&self) -> DriverSslMode {
        match self.mode {
            SslMode::Disable => DriverSslMode::Disable,
            SslMode::Prefer => DriverSslMode::Prefer,
            _ => DriverSslMode::Require,
        }
    }

    /// The mode in force.
    pub(crate) fn mode(&self) -> SslMode {
        self.mode
    }

    /// Whether the password may be sent as it is over a connection without TLS: only when the user asked for a mode
    /// that allows such connections.
    pub(crate) fn may_send_cleartext(&self) -> bool {
        self.may_send_cleartext
    }

    /// The handshake with the server called `name`, whatever address was dialled; `None` without TLS.
    pub(crate) fn handshake(&self, name: &str) -> Option<Handshake> {
        let mut connect = self.connect.clone()?;
        match MakeTlsConnect::<Socket>::make_tls_connect(&mut connect, name) {
            Ok(handshake) => Some(handshake),
            Err(never) => match never {},
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_follows_the_user_then_the_certificates_then_the_driver() {
        use DriverSslMode as Driver;
        for (asked, driver, has_roots, expected) in [
            (None, Driver::Prefer, false, SslMode::Prefer),
            (None, Driver::Prefer, true, SslMode::VerifyFull),
            (None, Driver::Require, false, SslMode::Require),
            (None, Driver::Require, true, SslMode::VerifyFull),
            (None, Driver::Disable, true, SslMode::Disable),
            (Some(SslMode::Prefer), Driver::Require, true, SslMode::Prefer),
            (Some(SslMode::Disable), Driver::Require, true, SslMode::Disable),
            (Some(SslMode::VerifyCa), Driver::Disable, false, SslMode::VerifyCa),
        ] {
            assert_eq!(
                effective_mode(asked, driver, has_roots),
                expected,
                "{asked:?} {driver:?} {has_roots}"
            );
        }
    }

    #[test]
    fn verifying_without_root_certificates_names_the_parameter() {
        for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
            let error =
                Tls::new(Some(mode), DriverSslMode::Prefer, SslNegotiation::Postgres, Roots::default());
            assert!(error.unwrap_err().to_string().contains("ssl_root_cert"));
        }
    }

    #[test]
    fn only_an_explicit_choice_lets_the_password_out_in_the_clear() {
        for (asked, allowed) in [(None, false), (Some(SslMode::Prefer), true), (Some(SslMode::Disable), true)]
        {
            let tls =
                Tls::new(asked, DriverSslMode::Prefer, SslNegotiation::Postgres, Roots::default()).unwrap();
            assert_eq!(tls.may_send_cleartext(), allowed, "{asked:?}");
        }
    }
}
