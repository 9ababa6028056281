//! The URL where an issuer publishes its keys.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::Uri;
use rustls::ClientConfig;

/// The longest URL, in bytes.
const BYTES_MAX: usize = 2048;

/// A JWKS URL. Displayed without its query, which may contain a secret.
#[derive(Clone)]
pub struct JwksUrl {
    pub uri: Uri,
    /// None: `http`.
    pub tls: Option<Arc<ClientConfig>>,
}

impl JwksUrl {
    pub const ALLOWED: &str = "an address such as https://issuer/.well-known/jwks.json, without a \
        user and without a fragment";

    /// The URI, and whether it is `https`; None: it is not [`JwksUrl::ALLOWED`].
    pub fn parse(text: &str) -> Option<(Uri, bool)> {
        if text.len() > BYTES_MAX || text.contains('#') {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty();
        is_plain.then_some((uri, is_https))
    }

    /// Without the query.
    pub fn shown(uri: &Uri) -> String {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
    }

    /// The host in the form a resolver accepts.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether the keys are fetched without TLS from another host, so that an attacker on the way could replace them.
    pub fn is_exposed(&self) -> bool {
        let is_local = |ip: IpAddr| ip.to_canonical().is_loopback();
        let host = self.host();
        self.tls.is_none() && host != "localhost" && !host.parse().is_ok_and(is_local)
    }

    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 })
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::shown(&self.uri))
    }
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
