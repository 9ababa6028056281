//! TLS by rustls: whom a connection that this node makes trusts, what its listeners show, and what a
//! failed handshake means.

mod files;
mod no_verification;
mod pem;
mod server;
mod trust;

use std::io;

use rustls::CertificateError;

pub use self::files::Files;
pub use self::no_verification::anybody;
pub use self::server::{Encrypted, TlsServer, watch};
pub use self::trust::{Trust, client};

/// Makes one provider of cryptography the process's, as several crates ask for it. Harmless when
/// done again.
pub fn start() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A failed handshake in words for an operator. None: the error has better words itself.
pub fn explanation(error: &io::Error) -> Option<String> {
    use rustls::Error;
    match error.get_ref()?.downcast_ref::<Error>()? {
        // The latter where another authority of the same name signed it.
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Some(
            "its certificate is not trusted: no authority that is trusted here signed it".into(),
        ),
        Error::InvalidCertificate(why) if is_of_an_authority(why) => {
            Some("its certificate is not trusted: it is one of an authority (CA:TRUE)".into())
        }
        Error::InvalidCertificate(why) => Some(format!("its certificate is not trusted: {why}")),
        Error::InvalidMessage(_) => Some("it does not speak TLS on this port".into()),
        Error::AlertReceived(alert) => Some(format!("it refused the TLS handshake: {alert:?}")),
        _ => None,
    }
}

/// Was a certificate shown that may only sign others? The crate that finds this is not ours to name.
fn is_of_an_authority(why: &CertificateError) -> bool {
    format!("{why:?}").contains("CaUsedAsEndEntity")
}
