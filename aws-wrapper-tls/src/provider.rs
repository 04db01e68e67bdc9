//! The provider of cryptography.

use rustls::crypto::{CryptoProvider, ring};

/// The provider of all configurations made here.
pub(crate) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// Makes ring the process's default provider if there is none. An existing one is kept.
///
/// For drivers that cannot be given a provider: without a default, rustls would choose by what happens to be compiled in,
/// and panic if that is not exactly one.
pub fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may be quicker; then its choice is used.
        let _ = provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_that_is_there_is_kept() {
        let mut of_application = provider();
        of_application.cipher_suites.truncate(1);
        of_application.install_default().unwrap();
        install_provider();
        assert_eq!(CryptoProvider::get_default().unwrap().cipher_suites.len(), 1);
    }
}
