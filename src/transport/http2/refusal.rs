//! A connection of HTTP/2 that the node refuses: its requests are answered with the reason.

use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use http_body_util::Full;
use hyper::Response;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::HEADER_LIST_BYTES_MAX;
use super::exchange::adapt;
use crate::transport::connection_refusal::{ConnectionRefusal, REFUSAL_TIMEOUT};

/// Most requests that a refused client may send at once.
const STREAMS_MAX: u32 = 8;

/// After so long without a request the node announces the end. Some clients lose a response if that comes with it.
const LEAVE_AFTER: Duration = Duration::from_millis(300);

/// Answers requests with the refusal until the client has seen that the connection ends.
pub async fn refuse(refusal: ConnectionRefusal, stream: impl AsyncRead + AsyncWrite + Unpin) {
    // The outcome does not matter: the connection is closed in any case.
    let _ = timeout(REFUSAL_TIMEOUT, answer_all(refusal, stream)).await;
}

async fn answer_all(
    refusal: ConnectionRefusal,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), h2::Error> {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(STREAMS_MAX as usize)
        .enable_connect_protocol();
    let mut h2 = builder.handshake(stream).await?;
    loop {
        match timeout(LEAVE_AFTER, h2.accept()).await {
            Ok(Some(request)) => answer(refusal, request?.1)?,
            Ok(None) => return Ok(()),
            Err(_) => h2.graceful_shutdown(),
        }
    }
}

/// The body is short, so that h2 may keep it until the client's window has room.
fn answer(refusal: ConnectionRefusal, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut head = Response::<Full<Bytes>>::from(refusal).map(drop);
    let body = Bytes::from(refusal.body());
    adapt(head.headers_mut(), Some(body.len() as u64));
    respond.send_response(head, false)?.send_data(body, true)
}
