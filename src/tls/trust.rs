//! The certificate authorities that the node's own connections trust.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::pem::roots;
use super::start;

/// The certificate authorities that a connection made by this node trusts.
#[derive(Clone, Debug)]
pub struct Trust {
    pub config: Arc<ClientConfig>,
}

impl Trust {
    /// The system's authorities or, if given, those of a PEM file instead.
    ///
    /// The error does not name the file: the caller knows its key, and the configured path may be something else,
    /// such as a secret.
    pub fn read(ca_file: Option<&Path>) -> io::Result<Self> {
        start();
        let roots = match ca_file {
            Some(file) => {
                let unreadable = |error| io::Error::other(format!("cannot be read: {error}"));
                let pem = std::fs::read(file).map_err(unreadable)?;
                roots(&pem)?
            }
            None => system_roots()?,
        };
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { config: Arc::new(config) })
    }
}

/// The same, as a client configuration.
pub fn client(ca_file: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    Ok(Trust::read(ca_file)?.config)
}

fn system_roots() -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Unreadable certificates are skipped; a handshake that needs one then fails with an explanation.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(io::Error::other("the system has no certificate authority to trust"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()
    }

    fn read(contents: &[u8]) -> Result<Trust, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, contents).unwrap();
        Trust::read(Some(&file)).map_err(|error| error.to_string())
    }

    #[test]
    fn certificate_authorities_are_read_from_a_file() {
        let pem = [certificate(), certificate()].concat();
        assert!(read(pem.as_bytes()).is_ok());
    }

    #[test]
    fn a_fault_of_a_ca_file_is_reported_without_quoting_it() {
        for (contents, what) in [
            (b"".as_slice(), "no certificate"),
            (b"\xff\x00", "no certificate"),
            (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "not valid PEM"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "untrustable certificate",
            ),
        ] {
            let error = read(contents).unwrap_err();
            assert!(error.contains(what) && !error.contains("ca.pem"), "{error}");
        }
        let error = Trust::read(Some(Path::new("/nowhere/ca.pem"))).unwrap_err().to_string();
        assert!(error.contains("No such file") && !error.contains("nowhere"), "{error}");
    }
}
