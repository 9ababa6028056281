//! Which web pages may connect. A browser sends the page's origin and cannot be made to lie, so
//! this is what keeps other people's pages out.

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// The pages of other hosts that may connect.
#[derive(Clone, Debug)]
pub struct Origins(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    /// `host`, `host:port` or `scheme://host:port`, in lower case.
    Exact(String),
    /// `.example.com`, of `*.example.com`.
    Below(String),
}

/// May this stand in `server.origins`?
pub fn is_pattern(text: &str) -> bool {
    text == "*" || {
        let host = text.strip_prefix("*.").unwrap_or(text);
        let host = host.split_once("://").map_or(host, |(_, host)| host);
        !host.is_empty()
            && !host.contains(['*', '/', '?', '#', '@'])
            && !host.contains(char::is_whitespace)
    }
}

impl Origins {
    pub fn new(patterns: &[String]) -> Self {
        let pattern = |text: &String| match (text.as_str(), text.strip_prefix('*')) {
            ("*", _) => Pattern::Any,
            (_, Some(below)) => Pattern::Below(below.to_lowercase()),
            (_, None) => Pattern::Exact(text.to_lowercase()),
        };
        Self(patterns.iter().map(pattern).collect())
    }

    /// May a request with these headers connect? Without an `Origin` it is from no page.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        if self.0.contains(&Pattern::Any) {
            return true;
        }
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_lowercase();
        let Some((_, authority)) = origin.split_once("://") else { return false };
        let own = headers.get(HOST).and_then(|own| own.to_str().ok()).map(str::to_lowercase);
        own.is_some_and(|own| host(&own) == host(authority))
            || self.0.iter().any(|pattern| match pattern {
                Pattern::Any => true,
                Pattern::Exact(exact) => {
                    *exact == origin || exact == authority || exact == host(authority)
                }
                Pattern::Below(below) => host(authority).ends_with(below.as_str()),
            })
    }
}

/// The host of `host:port`; an IPv6 address keeps its brackets.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str], origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "chat.example.com:8080".parse().unwrap());
        headers.insert(ORIGIN, origin.parse().unwrap());
        let origins: Vec<String> = origins.iter().map(|it| (*it).to_owned()).collect();
        Origins::new(&origins).allow(&headers)
    }

    #[test]
    fn the_same_host_may_connect_and_others_only_when_listed() {
        assert!(allowed(&[], "https://chat.example.com"));
        assert!(allowed(&[], "http://CHAT.example.com:3000"));
        for other in
            ["https://example.com", "https://evil.com", "null", "https://chat.example.com.evil.com"]
        {
            assert!(!allowed(&[], other), "{other}");
        }
        assert!(allowed(&["evil.com"], "https://evil.com"));
        assert!(allowed(&["https://app.com:8443"], "https://app.com:8443"));
        assert!(!allowed(&["https://app.com:8443"], "http://app.com:8443"));
        assert!(allowed(&["*.app.com"], "https://a.b.app.com"));
        assert!(!allowed(&["*.app.com"], "https://app.com"));
        assert!(!allowed(&["*.app.com"], "https://evilapp.com"));
        assert!(allowed(&["*"], "null"));
    }

    #[test]
    fn a_request_of_no_page_is_not_asked() {
        assert!(Origins::new(&[]).allow(&HeaderMap::new()));
    }

    #[test]
    fn patterns_are_hosts() {
        for good in ["*", "example.com", "*.example.com", "https://example.com:8443", "[::1]:80"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "*.", "exa mple.com", "https://example.com/path", "a*b"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
