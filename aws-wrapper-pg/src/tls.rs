//! TLS by rustls, with a provider of its own: what the process installed as a default does not matter.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_wrapper_core::driver::SslMode;
use aws_wrapper_core::error::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::{SslMode as DriverSslMode, SslNegotiation};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::Socket;

/// Certificates of the authorities to trust.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots(Option<RootCertStore>);

impl Roots {
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<()> {
        let wrong = |why: String| {
            Error::parameter(
                "ssl_root_cert",
                &path.display().to_string(),
                "a file with certificates in PEM form",
            )
            .with_source(why)
        };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        self.add_pem(&pem).map_err(|error| wrong(error.to_string()))
    }

    pub(crate) fn add_pem(&mut self, pem: &[u8]) -> Result<()> {
        let store = self.0.get_or_insert_with(RootCertStore::empty);
        let before = store.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| {
                Error::config("the root certificates are not in PEM form").with_source(error)
            })?;
            store
                .add(certificate)
                .map_err(|error| Error::config("a root certificate cannot be used").with_source(error))?;
        }
        if store.len() == before {
            return Err(Error::config("there is no certificate in the text given as root certificates"));
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

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
        let verification = match mode {
            SslMode::Disable => {
                return Ok(Self { mode, connect: None, may_send_cleartext: true });
            }
            SslMode::Prefer => Verification::None,
            // As libpq does: who gives root certificates wants them used.
            SslMode::Require if roots.is_empty() => Verification::None,
            SslMode::Require | SslMode::VerifyCa => Verification::Chain,
            _ => Verification::ChainAndName,
        };
        let mut config = client_config(verification, roots, mode)?;
        if negotiation == SslNegotiation::Direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        let may_send_cleartext = asked == Some(SslMode::Prefer);
        Ok(Self { mode, connect: Some(MakeRustlsConnect::new(config)), may_send_cleartext })
    }

    /// What the driver has to be told.
    pub(crate) fn driver_mode(&self) -> DriverSslMode {
        match self.mode {
            SslMode::Disable => DriverSslMode::Disable,
            SslMode::Prefer => DriverSslMode::Prefer,
            _ => DriverSslMode::Require,
        }
    }

    /// Whether the server's certificate is checked at all.
    pub(crate) fn verifies(&self) -> bool {
        matches!(self.mode, SslMode::VerifyCa | SslMode::VerifyFull)
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

/// What of a server's certificate is checked.
#[derive(Debug, Clone, Copy)]
enum Verification {
    None,
    Chain,
    ChainAndName,
}

fn client_config(verification: Verification, roots: Roots, mode: SslMode) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("TLS cannot be set up").with_source(error))?;
    let verifier: Arc<dyn ServerCertVerifier> = match verification {
        Verification::None => Arc::new(Unverified(provider)),
        Verification::Chain | Verification::ChainAndName => {
            let Some(roots) = roots.0 else {
                return Err(Error::config(format!(
                    "`sslmode` is `{}`, but there are no root certificates to verify with; set the parameter \
                     `ssl_root_cert` to a file of them (for RDS: the bundle AWS publishes)",
                    mode.code(),
                )));
            };
            let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| Error::config("the root certificates cannot be used").with_source(error))?;
            match verification {
                Verification::ChainAndName => strict,
                Verification::None | Verification::Chain => Arc::new(AnyName(strict)),
            }
        }
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Accepts any certificate: the connection is encrypted, but nobody knows to whom.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies the chain and lets every name pass (`verify-ca`).
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is the last thing the strict verifier looks at, so this error means that all else is well.
        match self.0.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
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

    #[test]
    fn text_without_certificates_is_refused() {
        assert!(Roots::default().add_pem(b"nothing here").is_err());
        let missing = Roots::default().add_file(Path::new("/nonexistent.pem")).unwrap_err();
        assert!(
            missing.to_string().contains("ssl_root_cert") && missing.to_string().contains("/nonexistent.pem")
        );
    }
}
