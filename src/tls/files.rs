//! The files of a listener's TLS: the certificate it shows, the key to it, and who may sign for its
//! clients.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Error, ServerConfig};

use super::pem::{roots, unsound};
use super::start;
use crate::settings::Section;

/// Most bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is spoken within TLS. HTTP/2 is not served: who offers nothing else is refused.
const ALPN: &[u8] = b"http/1.1";

const CERT: &str = "tls.cert";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";

/// Where they are, each in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

/// What they say.
#[derive(PartialEq, Eq)]
pub struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What is wrong with one of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct TlsFileError {
    pub key: &'static str,
    pub what: String,
}

impl Files {
    /// Must clients show a certificate?
    pub fn ask_clients(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Asks a listener's section for them. None: it speaks no TLS, or what was said is half of it,
    /// which is a fault.
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
            "The certificate that this listener shows, in PEM, and behind it those that signed it. \
             Given, all clients must speak TLS. The files are looked at every 2 s, and new \
             connections get what is new.",
        );
        let key =
            section.text(KEY, None, path, parse, show, "The key to `tls.cert`, in PEM, as it is.");
        let client_ca = section.text(
            CLIENT_CA,
            None,
            path,
            parse,
            show,
            "Given, clients must show a certificate that one of these authorities signed, in PEM.",
        );
        match (cert, key, &client_ca) {
            (Some(cert), Some(key), _) => return Some(Self { cert, key, client_ca }),
            (Some(_), None, _) => section.fault(KEY, "is missing, as tls.cert is given"),
            (None, Some(_), _) => section.fault(CERT, "is missing, as tls.key is given"),
            (None, None, Some(_)) => {
                section.fault(CLIENT_CA, "has no use without tls.cert and tls.key");
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
        // Not the path: it is no path where somebody wrote the key itself.
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
    /// What a listener does with them: TLS 1.2 and 1.3, and the certificate is the key's.
    pub fn config(&self) -> Result<ServerConfig, TlsFileError> {
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
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A session that is taken up again is in the client's ticket, and costs this node nothing. The
        // tickets of another configuration, which may have trusted others, are void.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.send_tls13_tickets = 1;
        Ok(config)
    }

    /// The certificate, and those that signed it.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let fault = |what| TlsFileError { key: CERT, what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        match chain {
            Err(error) => Err(fault(format!("is no sound PEM: {}", unsound(&error)))),
            Ok(chain) if chain.is_empty() => Err(fault("holds no certificate in PEM".into())),
            Ok(chain) => Ok(chain),
        }
    }

    pub fn key(&self) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        let fault = |what: String| TlsFileError { key: KEY, what };
        if self.is_encrypted() {
            let what = "is encrypted, and a node has nobody to ask for the passphrase: write it \
                without one";
            return Err(fault(what.into()));
        }
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => fault("holds no private key in PEM".into()),
            error => fault(format!("is no sound PEM: {}", unsound(&error))),
        })
    }

    /// By PKCS #8's label, or the header of older forms.
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
        Error::InvalidCertificate(error) => TlsFileError {
            key: CERT,
            what: format!("holds no certificate that can be used: {error}"),
        },
        error => TlsFileError { key: KEY, what: format!("cannot be used: {error}") },
    }
}
