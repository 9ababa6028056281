//! Who may call `/api`: with an API key, every caller that sends it; without one, services and people, but no web
//! page other than this listener's own.
//!
//! The node trusts every caller that reaches the internal listener, and a browser on its host does: any page can
//! make it send a `POST` that needs no CORS preflight, to this address or to a host name that resolves to it.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};

use crate::http::bearer;
use crate::settings::ListenAddress;

/// Browsers set it to the relation of the calling page; no page can change it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const IS_A_PAGE: &str = "web pages may not call this, except this listener's own by an IP address or localhost: set \
    internal.api_key, and send it";
const IS_ANOTHER_HOST: &str =
    "Host must be an IP address or localhost here: set internal.api_key, and send it";

/// Whether the request has the key. Compares in constant time.
pub fn has_key(headers: &HeaderMap, key: &str) -> bool {
    let given = bearer(headers).unwrap_or_default();
    let differing = given.iter().zip(key.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == key.len() && differing == 0
}

/// Checks a request without a key. Fails with the reason why the listener refuses it.
pub fn check(headers: &HeaderMap, listen: ListenAddress) -> Result<(), &'static str> {
    // `none`: a user typed the address.
    let is_own = |site: &HeaderValue| site == "none" || site == "same-origin";
    let is_foreign = headers.contains_key(ORIGIN) && !is_own_page(headers);
    if is_foreign || !headers.get_all(SEC_FETCH_SITE).iter().all(is_own) {
        return Err(IS_A_PAGE);
    }
    // Beyond loopback, services call it by name.
    let is_local = !listen.ip().is_loopback() || headers.get_all(HOST).iter().all(names_no_other);
    is_local.then_some(()).ok_or(IS_ANOTHER_HOST)
}

/// Whether the calling page came from this listener by an address or as localhost. A page of any other name may be
/// an attacker's, whose name resolves to this listener's address.
fn is_own_page(headers: &HeaderMap) -> bool {
    let (mut origins, mut hosts) = (headers.get_all(ORIGIN).iter(), headers.get_all(HOST).iter());
    let (Some(origin), None, Some(host), None) =
        (origins.next(), origins.next(), hosts.next(), hosts.next())
    else {
        return false;
    };
    let origin = origin.as_bytes();
    let of_page = origin.strip_prefix(b"http://").or(origin.strip_prefix(b"https://"));
    of_page == Some(host.as_bytes()) && names_no_other(host)
}

/// Whether the host is an address or localhost, which no attacker's host name is.
fn names_no_other(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::AUTHORIZATION;

    use super::*;

    const LOOPBACK: &str = "127.0.0.1:9090";

    fn answered(listen: &str, headers: &[(HeaderName, &'static str)]) -> Result<(), &'static str> {
        let headers = headers.iter().cloned();
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        check(&headers.collect(), listen.parse().unwrap())
    }

    #[test]
    fn only_the_exact_api_key_is_accepted() {
        let headers = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        let key = "0123456789abcdef";
        assert!(has_key(&headers("Bearer 0123456789abcdef"), key));
        for wrong in [
            "",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
            "0123456789abcdef",
        ] {
            assert!(!has_key(&headers(wrong), key), "{wrong}");
        }
        assert!(!has_key(&HeaderMap::new(), key));
    }

    #[test]
    fn web_pages_of_every_origin_are_refused_without_an_api_key() {
        for listen in [LOOPBACK, "0.0.0.0:9090"] {
            for headers in [
                [(ORIGIN, "https://elsewhere.example")],
                [(ORIGIN, "null")],
                [(SEC_FETCH_SITE, "cross-site")],
                [(SEC_FETCH_SITE, "same-site")],
            ] {
                assert_eq!(answered(listen, &headers), Err(IS_A_PAGE), "{headers:?}");
            }
            assert_eq!(answered(listen, &[(SEC_FETCH_SITE, "none")]), Ok(()));
            assert_eq!(answered(listen, &[]), Ok(()));
        }
    }

    #[test]
    fn without_an_api_key_only_the_own_page_by_an_address_or_localhost_is_accepted() {
        for listen in [LOOPBACK, "0.0.0.0:9090"] {
            for (host, origin, expected) in [
                ("127.0.0.1:9090", "http://127.0.0.1:9090", Ok(())),
                ("10.0.0.1:9090", "https://10.0.0.1:9090", Ok(())),
                ("localhost:9090", "http://localhost:9090", Ok(())),
                ("[::1]:9090", "http://[::1]:9090", Ok(())),
                ("rebound.example:9090", "http://rebound.example:9090", Err(IS_A_PAGE)),
                ("127.0.0.1:9090", "http://127.0.0.1:8080", Err(IS_A_PAGE)),
                ("127.0.0.1:9090", "http://localhost:9090", Err(IS_A_PAGE)),
                ("127.0.0.1:9090", "127.0.0.1:9090", Err(IS_A_PAGE)),
                ("127.0.0.1:9090", "null", Err(IS_A_PAGE)),
            ] {
                let headers = [(HOST, host), (ORIGIN, origin)];
                assert_eq!(answered(listen, &headers), expected, "{headers:?}");
            }
            let twice = "http://127.0.0.1:9090";
            let mut headers =
                HeaderMap::from_iter([(HOST, HeaderValue::from_static("127.0.0.1:9090"))]);
            headers.append(ORIGIN, HeaderValue::from_static(twice));
            headers.append(ORIGIN, HeaderValue::from_static(twice));
            assert_eq!(check(&headers, listen.parse().unwrap()), Err(IS_A_PAGE));
        }
    }

    #[test]
    fn on_loopback_foreign_host_names_are_refused() {
        for host in ["127.0.0.1:9090", "127.0.0.1", "localhost:9090", "LOCALHOST", "[::1]:9090"] {
            assert_eq!(answered(LOOPBACK, &[(HOST, host)]), Ok(()), "{host}");
        }
        for host in ["rebound.example:9090", "localhost.example", "127.0.0.1.example", "", "[::1"] {
            assert_eq!(answered(LOOPBACK, &[(HOST, host)]), Err(IS_ANOTHER_HOST), "{host}");
            assert_eq!(answered("[::1]:1", &[(HOST, host)]), Err(IS_ANOTHER_HOST), "{host}");
            assert_eq!(answered("10.0.0.1:9090", &[(HOST, host)]), Ok(()), "{host}");
        }
    }
}
