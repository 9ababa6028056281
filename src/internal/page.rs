//! The operator's page: its three files, which are part of the binary. They contain nothing of this node, so they
//! are served without a key; the page asks for `internal.api_key` where `/api` requires it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response};

use super::answer::{ApiResponse, not_allowed};

/// By path: the content type and the content.
const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("../../web/operator/index.html")),
    ("/operator.css", "text/css; charset=utf-8", include_str!("../../web/operator/operator.css")),
    (
        "/operator.js",
        "text/javascript; charset=utf-8",
        include_str!("../../web/operator/operator.js"),
    ),
];

/// Scripts and styles only from these files; requests only to this listener.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer to a request of one of the files. None: the path is another.
pub fn answer(path: &str, method: &Method) -> Option<ApiResponse> {
    let (_, kind, content) = FILES.iter().find(|(name, ..)| *name == path)?;
    if method != Method::GET && method != Method::HEAD {
        return Some(not_allowed("GET, HEAD"));
    }
    let mut response = Response::new(Full::new(Bytes::from_static(content.as_bytes())));
    let mut set = |name: HeaderName, value| {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    };
    set(CONTENT_TYPE, kind);
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "no-referrer");
    // After an upgrade of the node the page must not be the one before.
    set(CACHE_CONTROL, "no-cache");
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_page_loads_its_own_files_only_and_has_nothing_inline() {
        let html = FILES[0].2;
        for (path, ..) in &FILES[1..] {
            let name = path.trim_start_matches('/');
            assert!(html.contains(&format!("\"{name}\"")), "{name}");
        }
        for inline in ["<style", " style=", " onclick=", "<script>", "http://", "https://"] {
            let html = html.replace("http://www.w3.org/2000/svg", "");
            assert!(!html.contains(inline), "{inline}");
        }
        assert!(answer("/operator", &Method::GET).is_none());
        assert_eq!(answer("/", &Method::POST).unwrap().status(), 405);
    }
}
