//! A client for a node's API on any host: the address is an argument, and the node's certificate is verified.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use futures_util::future::{self, Either};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::argument::wrong;
use super::failure::Failure;
use crate::publication::{Channel, PayloadKind, Publication};
use crate::tls;

/// The longest time to connect, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for an answer: more than the longest `broker.publish_timeout`, so that the node's answer arrives.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 256 << 10;

const IS_ELSEWHERE: &str = "the API is at the node's internal listener (internal.listen)";

/// A node's internal listener.
pub struct NodeApi {
    uri: Uri,
    /// None: `http`.
    tls: Option<Arc<ClientConfig>>,
    api_key: Option<HeaderValue>,
}

impl NodeApi {
    /// `option`: the option that `url` was given with, for error messages.
    pub fn new(
        option: &str,
        url: &str,
        ca_file: Option<&Path>,
        api_key: Option<String>,
    ) -> Result<Self, Failure> {
        let uri = parse(url).ok_or_else(|| {
            // Not quoted: it may contain a password.
            wrong(format!(
                "{option} is the address of a node's internal listener, such as http://127.0.0.1:9090 or \
                 https://node.example:9090, without a user or a query"
            ))
        })?;
        let is_https = uri.scheme_str() == Some("https");
        let tls = match (is_https, ca_file) {
            (true, ca_file) => {
                Some(tls::client(ca_file).map_err(|error| wrong(error.to_string()))?)
            }
            (false, Some(_)) => return Err(wrong(format!("--ca-file is for an https {option}"))),
            (false, None) => None,
        };
        let bearer = |key: String| {
            let value = HeaderValue::try_from(format!("Bearer {key}")).ok();
            value.ok_or_else(|| wrong("--api-key is 1 to 255 visible ASCII characters"))
        };
        Ok(Self { uri, tls, api_key: api_key.map(bearer).transpose()? })
    }

    /// Publishes, and resolves to the node's answer.
    pub async fn publish(
        &self,
        channel: &Channel,
        publication: &Publication,
    ) -> anyhow::Result<Bytes> {
        let path = format!("/api/publish/{}", encoded(channel.as_str()));
        let mut request = Request::builder().method(Method::POST).uri(self.path(&path));
        if publication.kind == PayloadKind::Binary {
            request = request.header(CONTENT_TYPE, "application/octet-stream");
        }
        self.ask(request, publication.payload.clone()).await
    }

    /// Resolves to the node's explanation of the channel, as text.
    pub async fn explain(&self, channel: &Channel, token: Option<&str>) -> anyhow::Result<Bytes> {
        let token = token.map(|token| format!("&token={}", encoded(token))).unwrap_or_default();
        let path = format!("/api/explain?channel={}{token}", encoded(channel.as_str()));
        self.ask(Request::builder().uri(self.path(&path)), Bytes::new()).await
    }

    /// The path below the address's own path, which a proxy may add for the node.
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.uri.path().trim_end_matches('/'))
    }

    async fn ask(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let mut request = request.header(HOST, authority).header(CONNECTION, "close");
        if let Some(key) = &self.api_key {
            request = request.header(AUTHORIZATION, key);
        }
        let request = request.body(Full::new(body)).context("the address makes no request")?;
        // Boxed, because the future contains a TLS handshake.
        Box::pin(self.connect_and_ask(request))
            .await
            .with_context(|| format!("{}://{authority}", self.uri.scheme_str().unwrap_or_default()))
    }

    async fn connect_and_ask(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        let host = self.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let late = || anyhow!("cannot connect within {} s", CONNECT_TIMEOUT.as_secs());
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await;
        let stream = stream.map_err(|_| late())?.context("cannot connect")?;
        let Some(tls) = &self.tls else { return exchange(stream, request).await };
        let name = ServerName::try_from(host.to_owned()).context("is no host name")?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream);
        let stream = timeout(CONNECT_TIMEOUT, stream).await.map_err(|_| late())?;
        exchange(stream.context("cannot connect with TLS")?, request).await
    }
}

fn parse(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let is_http = matches!(uri.scheme_str()?, "http" | "https");
    let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty();
    (is_http && is_plain && uri.query().is_none()).then_some(uri)
}

/// A text as one part of a path or a query.
fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Bytes> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let response = sender.send_request(request).await.context("no answer")?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("the answer cannot be read: {error}"))?.to_bytes();
        match status.is_success() {
            true => Ok(body),
            false => match refusal(&body) {
                Some(why)
                    if status == StatusCode::NOT_FOUND && !why.contains("internal.listen") =>
                {
                    bail!("{why}; {IS_ELSEWHERE}")
                }
                Some(why) => bail!(why),
                None => bail!("the answer is {status}; {IS_ELSEWHERE}"),
            },
        }
    };
    let (exchange, connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
    let Ok(ended) = timeout(ANSWER_TIMEOUT, future::select(exchange, connection)).await else {
        bail!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
    };
    match ended {
        Either::Left((answer, _)) => answer,
        // The connection has ended, but its buffered answer can still be read.
        Either::Right((_, exchange)) => exchange.await,
    }
}

/// The error of a node's answer, as text. None: the answer is not a node's error.
pub fn refusal(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error")?;
    let part = |name| error.get(name).and_then(Value::as_str);
    match (part("code")?, part("message")?) {
        ("unauthorized", _) => Some(
            "unauthorized: the node requires its internal.api_key; give it with --config FILE or as \
             TIDEGATE__INTERNAL__API_KEY"
                .to_owned(),
        ),
        (code, message) => Some(format!("{code}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_or_https_and_has_no_user_and_no_query() {
        for good in ["http://127.0.0.1:9090", "https://node.example/tidegate/", "http://[::1]:9090"]
        {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in ["", "127.0.0.1:9090", "ftp://a", "http://", "http://u:hush@a", "http://a/?b=c"]
        {
            let refused = NodeApi::new("--http", bad, None, None).err().expect(bad).to_string();
            assert!(refused.starts_with("--http is") && !refused.contains("hush"), "{refused}");
        }
    }

    #[test]
    fn an_error_of_a_node_is_printed_with_its_code_and_message() {
        let body = br#"{"error":{"code":"unavailable","message":"redis does not answer"}}"#;
        assert_eq!(refusal(body).unwrap(), "unavailable: redis does not answer");
        for other in ["<html>", "{}", "{\"error\":5}", "{\"ready\":false}"] {
            assert_eq!(refusal(other.as_bytes()), None, "{other}");
        }
    }
}
