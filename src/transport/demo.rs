//! The demo page, with this node's settings inserted.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use serde::Serialize;

const PAGE: &str = include_str!("../../web/demo.html");

/// The text in the page that the settings replace.
const PLACEHOLDER: &str = "/* facts */";

/// The page is one file with an inline script, and connects to its own host.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// How services publish to this node's channels.
#[derive(Clone, Debug, Serialize)]
pub struct Publishing {
    /// The Redis command for publishing. None: the node does not use Redis.
    pub command: Option<&'static str>,
    /// The prefix of each channel's name in Redis.
    pub prefix: String,
    /// The address of `POST /api/publish/` for programs on the node's own host.
    pub api: String,
    /// Whether the API requires a key.
    pub needs_key: bool,
}

/// The page. Clones share its bytes.
#[derive(Clone)]
pub struct Demo(Bytes);

impl Demo {
    pub fn new(publishing: &Publishing) -> Self {
        let facts = serde_json::to_string(publishing).expect("strings and flags are JSON");
        // `</script>` would end the script element even within quotes.
        Self(PAGE.replacen(PLACEHOLDER, &facts.replace('<', "\\u003c"), 1).into())
    }

    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.0.clone()));
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        set(CONTENT_TYPE, "text/html; charset=utf-8");
        set(CONTENT_SECURITY_POLICY, POLICY);
        set(X_CONTENT_TYPE_OPTIONS, "nosniff");
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_appear_once_in_the_demo_page_and_end_no_element() {
        assert_eq!(PAGE.matches(PLACEHOLDER).count(), 1);
        let prefix = "</script>".to_owned();
        let api = "http://127.0.0.1:9090".to_owned();
        let demo =
            Demo::new(&Publishing { command: Some("PUBLISH"), prefix, api, needs_key: false });
        let page = String::from_utf8(demo.0.to_vec()).unwrap();
        assert!(page.contains(r#"{"command":"PUBLISH","prefix":"\u003c/script>","api""#));
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
    }
}
