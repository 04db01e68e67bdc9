//! TLS for `mysql_async`: which mode applies, and the driver's options. The driver makes the configuration of rustls itself
//! and encrypts with the process's default provider.

use std::fmt;

use aws_wrapper_core::Error;
use aws_wrapper_core::driver::SslMode;
use aws_wrapper_core::error::Result;
use aws_wrapper_tls::{Roots, Verification, install_provider};
use mysql_async::{Opts, OptsBuilder, SslOpts};

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
        // The driver cannot be given one.
        install_provider();
        // The driver's own options stay as they are unless something else was asked for.
        let wanted = match given {
            Some(given) if asked.is_none() && roots.is_empty() => given,
            given => options(mode, roots, given.unwrap_or_default())?,
        };
        Ok((tls, builder.ssl_opts(wanted).into()))
    }

    /// The mode in force.
    pub(crate) fn mode(&self) -> SslMode {
        self.mode
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
    match Verification::of(mode, has_roots)? {
        Verification::None => return Ok(given.with_danger_accept_invalid_certs(true)),
        // The driver cannot verify one without the other.
        Verification::Chain | Verification::ChainAndName => {}
    }
    let given = given.with_danger_accept_invalid_certs(false).with_danger_skip_domain_validation(false);
    if roots.is_empty() {
        return Ok(given);
    }
    let roots = roots.into_pem().into_iter().map(Into::into).collect();
    Ok(given.with_root_certs(roots).with_disable_built_in_roots(true))
}

#[cfg(test)]
mod tests {
    use aws_wrapper_core::error::ErrorKind;

    use super::*;

    fn options_of(asked: Option<SslMode>, given: Option<SslOpts>, is_rds: bool) -> Result<Option<SslOpts>> {
        let opts = OptsBuilder::default().ssl_opts(given).into();
        Tls::new(asked, opts, Roots::default(), is_rds).map(|(_, opts)| opts.ssl_opts().cloned())
    }

    #[test]
    fn without_a_word_only_rds_is_encrypted_and_nothing_is_checked() {
        assert!(options_of(None, None, false).unwrap().is_none());
        assert!(options_of(None, None, true).unwrap().unwrap().accept_invalid_certs());
        assert!(options_of(Some(SslMode::Disable), Some(SslOpts::default()), true).unwrap().is_none());
    }

    #[test]
    fn certificates_of_the_drivers_options_are_used_to_verify() {
        let given = SslOpts::default().with_root_certs(vec![b"der".to_vec().into()]);
        for mode in [SslMode::Require, SslMode::VerifyFull] {
            let options = options_of(Some(mode), Some(given.clone()), false).unwrap().unwrap();
            assert!(!options.accept_invalid_certs() && !options.skip_domain_validation(), "{mode:?}");
        }
    }

    #[test]
    fn what_the_driver_cannot_do_is_refused_by_the_name_of_the_parameter() {
        for (mode, named) in [(SslMode::VerifyFull, "ssl_root_cert"), (SslMode::VerifyCa, "sslmode")] {
            let error = options_of(Some(mode), None, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
