//! TLS of the public and the internal listener.

mod certificate_rotation;
mod client_certificates;
mod faults;
mod handshake;
mod internal;
mod sessions;

use testkit::authority::{Authority, Identity};
use testkit::node::Node;

/// A node whose public listener uses a certificate of `authority`.
pub async fn node(authority: &Authority, settings: &[&str]) -> Node {
    let settings_of_certificate = tls_settings("server", &authority.issue("node"));
    let settings_of_certificate: Vec<&str> =
        settings_of_certificate.iter().map(String::as_str).collect();
    Node::standalone(&[&settings_of_certificate, settings].concat()).await
}

/// The settings for a listener to use this certificate.
fn tls_settings(section: &str, identity: &Identity) -> [String; 2] {
    [
        format!("{section}.tls.cert={}", identity.cert.display()),
        format!("{section}.tls.key={}", identity.key.display()),
    ]
}

/// Connections whose TLS handshake failed.
async fn tls_refusals(node: &Node) -> f64 {
    node.metric(r#"tidegate_rejected_total{reason="tls"}"#).await
}
