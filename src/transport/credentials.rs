//! The token of a request: `Authorization: Bearer`, the subprotocol `bearer.<token>`, or `?token=`. Tokens
//! are never logged.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL};

use crate::http::{self, Parameter, Query};

/// The prefix of the subprotocol that carries a token. A browser can send no other credentials with an
/// upgrade.
pub const BEARER: &[u8] = b"bearer.";

/// The token of a request, from the first of the three ways that is used. None: the request has none.
///
/// A token that is not UTF-8 becomes one that no key has signed.
pub fn token<'a>(headers: &'a HeaderMap, query: Query<'a>) -> Option<Cow<'a, str>> {
    let header = http::bearer(headers).map(<[u8]>::trim_ascii);
    let bytes = header.or_else(|| of_subprotocol(headers));
    bytes
        .map(String::from_utf8_lossy)
        .or_else(|| query.first("token").map(Parameter::decoded_lossy))
}

/// The token of a request to a hub of updates: `Authorization: Bearer`, or else a parameter of the query, or else a cookie.
pub fn token_for_updates<'a>(headers: &'a HeaderMap, query: Query<'a>) -> Option<Cow<'a, str>> {
    sent_by_client(headers, query).or_else(|| of_cookie(headers))
}

/// Whether that token is one that a browser sends by itself, whichever page makes it send the request.
pub fn is_sent_by_browser(headers: &HeaderMap, query: Query<'_>) -> bool {
    sent_by_client(headers, query).is_none() && of_cookie(headers).is_some()
}

fn sent_by_client<'a>(headers: &'a HeaderMap, query: Query<'a>) -> Option<Cow<'a, str>> {
    const PARAMETERS: [&str; 3] = ["authorization", "access_token", "token"];
    let header = http::bearer(headers).map(<[u8]>::trim_ascii).map(String::from_utf8_lossy);
    let of_query = || {
        let mut given = PARAMETERS.iter().filter_map(|name| query.first(name));
        given.next().map(Parameter::decoded_lossy)
    };
    header.or_else(of_query)
}

fn of_cookie(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    const COOKIES: [&str; 2] = ["mercureAuthorization", "__Secure-mercure_access_token"];
    let mut given = COOKIES.iter().filter_map(|name| cookie(headers, name));
    given.next().map(String::from_utf8_lossy)
}

/// The value of a cookie (RFC 6265 section 4.2).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lists = headers.get_all(COOKIE).iter();
    let mut pairs = lists.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value))
    })
}

fn of_subprotocol(headers: &HeaderMap) -> Option<&[u8]> {
    subprotocols(headers).find_map(|name| name.strip_prefix(BEARER))
}

/// The names in `Sec-WebSocket-Protocol`, in the client's order.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let names = lists.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use hyper::header::AUTHORIZATION;

    use super::*;

    fn token<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        super::token(headers, Query::new(query))
    }

    fn headers(pairs: &[(hyper::header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_is_found_in_header_subprotocol_and_query() {
        let none = headers(&[]);
        let header = headers(&[(AUTHORIZATION, "bearer a.b.c")]);
        let subprotocol = headers(&[(SEC_WEBSOCKET_PROTOCOL, "tidegate.v1.json, bearer.d.e.f")]);
        assert_eq!(token(&none, None), None);
        assert_eq!(token(&none, Some("since=1&tokens=x")), None);
        assert_eq!(token(&header, Some("token=x")).as_deref(), Some("a.b.c"));
        assert_eq!(token(&subprotocol, Some("token=x")).as_deref(), Some("d.e.f"));
        assert_eq!(token(&none, Some("echo=false&token=g%2Eh")).as_deref(), Some("g.h"));
        assert_eq!(token(&headers(&[(AUTHORIZATION, "Basic abc")]), None), None);
        assert_eq!(token(&none, Some("token=")).as_deref(), Some(""), "an empty one is a bad one");
    }

    #[test]
    fn a_token_for_updates_is_in_the_header_or_else_the_query_or_else_a_cookie() {
        let token = |headers: &HeaderMap, query: Option<&'static str>| {
            token_for_updates(headers, Query::new(query)).map(Cow::into_owned)
        };
        let cookies = headers(&[(COOKIE, "a=1; mercureAuthorization=c.d.e; b=2")]);
        let newer = headers(&[(COOKIE, "__Secure-mercure_access_token=\"f.g.h\"")]);
        let all = headers(&[(AUTHORIZATION, "Bearer a.b.c"), (COOKIE, "mercureAuthorization=x")]);
        assert_eq!(token(&all, Some("authorization=y")).as_deref(), Some("a.b.c"));
        assert_eq!(token(&cookies, Some("topic=a&authorization=y%2E")).as_deref(), Some("y."));
        assert_eq!(token(&cookies, Some("topic=a")).as_deref(), Some("c.d.e"));
        assert_eq!(token(&newer, None).as_deref(), Some("f.g.h"));
        assert_eq!(token(&headers(&[(COOKIE, "xmercureAuthorization=1")]), None), None);
    }

    #[test]
    fn a_token_that_is_not_utf8_causes_no_panic() {
        let odd = hyper::header::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, odd)]);
        assert!(token(&headers, None).is_some());
        assert!(token(&HeaderMap::new(), Some("token=%ff%0d%0a")).is_some());
    }
}
