//! Which web pages may connect. A browser sends the page's origin and a page cannot forge it, so this check
//! keeps pages of other sites out.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};

/// The host that the client requested from a proxy, if the proxy requests another one from the node.
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The pages of other hosts that may connect.
#[derive(Clone, Debug)]
pub struct Origins(Vec<OriginPattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginPattern {
    Any,
    Page {
        /// None: any scheme.
        scheme: Option<String>,
        host: Host,
        /// None: any port, or the scheme's default port if there is a scheme.
        port: Option<u16>,
    },
}

/// Characters that no host name has. Brackets stand around an IPv6 address only.
const NOT_IN_HOSTS: [char; 13] =
    ['*', '/', '?', '#', '@', ':', '[', ']', '"', '\'', '`', '\\', ','];

/// A host in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Exact(String),
    /// The suffix `.example.com`, for `*.example.com`.
    Suffix(String),
}

/// Whether the text is allowed in `server.origins`.
pub fn is_pattern(text: &str) -> bool {
    text.parse::<OriginPattern>().is_ok()
}

impl Origins {
    /// From texts that [`is_pattern`] accepts; others are ignored.
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// Whether every page may connect.
    pub fn allow_any(&self) -> bool {
        self.0.contains(&OriginPattern::Any)
    }

    /// Whether a request with these headers may connect. A request without `Origin` does not come from a
    /// page.
    pub fn allow(&self, headers: &HeaderMap, request_path: RequestPath) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        if self.allow_any() {
            return true;
        }
        let Some(origin) = lower_case(origin) else { return false };
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let (host, port) = host_and_port(authority);
        let page = PageOrigin { scheme, host, port };
        let is_requested = |name| {
            let hosts = headers.get(name).and_then(lower_case).unwrap_or_default();
            let first = hosts.split(',').next().unwrap_or_default().trim();
            !first.is_empty()
                && page.is_of(first, request_path.is_tls && !request_path.through_proxy)
        };
        let is_own = match request_path.on_loopback && !request_path.through_proxy {
            // Any domain can resolve to a loopback address, so of names only loopback ones count.
            true => is_loopback(host) || (is_address(host) && is_requested(HOST)),
            false => {
                is_requested(HOST) || (request_path.through_proxy && is_requested(FORWARDED_HOST))
            }
        };
        is_own || self.0.iter().any(|pattern| pattern.matches(scheme, host, port))
    }

    /// The same for a request that a page may send without `Origin`, as browsers do when a page reads from
    /// its own host. Any domain can resolve to a loopback address, so on a loopback listener a host name that
    /// is neither a loopback name nor listed counts as another site's.
    pub fn allow_reading(&self, headers: &HeaderMap, request_path: RequestPath) -> bool {
        if headers.contains_key(ORIGIN) || !request_path.on_loopback || request_path.through_proxy {
            return self.allow(headers, request_path);
        }
        let requested = headers.get(HOST).and_then(lower_case).unwrap_or_default();
        let (host, port) = host_and_port(&requested);
        let scheme = if request_path.is_tls { "https" } else { "http" };
        host.is_empty()
            || is_loopback(host)
            || is_address(host)
            || self.0.iter().any(|pattern| pattern.matches(scheme, host, port))
    }
}

/// How a request reached the node.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestPath {
    /// Through a trusted proxy, from which the client may have requested another host.
    pub through_proxy: bool,
    /// To a listener that only this host can reach.
    pub on_loopback: bool,
    /// Over TLS that this node terminates.
    pub is_tls: bool,
}

/// The origin of a page.
struct PageOrigin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl PageOrigin<'_> {
    /// Whether the page has the same host and port as the request. A request without a port uses the default
    /// port of its scheme, which only `is_tls` proves: a proxy may terminate TLS for the node.
    fn is_of(&self, requested: &str, is_tls: bool) -> bool {
        let (host, port) = host_and_port(requested);
        let own = default_port(self.scheme);
        let requested_port = port.or(if is_tls { default_port("https") } else { own });
        host == self.host && requested_port == self.port.or(own)
    }
}

