//! The configuration of rustls.

use std::sync::Arc;

use aws_wrapper_core::error::{Error, Result};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;

use crate::provider::provider;
use crate::roots::Roots;
use crate::verification::Verification;
use crate::verifier::{AnyName, Unverified};

/// A configuration that checks what `verification` says, with a provider of its own: the process default is neither used
/// nor set. `roots` are not looked at for [`Verification::None`].
///
/// # Errors
/// `Config` when the provider or the root certificates cannot be used; there must be one to verify with.
pub fn client_config(verification: Verification, roots: Roots) -> Result<ClientConfig> {
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("TLS cannot be set up").with_source(error))?;
    let strict = |provider| {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots.into_store()), provider)
            .build()
            .map_err(|error| Error::config("the root certificates cannot be used").with_source(error))
    };
    let verifier: Arc<dyn ServerCertVerifier> = match verification {
        Verification::None => Arc::new(Unverified(provider)),
        Verification::Chain => Arc::new(AnyName(strict(provider)?)),
        Verification::ChainAndName => strict(provider)?,
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}
