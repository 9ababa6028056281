//! Certificates in PEM, and explanations of invalid PEM.

use std::io;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error, PemObject};

/// The certificates of a PEM text, as trusted authorities.
pub fn roots(pem: &[u8]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate
            .map_err(|error| io::Error::other(format!("is not valid PEM: {}", unsound(&error))))?;
        roots.add(certificate).map_err(|error| {
            io::Error::other(format!("contains an untrustable certificate: {error}"))
        })?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("contains no certificate in PEM"));
    }
    Ok(roots)
}

/// Why a PEM text is invalid. The error's own text quotes the line, which may be part of a key.
pub fn unsound(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "a section has no end",
        Error::IllegalSectionStart { .. } => "the first line of a section is broken",
        Error::Base64Decode(_) => "the content of a section is not base64",
        Error::NoItemsFound => "it has no section of the right kind",
        Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    }
}
