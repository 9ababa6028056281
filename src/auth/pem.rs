//! Keys in PEM files (RFC 7468): public keys, certificates, and private keys, which can also sign.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::key::InvalidKey;
use super::sign::{Signer, Signing};
use super::{Algorithm, VerificationKey};

const BEGIN: &str = "-----BEGIN ";

/// Whether it looks like PEM, whatever it contains.
pub fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

/// The first key of a PEM file; for a private key, also the signer.
pub fn read(
    kid: Option<&str>,
    algorithm: Algorithm,
    bytes: &[u8],
) -> Result<(VerificationKey, Option<Signer>), InvalidKey> {
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidKey("is not in a PEM file"))?;
    let public = |der: &[u8]| Ok((VerificationKey::public(kid, algorithm, der)?, None));
    for (label, der) in sections(text) {
        let der = der.ok_or(InvalidKey("is broken: its PEM is not base64"))?;
        return match label {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => public(&der),
            "CERTIFICATE" => public(&of_certificate(der)?),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => private(kid, algorithm, &der),
            "ENCRYPTED PRIVATE KEY" => Err(InvalidKey("has a passphrase, and must have none")),
            // Such as `EC PARAMETERS`, which openssl writes before a key.
            _ => continue,
        };
    }
    Err(InvalidKey("is not there: the file has no PUBLIC KEY, CERTIFICATE or PRIVATE KEY in PEM"))
}

/// Label and content of each section; None: it is not base64.
fn sections(text: &str) -> impl Iterator<Item = (&str, Option<Vec<u8>>)> {
    text.split(BEGIN).skip(1).filter_map(|section| {
        let (label, rest) = section.split_once("-----")?;
        let (body, _) = rest.split_once("-----END ")?;
        // The headers of an encrypted key (RFC 1421) make this fail, and such keys are unusable anyway.
        let base64: String = body.split_ascii_whitespace().collect();
        Some((label, STANDARD.decode(base64).ok()))
    })
}

fn of_certificate(der: Vec<u8>) -> Result<Vec<u8>, InvalidKey> {
    let certificate = CertificateDer::from(der);
    let parsed = ParsedCertificate::try_from(&certificate);
    let parsed = parsed.map_err(|_| InvalidKey("is in a certificate that cannot be read"))?;
    Ok(parsed.subject_public_key_info().as_ref().to_vec())
}

fn private(
    kid: Option<&str>,
    algorithm: Algorithm,
    der: &[u8],
) -> Result<(VerificationKey, Option<Signer>), InvalidKey> {
    let (public, signing) = match algorithm {
        Algorithm::HS256 => {
            return Err(InvalidKey("is a private key, but HS256 requires a secret"));
        }
        Algorithm::RS256 => {
            let pair = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
            let pair = pair.map_err(|_| {
                InvalidKey("is not a private RSA key of 2048 to 8192 bits, which RS256 requires")
            })?;
            (pair.public_key().as_ref().to_vec(), Signing::Rsa(Box::new(pair)))
        }
        Algorithm::ES256 => {
            let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = EcdsaKeyPair::from_pkcs8(curve, der)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(curve, der));
            let pair =
                pair.map_err(|_| InvalidKey("is not a private P-256 key, which ES256 requires"))?;
            (pair.public_key().as_ref().to_vec(), Signing::Ec(Box::new(pair)))
        }
        Algorithm::EdDSA => {
            // openssl writes the private part alone.
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
            let pair =
                pair.map_err(|_| InvalidKey("is not a private Ed25519 key, which EdDSA requires"))?;
            (pair.public_key().as_ref().to_vec(), Signing::Ed(Box::new(pair)))
        }
    };
    let key = VerificationKey::public(kid, algorithm, &public)?;
    Ok((key, Some(Signer::new(kid, algorithm, signing))))
}
