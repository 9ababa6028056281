//! One request for a JWKS, bounded in time and bytes. Follows no redirect.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{self, Either};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONNECTION, HOST, HeaderMap, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::JwksUrl;
use super::document::UnusableKey;
use crate::dial::dial;

/// The longest time for the whole request.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time to connect, so that the error can name the address that did not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The largest document, in bytes.
pub const BODY_BYTES_MAX: usize = 256 << 10;

/// A successful answer.
pub struct FetchResponse {
    pub body: Bytes,
    /// How long it may be kept, if the issuer sends that.
    pub max_age: Option<Duration>,
}

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the answer cannot be read: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer is {0}, not 200")]
    Status(StatusCode),
    #[error("the answer has more than 256 KiB")]
    TooLarge,
    #[error("{0}")]
    Useless(#[from] UnusableKey),
}

/// Sends one request.
pub async fn fetch(address: &JwksUrl) -> Result<FetchResponse, FetchError> {
    // Boxed, because the future contains a TLS handshake.
    let asking = Box::pin(connect_and_ask(address));
    tokio::time::timeout(TIMEOUT, asking).await.unwrap_or(Err(FetchError::Timeout))
}

async fn connect_and_ask(address: &JwksUrl) -> Result<FetchResponse, FetchError> {
    let stream = dial(address.host(), address.port(), CONNECT_TIMEOUT).await;
    let stream = stream.map_err(FetchError::Connect)?;
    let Some(tls) = &address.tls else { return ask(address, stream).await };
    let name = ServerName::try_from(address.host().to_owned())
        .map_err(|error| FetchError::Connect(io::Error::other(error)))?;
    let stream = TlsConnector::from(tls.clone()).connect(name, stream).await;
    ask(address, stream.map_err(FetchError::Connect)?).await
}

async fn ask(
    address: &JwksUrl,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<FetchResponse, FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let uri = &address.uri;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("a parsed address makes a request");
    let exchange = async move {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let max_age = max_age(response.headers());
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => FetchError::Http(*error),
            Err(error) => {
                debug_assert!(error.is::<LengthLimitError>(), "{error}");
                FetchError::TooLarge
            }
        })?;
        Ok(FetchResponse { body: body.to_bytes(), max_age })
    };
    match future::select(std::pin::pin!(exchange), std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // The connection has ended, but its buffered answer can still be read.
        Either::Right((_, exchange)) => exchange.await,
    }
}

/// How long an answer may be kept (RFC 9111, section 5.2.2).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<_> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let is = |directive: &&str, name| directive.eq_ignore_ascii_case(name);
    if directives.iter().any(|directive| is(directive, "no-store") || is(directive, "no-cache")) {
        return Some(Duration::ZERO);
    }
    directives.iter().find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        let seconds = seconds.trim_matches('"').parse().ok();
        name.eq_ignore_ascii_case("max-age").then(|| seconds.map(Duration::from_secs))?
    })
}
