//! A certificate authority for a test, and the certificates that it issues.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate and its key, as files.
#[derive(Clone)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn create() -> Self {
        let mut params = named("Tidegate's tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("it is written");
        Self { issuer, directory }
    }

    /// Its own certificate.
    pub fn certificate_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for loopback.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_for(name, &["localhost", "127.0.0.1"])
    }

    pub fn issue_for(&self, name: &str, hosts: &[&str]) -> Identity {
        self.issue_into(self.directory.path(), name, hosts)
    }

    /// The same, with the files `<name>.pem` and `<name>.key` in another directory.
    pub fn issue_into(&self, directory: &Path, name: &str, hosts: &[&str]) -> Identity {
        self.sign_in(directory, name, hosts, IsCa::NoCa)
    }

    /// Issues a certificate for loopback that may itself issue others.
    pub fn issue_authority(&self, name: &str) -> Identity {
        let is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.sign_in(self.directory.path(), name, &["localhost", "127.0.0.1"], is_ca)
    }

    fn sign_in(&self, directory: &Path, name: &str, hosts: &[&str], is_ca: IsCa) -> Identity {
        let key = key();
        let mut params = named(name);
        params.is_ca = is_ca;
        params.subject_alt_names = hosts.iter().map(|host| san(host)).collect();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        let file = |ending: &str| directory.join(format!("{name}.{ending}"));
        let identity = Identity { cert: file("pem"), key: file("key") };
        std::fs::write(&identity.cert, certificate.pem()).expect("it is written");
        std::fs::write(&identity.key, key.serialize_pem()).expect("it is written");
        identity
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// An IP address if `host` is one, else a host name.
fn san(host: &str) -> rcgen::SanType {
    match host.parse() {
        Ok(ip) => rcgen::SanType::IpAddress(ip),
        Err(_) => rcgen::SanType::DnsName(host.to_owned().try_into().expect("a host's name")),
    }
}