/// Whether the host is a loopback address or a name that only resolves to one.
fn is_loopback(host: &str) -> bool {
    let is_name = host == "localhost" || host.ends_with(".localhost");
    is_name || address(host).is_some_and(|it| it.to_canonical().is_loopback())
}

/// Whether the host is an IP address, so that no other site's name can have resolved to it.
fn is_address(host: &str) -> bool {
    address(host).is_some()
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

impl OriginPattern {
    fn matches(&self, of_scheme: &str, of_host: &str, of_port: Option<u16>) -> bool {
        let Self::Page { scheme, host, port } = self else { return true };
        let is_host = match host {
            Host::Exact(exact) => exact == of_host,
            Host::Suffix(below) => of_host.ends_with(below.as_str()),
        };
        // Browsers omit the scheme's default port; a pattern may contain it.
        let own_port = default_port(of_scheme);
        let is_port = match (scheme, port) {
            (None, None) => true,
            (_, port) => port.or(own_port) == of_port.or(own_port),
        };
        is_host && is_port && scheme.as_ref().is_none_or(|scheme| scheme == of_scheme)
    }
}

impl FromStr for OriginPattern {
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
        let is_name =
            !name.is_empty() && !name.contains(NOT_IN_HOSTS) && !name.contains(char::is_whitespace);
        let is_host = is_name || (host.starts_with('[') && is_address(host));
        if !is_host || scheme.as_ref().is_some_and(String::is_empty) {
            return Err(());
        }
        let host = match host.strip_prefix('*') {
            Some(below) => Host::Suffix(below.to_owned()),
            None => Host::Exact(host.to_owned()),
        };
        Ok(Self::Page { scheme, host, port })
    }
}

fn lower_case(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_lowercase)
}

