//! TLS of the listeners.

mod clients;
mod faults;
mod handshake;
mod internal;
mod rotated;
mod sessions;

use testkit::authority::{Authority, Identity};
use testkit::node::Node;

/// A node whose public listener shows a certificate of `authority`.
async fn node(authority: &Authority, settings: &[&str]) -> Node {
    let shown = shows("server", &authority.issue("node"));
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    Node::standalone(&[&shown, settings].concat()).await
}

/// The settings for a listener to show this certificate.
fn shows(section: &str, identity: &Identity) -> [String; 2] {
    [
        format!("{section}.tls.cert={}", identity.cert.display()),
        format!("{section}.tls.key={}", identity.key.display()),
    ]
}

/// Connections whose TLS handshake failed.
async fn refused(node: &Node) -> f64 {
    node.metric(r#"tidegate_rejected_total{reason="tls"}"#).await
}
