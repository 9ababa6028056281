//! The demo pages and their files, and how services publish on this node.

mod files;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use self::files::{FILES, JSON};

/// The path of [`Publishing`], as JSON.
const FACTS: &str = "/demo/facts.json";

/// The pages load files of their own node only. `ws:` and `wss:`, because not every browser counts them as `'self'`.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    worker-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; \
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
    /// The address for MQTT over TCP from the node's own host. None: the node has no such listener.
    pub mqtt: Option<String>,
}

/// All files, by path. Clones share them.
#[derive(Clone)]
pub struct Demo(Arc<HashMap<&'static str, DemoFile>>);

/// A file, ready to be sent.
pub(super) struct DemoFile {
    content_type: &'static str,
    bytes: Bytes,
    /// Changes with the content, so that a browser asks again but loads only what has changed.
    etag: HeaderValue,
}

impl Demo {
    pub fn new(publishing: &Publishing) -> Self {
        let facts = serde_json::to_vec(publishing).expect("strings and flags are JSON");
        let files = FILES.iter().filter(|(.., bytes)| !bytes.is_empty());
        let files = files.map(|(path, content_type, bytes)| {
            (*path, DemoFile::new(content_type, Bytes::from_static(bytes)))
        });
        let facts = (FACTS, DemoFile::new(JSON, facts.into()));
        Self(Arc::new(files.chain([facts]).collect()))
    }

    pub(super) fn find(&self, path: &str) -> Option<&DemoFile> {
        self.0.get(path)
    }
}

impl DemoFile {
    fn new(content_type: &'static str, bytes: Bytes) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let etag = HeaderValue::try_from(etag).expect("hexadecimal digits fit into a header");
        Self { content_type, bytes, etag }
    }

    /// The file; or 304, if the request's `If-None-Match` names its content.
    pub(super) fn response(&self, request: &HeaderMap) -> Response<Full<Bytes>> {
        let is_known = request.get(IF_NONE_MATCH) == Some(&self.etag);
        let body = if is_known { Bytes::new() } else { self.bytes.clone() };
        let mut response = Response::new(Full::new(body));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        set(CONTENT_TYPE, self.content_type);
        set(CONTENT_SECURITY_POLICY, POLICY);
        set(X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(CACHE_CONTROL, "no-cache");
        headers.insert(ETAG, self.etag.clone());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Demo {
        let api = "http://127.0.0.1:9090/".to_owned();
        Demo::new(&Publishing {
            command: None,
            prefix: "tidegate:".into(),
            api,
            needs_key: false,
            mqtt: None,
        })
    }

    #[test]
    fn each_demo_path_is_in_the_table_once() {
        let with_bytes = FILES.iter().filter(|(.., bytes)| !bytes.is_empty());
        assert_eq!(demo().0.len(), with_bytes.count() + 1);
    }

    #[test]
    fn a_demo_file_is_sent_once_until_its_content_changes() {
        let demo = demo();
        let index = demo.find("/").expect("the index is a file");
        let first = index.response(&HeaderMap::new());
        let known = HeaderMap::from_iter([(IF_NONE_MATCH, first.headers()[ETAG].clone())]);
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(index.response(&known).status(), StatusCode::NOT_MODIFIED);
        let other = demo.find(FACTS).expect("the facts are a file");
        assert_eq!(other.response(&known).status(), StatusCode::OK);
    }

    /// The policy refuses them, and then the page does not work.
    #[test]
    fn the_demo_pages_have_no_script_style_or_handler_inline() {
        for (path, content_type, bytes) in FILES.iter().filter(|(_, kind, _)| *kind == files::HTML)
        {
            let text = std::str::from_utf8(bytes).expect("a page is text").to_lowercase();
            assert!(text.starts_with("<!doctype html>"), "{path} ({content_type})");
            for inline in
                ["<style", " style=", " onclick=", " onload=", "src=\"http", "javascript:"]
            {
                assert!(!text.contains(inline), "{path} has {inline}");
            }
            assert_eq!(
                text.matches("<script").count(),
                text.matches("<script type=\"module\" src=\"/demo/").count()
            );
        }
    }
}
