//! The signature of a request: over its method, path and query, which has the MD5 of the body.

use std::borrow::Cow;

use md5::{Digest, Md5};

use crate::apps::App;
use crate::protocol::ServiceRefused;

/// The most seconds between the time of a request and the node's clock.
const AGE_MAX: u64 = 600;

/// The most parameters of a query.
const PARAMETERS_MAX: usize = 32;

/// The parameters of a query, decoded and sorted.
pub struct SignedQuery<'a>(Vec<(String, Cow<'a, str>)>);

impl<'a> SignedQuery<'a> {
    pub fn read(
        query: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
    ) -> Result<Self, ServiceRefused> {
        let mut parameters = Vec::new();
        for (name, value) in query {
            if parameters.len() == PARAMETERS_MAX {
                return Err(ServiceRefused::new(
                    400,
                    format!("the query has more than {PARAMETERS_MAX} parameters"),
                ));
            }
            parameters.push((name.to_ascii_lowercase(), value));
        }
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self(parameters))
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| it == name).map(|(_, value)| &**value)
    }

    /// Checks key, time and signature. `path`: as in the request.
    pub fn check(
        &self,
        app: &App,
        method: &str,
        path: &str,
        now_seconds: u64,
    ) -> Result<(), ServiceRefused> {
        let refuse = |what: &str| Err(ServiceRefused::new(401, what));
        if self.value("auth_key") != Some(&app.key) {
            return refuse("auth_key is not the key of this app");
        }
        if self.value("auth_version") != Some("1.0") {
            return refuse("auth_version is 1.0");
        }
        let signed_at = self.value("auth_timestamp").and_then(|it| it.parse::<u64>().ok());
        if signed_at.is_none_or(|at| at.abs_diff(now_seconds) > AGE_MAX) {
            return refuse("auth_timestamp is not within 600 seconds of the server's time");
        }
        // Libraries sign the path before they encode it.
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let signature = self.value("auth_signature").unwrap_or_default();
        let is_signed = |path: &str| app.has_signed(self.text(method, path).as_bytes(), signature);
        match is_signed(path) || (decoded != path && is_signed(&decoded)) {
            true => Ok(()),
            false => refuse(
                "invalid signature: auth_signature is the HMAC-SHA256 of METHOD, path and sorted query, each on a line, by \
                 the secret of this app in hexadecimal digits",
            ),
        }
    }

    /// What is signed.
    fn text(&self, method: &str, path: &str) -> String {
        let pairs = self.0.iter().filter(|(name, _)| name != "auth_signature");
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{method}\n{path}\n{}", pairs.join("&"))
    }
}

/// Checks that the body is the one that was signed. A request without a body needs no MD5.
pub fn check_body(body_md5: Option<&str>, body: &[u8]) -> Result<(), ServiceRefused> {
    let md5 = Md5::digest(body);
    let hex: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
    match body_md5 {
        None if body.is_empty() => Ok(()),
        Some(given) if given.eq_ignore_ascii_case(&hex) => Ok(()),
        _ => Err(ServiceRefused::new(401, "body_md5 is not the MD5 of the body")),
    }
}