/// Splits `host:port` or `host`. An IPv6 address keeps its brackets.
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

    fn allowed_through(
        origins: &[&str],
        origin: &str,
        forwarded: &str,
        through_proxy: bool,
    ) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "chat.example.com:8080".parse().unwrap());
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(FORWARDED_HOST, forwarded.parse().unwrap());
        let origins: Vec<String> = origins.iter().map(|it| (*it).to_owned()).collect();
        Origins::new(&origins)
            .allow(&headers, RequestPath { through_proxy, ..RequestPath::default() })
    }

    fn allowed(origins: &[&str], origin: &str) -> bool {
        allowed_through(origins, origin, "", true)
    }

    fn is_own(host: &str, origin: &str, request_path: RequestPath) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        headers.insert(ORIGIN, origin.parse().unwrap());
        Origins::new(&[]).allow(&headers, request_path)
    }

    #[test]
    fn a_page_on_another_port_counts_as_another_host() {
        let (plain, tls) =
            (RequestPath::default(), RequestPath { is_tls: true, ..RequestPath::default() });
        let proxy = RequestPath { through_proxy: true, ..tls };
        for (host, origin, request_path, allowed) in [
            // A proxy may terminate TLS for the node, which cannot know.
            ("example.com", "https://example.com", plain, true),
            ("example.com", "http://example.com", plain, true),
            ("example.com:443", "https://example.com", plain, true),
            ("example.com:80", "https://example.com", plain, false),
            ("example.com", "https://example.com:8443", plain, false),
            ("example.com", "https://example.com:443", plain, true),
            ("example.com:8443", "https://example.com:8443", plain, true),
            ("example.com:8080", "http://example.com:3000", plain, false),
            ("example.com:8080", "http://example.com", plain, false),
            ("EXAMPLE.com", "https://example.COM", plain, true),
            ("[2001:db8::1]:80", "http://[2001:db8::1]", plain, true),
            // If the node terminates TLS itself, the default port is 443.
            ("example.com", "https://example.com", tls, true),
            ("example.com", "http://example.com", tls, false),
            ("example.com", "http://example.com", proxy, true),
            ("example.com", "app://example.com", plain, true),
        ] {
            assert_eq!(
                is_own(host, origin, request_path),
                allowed,
                "{host} {origin} {request_path:?}"
            );
        }
    }

    #[test]
    fn on_loopback_only_loopback_names_and_addresses_may_connect() {
        let local = RequestPath { on_loopback: true, ..RequestPath::default() };
        for (host, origin, allowed) in [
            ("evil.example", "http://evil.example", false),
            ("evil.example:8080", "http://evil.example:8080", false),
            ("localhost.evil.example:8080", "http://localhost.evil.example:8080", false),
            ("127.0.0.1.evil.example:8080", "http://127.0.0.1.evil.example:8080", false),
            ("127.0.0.1:8080", "http://localhost:3000", true),
            ("localhost:8080", "http://127.0.0.1:5173", true),
            ("localhost:8080", "http://app.localhost:5173", true),
            ("localhost:8080", "https://[::1]:5173", true),
            ("localhost:8080", "null", false),
            ("192.0.2.1:8080", "http://192.0.2.1:8080", true),
            ("192.0.2.1:8080", "http://192.0.2.1:3000", false),
        ] {
            assert_eq!(is_own(host, origin, local), allowed, "{host} {origin}");
        }
        // A trusted proxy on the same host has a name of its own.
        let proxy = RequestPath { through_proxy: true, ..local };
        assert!(is_own("www.example", "https://www.example", proxy));
    }

    #[test]
    fn pages_of_the_same_host_may_connect_and_others_only_if_listed() {
        assert!(allowed(&[], "https://chat.example.com:8080"));
        assert!(allowed(&[], "http://CHAT.example.com:8080"));
        for other in [
            "https://chat.example.com",
            "http://chat.example.com:3000",
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
    fn the_default_port_of_a_scheme_may_be_omitted_in_origins() {
        assert!(allowed(&["https://app.com:443"], "https://app.com"));
        assert!(allowed(&["https://app.com"], "https://app.com:443"));
        assert!(allowed(&["app.com:443"], "https://app.com"));
        assert!(!allowed(&["app.com:443"], "http://app.com"));
        assert!(!allowed(&["https://app.com"], "https://app.com:8443"));
        assert!(allowed(&["app://local"], "app://local"));
        assert!(!allowed(&["app://local"], "app://local:80"));
    }

    #[test]
    fn x_forwarded_host_counts_only_from_a_trusted_proxy() {
        let page = "https://www.example.com";
        assert!(allowed_through(&[], page, "www.example.com", true));
        assert!(allowed_through(&[], page, "WWW.example.com:443, inner", true));
        assert!(!allowed_through(&[], page, "www.example.com", false));
        assert!(!allowed_through(&[], page, "inner, www.example.com", true));
        assert!(allowed_through(&[], "https://chat.example.com:8080", "www.example.com", true));
        assert!(!allowed_through(&[], "https://www.example.com:8443", "www.example.com", true));
    }

    #[test]
    fn a_request_without_origin_may_connect() {
        assert!(Origins::new(&[]).allow(&HeaderMap::new(), RequestPath::default()));
    }

    #[test]
    fn origin_patterns_are_hosts_with_optional_scheme_and_port() {
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
        for bad in [
            "",
            "*.",
            "exa mple.com",
            "https://example.com/path",
            "a*b",
            "://a",
            ":80",
            "[\"example.com\"]",
            "'example.com'",
            "[example.com]",
            "example.com:port",
        ] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn without_origin_a_loopback_node_refuses_names_that_another_site_may_own() {
        let reads = |host: &str, origins: &[&str], on_loopback| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            let origins: Vec<String> = origins.iter().map(|it| (*it).to_owned()).collect();
            let request_path = RequestPath { on_loopback, ..RequestPath::default() };
            Origins::new(&origins).allow_reading(&headers, request_path)
        };
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "app.localhost", "10.0.0.1"]
        {
            assert!(reads(host, &[], true), "{host}");
        }
        assert!(!reads("evil.example:8080", &[], true));
        assert!(reads("evil.example:8080", &[], false));
        assert!(reads("dev.example:8080", &["dev.example"], true));
        assert!(reads("dev.example:8080", &["*"], true));
        assert!(Origins::new(&[]).allow_reading(&HeaderMap::new(), RequestPath::default()));
    }
}
