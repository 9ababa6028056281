//! Reads the tables of `[[auth.keys]]`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hyper::Uri;

use super::jwks::{Jwks, JwksUrl};
use super::source::KeySource;
use super::{Algorithm, pem};
use crate::settings::{Section, Settings};
use crate::tls;

/// The largest key file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

const DOC: &str = "The keys that verify tokens; each table has one of `secret`, `file` and `jwks`. A token with a \
    `kid` in its header is checked with the key of that `kid`, and with keys that have none; one without \
    is checked with every key of its `alg`. To rotate keys, configure the old and the new one for a \
    while.";

const EXAMPLE: &str =
    r#"[{ kid = "2026-11", alg = "HS256", secret = "32 random bytes or more, as text" }]"#;

/// One element for each table; None: the table has faults.
pub fn read(settings: &mut Settings, max: usize) -> Vec<Option<KeySource>> {
    settings.tables("auth.keys", max, EXAMPLE, DOC, table)
}

/// The values of a table.
struct KeyTable {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    secret: Option<String>,
    file: Option<String>,
    jwks: Option<(Uri, bool)>,
    ca_file: Option<String>,
}

impl KeyTable {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            kid: kid(section),
            algorithm: algorithm(section),
            secret: secret(section),
            file: path(
                section,
                "file",
                "A file with the key. For HS256 the secret, without the line end; else PEM: a public key, \
                 a certificate, or a private key, which `tidegate token` can also sign with.",
            ),
            jwks: jwks(section),
            ca_file: path(
                section,
                "ca_file",
                "For `jwks`: a PEM file with certificate authorities, trusted instead of the system's.",
            ),
        }
    }
}

fn table(section: &mut Section<'_>) -> Option<KeySource> {
    let KeyTable { kid, algorithm, secret, file, jwks, ca_file } = KeyTable::read(section);
    let way = way(section);
    let is_jwks = way == Some("jwks");
    if !is_jwks && !section.is_given("alg") {
        section.fault("alg", format!("must be given: {}", Algorithm::ALLOWED));
    }
    for (key, is_wanted) in [("kid", !is_jwks), ("ca_file", is_jwks)] {
        if !is_wanted && section.is_given(key) {
            let what = if is_jwks { "is not for jwks" } else { "is for jwks only" };
            section.fault(key, what);
        }
    }
    let kid = kid.as_deref();
    match way? {
        "secret" => of_secret(section, kid, algorithm?, &secret?),
        "file" => of_file(section, kid, algorithm?, &file?),
        _ => {
            let is_wrong = algorithm.is_none() && section.is_given("alg");
            of_jwks(section, (!is_wrong).then_some(algorithm)?, jwks?, ca_file.as_deref())
        }
    }
}

/// The key that names the source. None: there is none or several, which is a fault.
fn way(section: &mut Section<'_>) -> Option<&'static str> {
    let ways = ["secret", "file", "jwks"];
    let ways_set: Vec<_> = ways.into_iter().filter(|way| section.is_given(way)).collect();
    match ways_set.as_slice() {
        [way] => return Some(way),
        [] => section.fault("secret", "one of secret, file and jwks must be given"),
        [_, second, ..] => section.fault(second, "only one of secret, file and jwks can be given"),
    }
    None
}

fn kid(section: &mut Section<'_>) -> Option<String> {
    section.text(
        "kid",
        None,
        "1 to 255 bytes without control characters",
        |kid| {
            let fits = (1..=255).contains(&kid.len()) && !kid.chars().any(char::is_control);
            fits.then(|| kid.to_owned())
        },
        Clone::clone,
        "The key's `kid`, as in tokens' headers. Not for `jwks`, where each key has its own.",
    )
}

fn algorithm(section: &mut Section<'_>) -> Option<Algorithm> {
    section.text(
        "alg",
        None,
        Algorithm::ALLOWED,
        Algorithm::parse,
        |algorithm| algorithm.name().to_owned(),
        "The algorithm of its tokens; tokens with another `alg` are not checked with it. Required, except \
         for `jwks`, where it leaves out keys of other algorithms.",
    )
}

fn secret(section: &mut Section<'_>) -> Option<String> {
    section.parsed(
        "secret",
        None,
        "at least one byte, and not PEM",
        |text| {
            let fits = !text.is_empty() && !pem::is_pem(text.as_bytes());
            fits.then(|| text.to_owned())
        },
        |_| "***".to_owned(),
        "For HS256: the bytes of this text. At least 32 if `server.listen` is not loopback.",
    )
}

fn jwks(section: &mut Section<'_>) -> Option<(Uri, bool)> {
    section.parsed(
        "jwks",
        None,
        JwksUrl::ALLOWED,
        JwksUrl::parse,
        |(uri, _)| JwksUrl::shown(uri),
        "The URL where an issuer publishes its public keys. The node fetches them at the start, before they \
         are too old, and when a token names a key that it does not have.",
    )
}

fn path(section: &mut Section<'_>, key: &str, doc: &'static str) -> Option<String> {
    let read = |path: &str| (!path.is_empty()).then(|| path.to_owned());
    section.text(key, None, "a file's path", read, Clone::clone, doc)
}

fn of_secret(
    section: &mut Section<'_>,
    kid: Option<&str>,
    algorithm: Algorithm,
    secret: &str,
) -> Option<KeySource> {
    if algorithm != Algorithm::HS256 {
        let what = format!("is for HS256; {} takes a key in a file", algorithm.name());
        section.fault("secret", what);
        return None;
    }
    Some(KeySource::of_secret(kid, secret.as_bytes()))
}

fn of_file(
    section: &mut Section<'_>,
    kid: Option<&str>,
    algorithm: Algorithm,
    file: &str,
) -> Option<KeySource> {
    let bytes = match contents(Path::new(file)) {
        Ok(bytes) => bytes,
        Err(error) => {
            // Without the path, because an operator may have pasted the secret itself.
            section.fault("file", format!("names a file that cannot be read: {error}"));
            return None;
        }
    };
    let source = KeySource::of_file(kid, algorithm, &bytes);
    source.map_err(|error| section.fault("file", format!("the key in the file {error}"))).ok()
}

fn of_jwks(
    section: &mut Section<'_>,
    only: Option<Algorithm>,
    (uri, is_https): (Uri, bool),
    ca_file: Option<&str>,
) -> Option<KeySource> {
    if only == Some(Algorithm::HS256) {
        section.fault("alg", "is not for jwks: HS256 keys are secrets, and a JWKS is public");
        return None;
    }
    let tls = match is_https {
        false => None,
        true => match tls::client(ca_file.map(Path::new)) {
            Ok(tls) => Some(tls),
            Err(error) => {
                section.fault("ca_file", error.to_string());
                return None;
            }
        },
    };
    Some(KeySource::Jwks(Jwks { address: JwksUrl { uri, tls }, only }))
}

fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(std::io::Error::other("the file is larger than 64 KiB")),
        false => Ok(bytes),
    }
}
