//! A listener's TLS files: its certificate, the certificate's key, and the authorities of client certificates.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Error, ServerConfig};

use super::alpn::Alpn;
use super::pem::{roots, unsound};
use super::start;
use crate::settings::Section;

/// The most bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;

const CERT: &str = "tls.cert";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";

/// The paths, each of a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
pub struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// A fault of one of the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct TlsFileError {
    pub key: &'static str,
    pub what: String,
}

impl Files {
    /// Whether clients must present a certificate.
    pub fn ask_clients(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Reads them from a listener's section. None: it does not use TLS, or a file is not set, which is
    /// a fault.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let path = "the path of a file";
        let parse = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let show = |path: &PathBuf| path.display().to_string();
        let cert = section.text(
            CERT,
            None,
            path,
            parse,
            show,
            "A PEM file with this listener's certificate, followed by its intermediate certificates. If set, \
             all clients must use TLS. The node checks the files every 2 s, and uses changed ones for new \
             connections.",
        );
        let doc = "A PEM file with the private key of `tls.cert`, not encrypted.";
        let key = section.text(KEY, None, path, parse, show, doc);
        let client_ca = section.text(
            CLIENT_CA,
            None,
            path,
            parse,
            show,
            "A PEM file with certificate authorities. If set, clients must present a certificate that one of \
             them signed.",
        );
        match (cert, key, &client_ca) {
            (Some(cert), Some(key), _) => return Some(Self { cert, key, client_ca }),
            (Some(_), None, _) => section.fault(KEY, "is missing, but tls.cert is set"),
            (None, Some(_), _) => section.fault(CERT, "is missing, but tls.key is set"),
            (None, None, Some(_)) => {
                section.fault(CLIENT_CA, "has no effect without tls.cert and tls.key");
            }
            (None, None, None) => {}
        }
        None
    }

    pub fn contents(&self) -> Result<Contents, TlsFileError> {
        let client_ca = self.client_ca.as_deref();
        Ok(Contents {
            cert: contents(CERT, &self.cert)?,
            key: contents(KEY, &self.key)?,
            client_ca: client_ca.map(|file| contents(CLIENT_CA, file)).transpose()?,
        })
    }
}

fn contents(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let fault = |what: &dyn std::fmt::Display| TlsFileError {
        key,
        // Without the path, because an operator may have pasted the key itself.
        what: format!("names a file that cannot be read: {what}"),
    };
    let mut bytes = Vec::new();
    let reading = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| fault(&error))?;
    match reading as u64 <= FILE_BYTES_MAX {
        true => Ok(bytes),
        false => Err(fault(&"it is larger than 1 MiB")),
    }
}

impl Contents {
    /// The listener's TLS: versions 1.2 and 1.3. Fails if the certificate does not match the key.
    pub fn config(&self, alpn: Alpn) -> Result<ServerConfig, TlsFileError> {
        start();
        let builder = ServerConfig::builder();
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let fault = |error: &dyn std::fmt::Display| TlsFileError {
                    key: CLIENT_CA,
                    what: error.to_string(),
                };
                let roots = roots(pem).map_err(|error| fault(&error))?;
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| fault(&error))?)
            }
        };
        let (chain, key) = (self.chain()?, self.key()?);
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        // A resumed session is stored in the client's ticket and costs this node no memory. Tickets of another
        // configuration, which may have trusted other clients, are not accepted.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.send_tls13_tickets = 1;
        Ok(config)
    }

    /// The certificate, and its intermediates.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let fault = |what| TlsFileError { key: CERT, what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        match chain {
            Err(error) => Err(fault(format!("is not valid PEM: {}", unsound(&error)))),
            Ok(chain) if chain.is_empty() => Err(fault("contains no certificate in PEM".into())),
            Ok(chain) => Ok(chain),
        }
    }

    pub fn key(&self) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        let fault = |what: String| TlsFileError { key: KEY, what };
        if self.is_encrypted() {
            let what =
                "is encrypted, and a node cannot ask for the passphrase: store it without one";
            return Err(fault(what.into()));
        }
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => fault("contains no private key in PEM".into()),
            error => fault(format!("is not valid PEM: {}", unsound(&error))),
        })
    }

    /// Checks for PKCS #8's label, or the header of older formats.
    fn is_encrypted(&self) -> bool {
        let marks = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
        marks.iter().any(|mark| self.key.windows(mark.len()).any(|part| part == *mark))
    }
}

fn unusable(error: Error) -> TlsFileError {
    match error {
        Error::InconsistentKeys(_) => {
            TlsFileError { key: KEY, what: "is not the key to the certificate of tls.cert".into() }
        }
        Error::InvalidCertificate(error) => {
            TlsFileError { key: CERT, what: format!("contains no usable certificate: {error}") }
        }
        error => TlsFileError { key: KEY, what: format!("cannot be used: {error}") },
    }
}
