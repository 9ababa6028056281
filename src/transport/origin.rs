//! Which web pages may connect. A browser sends the page's origin and cannot be made to lie, so
//! this is what keeps other people's pages out.

use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};

/// The host that a proxy was asked for, where it asks the node for another.
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The pages of other hosts that may connect.
#[derive(Clone, Debug)]
pub struct Origins(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    Page {
        /// None: any.
        scheme: Option<String>,
        host: Host,
        /// None: any, or the scheme's own where there is a scheme.
        port: Option<u16>,
    },
}

/// In lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Exact(String),
    /// `.example.com`, of `*.example.com`.
    Below(String),
}

/// May this stand in `server.origins`?
pub fn is_pattern(text: &str) -> bool {
    text.parse::<Pattern>().is_ok()
}

impl Origins {
    /// Of texts that [`is_pattern`] accepts; others are left out.
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// May every page connect?
    pub fn allow_any(&self) -> bool {
        self.0.contains(&Pattern::Any)
    }

    /// May a request with these headers connect? Without an `Origin` it is from no page.
    /// `through_proxy`: a trusted one, which may have been asked for another host than the node is.
    pub fn allow(&self, headers: &HeaderMap, through_proxy: bool) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        if self.allow_any() {
            return true;
        }
        let Some(origin) = lower_case(origin) else { return false };
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let (host, port) = host_and_port(authority);
        let named = |name| {
            let hosts = headers.get(name).and_then(lower_case).unwrap_or_default();
            let first = hosts.split(',').next().unwrap_or_default().trim();
            !first.is_empty() && host_and_port(first).0 == host
        };
        named(HOST)
            || (through_proxy && named(FORWARDED_HOST))
            || self.0.iter().any(|pattern| pattern.matches(scheme, host, port))
    }
}

impl Pattern {
    fn matches(&self, of_scheme: &str, of_host: &str, of_port: Option<u16>) -> bool {
        let Self::Page { scheme, host, port } = self else { return true };
        let is_host = match host {
            Host::Exact(exact) => exact == of_host,
            Host::Below(below) => of_host.ends_with(below.as_str()),
        };
        // Browsers leave out the scheme's own port, whoever wrote the pattern may not have.
        let own_port = default_port(of_scheme);
        let is_port = match (scheme, port) {
            (None, None) => true,
            (_, port) => port.or(own_port) == of_port.or(own_port),
        };
        is_host && is_port && scheme.as_ref().is_none_or(|scheme| scheme == of_scheme)
    }
}

impl FromStr for Pattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.to_lowercase();
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = match text.split_once("://") {
            Some((scheme, authority)) => (Some(scheme.to_owned()), authority),
            None => (None, text.as_str()),
        };
        let (host, port) = host_and_port(authority);
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_name = !name.is_empty()
            && !name.contains(['*', '/', '?', '#', '@'])
            && !name.contains(char::is_whitespace);
        if !is_name || scheme.as_ref().is_some_and(String::is_empty) {
            return Err(());
        }
        let host = match host.strip_prefix('*') {
            Some(below) => Host::Below(below.to_owned()),
            None => Host::Exact(host.to_owned()),
        };
        Ok(Self::Page { scheme, host, port })
    }
}

fn lower_case(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_lowercase)
}

/// Of `host:port` or `host`; an IPv6 address keeps its brackets.
fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(origins: &[&str], origin: &str, forwarded: &str, through_proxy: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "chat.example.com:8080".parse().unwrap());
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(FORWARDED_HOST, forwarded.parse().unwrap());
        let origins: Vec<String> = origins.iter().map(|it| (*it).to_owned()).collect();
        Origins::new(&origins).allow(&headers, through_proxy)
    }

    fn allowed(origins: &[&str], origin: &str) -> bool {
        asked(origins, origin, "", true)
    }

    #[test]
    fn the_same_host_may_connect_and_others_only_when_listed() {
        assert!(allowed(&[], "https://chat.example.com"));
        assert!(allowed(&[], "http://CHAT.example.com:3000"));
        for other in [
            "https://example.com",
            "https://evil.com",
            "null",
            "https://",
            "https://chat.example.com.evil.com",
        ] {
            assert!(!allowed(&[], other), "{other}");
        }
        assert!(allowed(&["evil.com"], "https://evil.com"));
        assert!(allowed(&["evil.com"], "http://evil.com:3000"));
        assert!(allowed(&["https://app.com:8443"], "https://app.com:8443"));
        assert!(!allowed(&["https://app.com:8443"], "http://app.com:8443"));
        assert!(allowed(&["*.app.com"], "https://a.b.app.com"));
        assert!(!allowed(&["*.app.com"], "https://app.com"));
        assert!(!allowed(&["*.app.com"], "https://evilapp.com"));
        assert!(allowed(&["https://*.app.com"], "https://a.app.com"));
        assert!(!allowed(&["https://*.app.com"], "http://a.app.com"));
        assert!(allowed(&["*"], "null"));
    }

    #[test]
    fn a_scheme_s_own_port_may_be_left_out() {
        assert!(allowed(&["https://app.com:443"], "https://app.com"));
        assert!(allowed(&["https://app.com"], "https://app.com:443"));
        assert!(allowed(&["app.com:443"], "https://app.com"));
        assert!(!allowed(&["app.com:443"], "http://app.com"));
        assert!(!allowed(&["https://app.com"], "https://app.com:8443"));
        assert!(allowed(&["app://local"], "app://local"));
        assert!(!allowed(&["app://local"], "app://local:80"));
    }

    #[test]
    fn the_host_that_a_proxy_was_asked_for_counts_only_from_a_trusted_one() {
        let page = "https://www.example.com";
        assert!(asked(&[], page, "www.example.com", true));
        assert!(asked(&[], page, "WWW.example.com:443, inner", true));
        assert!(!asked(&[], page, "www.example.com", false));
        assert!(!asked(&[], page, "inner, www.example.com", true));
        assert!(asked(&[], "https://chat.example.com", "www.example.com", true));
    }

    #[test]
    fn a_request_of_no_page_is_not_asked() {
        assert!(Origins::new(&[]).allow(&HeaderMap::new(), false));
    }

    #[test]
    fn patterns_are_hosts() {
        for good in [
            "*",
            "example.com",
            "*.example.com",
            "https://example.com:8443",
            "[::1]:80",
            "https://*.example.com",
        ] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "*.", "exa mple.com", "https://example.com/path", "a*b", "://a", ":80"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
