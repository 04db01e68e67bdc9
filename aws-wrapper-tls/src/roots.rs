//! Root certificates, from files and from texts.

use std::fmt;
use std::path::Path;

use aws_wrapper_core::error::{Error, Result};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificate authorities to trust. Empty until one is added; no built-in roots.
#[derive(Clone)]
pub struct Roots {
    store: RootCertStore,
    /// The texts the store was filled from, for drivers that read certificates themselves.
    pem: Vec<Vec<u8>>,
}

impl Roots {
    /// Adds the certificates of a PEM file, the value of the parameter `ssl_root_cert`.
    ///
    /// # Errors
    /// `Config` naming the parameter and the file, when the file cannot be read or [`add_pem`](Self::add_pem) refuses its
    /// contents.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let refused = |why: String| {
            let accepted = "a file with certificates in PEM form";
            Error::parameter("ssl_root_cert", &path.display().to_string(), accepted).with_source(why)
        };
        let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
        self.add_pem(&pem).map_err(|error| refused(error.to_string()))
    }

    /// Adds the certificates of a text in PEM form.
    ///
    /// # Errors
    /// `Config` when the text holds no certificate, or one that cannot be read or used.
    pub fn add_pem(&mut self, pem: &[u8]) -> Result<()> {
        let before = self.store.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| {
                Error::config("the root certificates are not in PEM form").with_source(error)
            })?;
            self.store
                .add(certificate)
                .map_err(|error| Error::config("a root certificate cannot be used").with_source(error))?;
        }
        if self.store.len() == before {
            return Err(Error::config("there is no certificate in the text given as root certificates"));
        }
        self.pem.push(pem.to_vec());
        Ok(())
    }

    /// Whether no certificate has been added.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// The texts that were added, in their order.
    pub fn into_pem(self) -> Vec<Vec<u8>> {
        self.pem
    }

    pub(crate) fn into_store(self) -> RootCertStore {
        self.store
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self { store: RootCertStore::empty(), pem: Vec::new() }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("certificates", &self.store.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_certificates_is_refused() {
        assert!(Roots::default().add_pem(b"nothing here").is_err());
        let missing = Roots::default().add_file(Path::new("/nonexistent.pem")).unwrap_err();
        assert!(
            missing.to_string().contains("ssl_root_cert") && missing.to_string().contains("/nonexistent.pem")
        );
    }

    #[test]
    fn a_certificate_that_cannot_be_an_authority_is_refused_when_it_is_added() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let mut roots = Roots::default();
        let error = roots.add_pem(pem).unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
        assert!(roots.is_empty() && roots.into_pem().is_empty());
    }
}
