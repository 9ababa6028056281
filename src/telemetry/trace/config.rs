//! The keys of tracing, within the `[telemetry]` section.

use hyper::Uri;

use crate::settings::Section;

/// Which requests are traced, and where spans are sent.
#[derive(Clone, Debug)]
pub struct Config {
    /// The collector's gRPC address. None: no tracing.
    pub(super) endpoint: Option<String>,
    /// The share of requests without a `traceparent` that are traced, 0 to 1.
    pub ratio: f64,
}

impl Config {
    pub fn read(section: &mut Section<'_>) -> Self {
        let endpoint = section.parsed(
            "otlp_endpoint",
            None,
            "http://HOST:PORT of a collector's OTLP/gRPC receiver, such as http://127.0.0.1:4317 \
             (without TLS)",
            |text| is_endpoint(text).then(|| text.to_owned()),
            String::clone,
            "The address spans are sent to. If not set, the node does not trace.",
        );
        let ratio = section.part(
            "trace_ratio",
            0.,
            "The share of handshakes and publications without a `traceparent` that start a trace. Those \
             with a `traceparent` are traced if it is sampled, whatever this is set to.",
        );
        Self { endpoint, ratio }
    }
}

/// Accepts only addresses a gRPC client can connect to, without parts that the client would ignore.
fn is_endpoint(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    // Without a port it would be port 80, where no collector listens.
    let is_bare = uri.path_and_query().is_none_or(|it| it == "/");
    let has_login = uri.authority().is_some_and(|it| it.as_str().contains('@'));
    let is_http = uri.scheme_str() == Some("http");
    is_http && has_host && uri.port_u16().is_some_and(|port| port > 0) && is_bare && !has_login
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_collectors_address_is_an_endpoint() {
        for good in ["http://127.0.0.1:4317", "http://otel-collector:4317/", "http://[::1]:4317"] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in [
            "",
            "4317",
            "127.0.0.1:4317",
            "localhost",
            "http://",
            "http://collector",
            "http://collector:0",
            "http://collector:99999",
            "http://collector:4317/v1/traces",
            "http://collector:4317/?key=1",
            "http://user:secret@collector:4317",
            "https://collector:4317",
            "grpc://collector:4317",
            "http://coll ector:4317",
        ] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
