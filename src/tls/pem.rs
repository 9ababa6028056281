//! PEM texts of certificates, and what is wrong with one.

use std::io;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error, PemObject};

/// The certificates of a PEM text, each an authority that is trusted.
pub fn roots(pem: &[u8]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate
            .map_err(|error| io::Error::other(format!("is no sound PEM: {}", unsound(&error))))?;
        roots
            .add(certificate)
            .map_err(|error| io::Error::other(format!("holds what cannot be trusted: {error}")))?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("holds no certificate in PEM"));
    }
    Ok(roots)
}

/// What is wrong with a PEM text. Its own words quote the line, which may be a part of a key.
pub fn unsound(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "a section has no end",
        Error::IllegalSectionStart { .. } => "a line that begins a section is broken",
        Error::Base64Decode(_) => "what is in a section is no base64",
        Error::NoItemsFound => "it has no section of the right kind",
        Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    }
}
