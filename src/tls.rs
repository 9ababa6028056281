//! TLS with rustls: the certificate authorities that the node's own connections trust, the listeners' certificates,
//! and explanations of failed handshakes.

mod alpn;
mod files;
mod no_verification;
mod pem;
mod server;
mod trust;

use std::io;

use rustls::CertificateError;

pub use self::alpn::{ANY, HTTP_1, HTTP_2_AND_1};
pub use self::files::Files;
pub use self::no_verification::unverified_client;
pub use self::server::{Encrypted, TlsServer, speaks_http2, watch};
pub use self::trust::{Trust, client};

/// Installs the process's default crypto provider, which several crates require. May be called
/// repeatedly.
pub fn start() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// An explanation of a failed handshake for operators. None: the error's own text is better.
pub fn explanation(error: &io::Error) -> Option<String> {
    use rustls::Error;
    match error.get_ref()?.downcast_ref::<Error>()? {
        // `BadSignature` if another authority of the same name signed it.
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Some(
            "its certificate is not trusted: no authority that is trusted here signed it".into(),
        ),
        Error::InvalidCertificate(why) if is_of_an_authority(why) => {
            Some("its certificate is not trusted: it belongs to an authority (CA:TRUE)".into())
        }
        Error::InvalidCertificate(why) => Some(format!("its certificate is not trusted: {why}")),
        Error::InvalidMessage(_) => Some("it does not speak TLS on this port".into()),
        Error::AlertReceived(alert) => Some(format!("it refused the TLS handshake: {alert:?}")),
        _ => None,
    }
}

/// Whether the server presented a CA certificate. Matched by name, because the error type's crate is not a dependency.
fn is_of_an_authority(why: &CertificateError) -> bool {
    format!("{why:?}").contains("CaUsedAsEndEntity")
}
