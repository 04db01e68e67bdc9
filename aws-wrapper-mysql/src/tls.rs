//! TLS as the driver does it: rustls, with the process's provider.

use std::fmt;
use std::path::Path;

use aws_wrapper_core::Error;
use aws_wrapper_core::driver::SslMode;
use aws_wrapper_core::error::Result;
use mysql_async::{Opts, OptsBuilder, SslOpts};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Certificates of the authorities to trust, in PEM form.
#[derive(Clone, Default)]
pub(crate) struct Roots(Vec<Vec<u8>>);

impl Roots {
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<()> {
        let wrong = |why: String| {
            let accepted = "a file with certificates in PEM form";
            Error::parameter("ssl_root_cert", &path.display().to_string(), accepted).with_source(why)
        };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        self.add_pem(&pem).map_err(|error| wrong(error.to_string()))
    }

    pub(crate) fn add_pem(&mut self, pem: &[u8]) -> Result<()> {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            certificate.map_err(|error| {
                Error::config("the root certificates are not in PEM form").with_source(error)
            })?;
            count += 1;
        }
        if count == 0 {
            return Err(Error::config("there is no certificate in the text given as root certificates"));
        }
        self.0.push(pem.to_vec());
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How connections are encrypted; the same for every host.
#[derive(Clone)]
pub(crate) struct Tls {
    mode: SslMode,
    /// The user said that a connection may be in the clear.
    may_send_cleartext: bool,
}

impl Tls {
    /// `asked` is what the user said, `opts` the driver's configuration, `is_rds` whether a host is RDS's. Returns the
    /// configuration with TLS as it is to be.
    ///
    /// # Errors
    /// `Config` when certificates are to be verified and there are no root certificates.
    pub(crate) fn new(
        asked: Option<SslMode>,
        opts: Opts,
        roots: Roots,
        is_rds: bool,
    ) -> Result<(Self, Opts)> {
        let given = opts.ssl_opts().cloned();
        let mode = match (asked, &given) {
            (Some(asked), _) => asked,
            (None, _) if !roots.is_empty() => SslMode::VerifyFull,
            (None, Some(given)) => mode_of(given),
            (None, None) if is_rds => SslMode::Prefer,
            (None, None) => SslMode::Disable,
        };
        let tls =
            Self { mode, may_send_cleartext: matches!(asked, Some(SslMode::Disable | SslMode::Prefer)) };
        let builder = OptsBuilder::from_opts(opts);
        if mode == SslMode::Disable {
            return Ok((tls.clone(), tls.without(builder).into()));
        }
        provide();
        // The driver's own options stay as they are unless something else was asked for.
        let wanted = match given {
            Some(given) if asked.is_none() && roots.is_empty() => given,
            given => options(mode, roots, given.unwrap_or_default())?,
        };
        Ok((tls, builder.ssl_opts(wanted).into()))
    }

    /// Whether the server's certificate is checked at all.
    pub(crate) fn verifies(&self) -> bool {
        matches!(self.mode, SslMode::VerifyCa | SslMode::VerifyFull)
    }

    /// Whether a server that cannot encrypt will do.
    pub(crate) fn may_do_without(&self) -> bool {
        self.mode == SslMode::Prefer
    }

    /// The options of a connection that is not encrypted. A password does not go over it as it is, unless the user said
    /// that connections may be in the clear.
    pub(crate) fn without(&self, builder: OptsBuilder) -> OptsBuilder {
        let builder = builder.ssl_opts(None);
        if self.may_send_cleartext { builder } else { builder.enable_cleartext_plugin(false) }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).finish_non_exhaustive()
    }
}

fn mode_of(given: &SslOpts) -> SslMode {
    match (given.accept_invalid_certs(), given.skip_domain_validation()) {
        (true, _) => SslMode::Require,
        (false, true) => SslMode::VerifyCa,
        (false, false) => SslMode::VerifyFull,
    }
}

fn options(mode: SslMode, roots: Roots, given: SslOpts) -> Result<SslOpts> {
    if mode == SslMode::VerifyCa {
        let accepted = "`verify-full`, or `require` without root certificates: this driver cannot check a certificate \
                        without the name in it";
        return Err(Error::parameter("sslmode", mode.code(), accepted));
    }
    let has_roots = !roots.is_empty() || !given.root_certs().is_empty();
    let verifies = match mode {
        SslMode::VerifyFull => true,
        // As libpq does: who gives root certificates wants them used.
        SslMode::Require => has_roots,
        _ => false,
    };
    if !verifies {
        return Ok(given.with_danger_accept_invalid_certs(true));
    }
    if !has_roots {
        return Err(Error::config(format!(
            "`sslmode` is `{}`, but there are no root certificates to verify with; set the parameter `ssl_root_cert` to a \
             file of them (for RDS: the bundle AWS publishes)",
            mode.code(),
        )));
    }
    let given = given.with_danger_accept_invalid_certs(false).with_danger_skip_domain_validation(false);
    if roots.is_empty() {
        return Ok(given);
    }
    let roots = roots.0.into_iter().map(Into::into).collect();
    Ok(given.with_root_certs(roots).with_disable_built_in_roots(true))
}

/// The driver takes the process's provider of cryptography and cannot be given another one. Where there is none it
/// would choose by what happens to be compiled in, and panic if that is not one: so one is installed, and none replaced.
fn provide() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may be quicker; then theirs is used.
        let _ = ring::default_provider().install_default();
    }
}
