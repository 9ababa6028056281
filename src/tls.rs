//! TLS by rustls: what a connection that this node makes trusts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Makes one provider of cryptography the process's, as several crates ask for it. Harmless when
/// done again.
pub fn start() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What a connection made by this node trusts: the system's roots and, where given, those of a PEM
/// file in their stead.
pub fn client(ca_file: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let broken = |error| io::Error::other(format!("{}: {error}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(broken)? {
                let certificate = certificate.map_err(broken)?;
                roots.add(certificate).map_err(|error| io::Error::other(error.to_string()))?;
            }
        }
        // Those that cannot be read are left out; a handshake that needed one says so.
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        return Err(io::Error::other("there is no certificate authority to trust"));
    }
    start();
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}
