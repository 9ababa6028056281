//! A client of HTTP/2 (RFC 9113), WebSockets on its streams included (RFC 8441).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response as HttpResponse, request};

pub use h2::{Error, Reason};
pub use tokio_tungstenite::tungstenite::http::Request;

use crate::client::Client;
use crate::event_stream::EventStream;
use crate::http::{self, Response};
use crate::node::Node;
use crate::tls_client::TlsClient;
use crate::{eventually, soon};

/// A connection.
pub struct Http2Client {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), Error>>,
    origin: String,
}

impl Http2Client {
    /// Connects without TLS: the client knows that the node speaks HTTP/2.
    pub async fn connect(node: &Node) -> Self {
        let stream = http::connect(node.public).await;
        Self::over(stream, format!("http://{}", node.public), &Builder::new()).await
    }

    /// The same with other settings.
    pub async fn with(node: &Node, builder: &Builder) -> Self {
        let stream = http::connect(node.public).await;
        Self::over(stream, format!("http://{}", node.public), builder).await
    }

    /// Connects from another loopback address.
    pub async fn from(node: &Node, address: &str) -> Self {
        let stream = http::connect_from(node.public, address).await;
        Self::over(stream, format!("http://{}", node.public), &Builder::new()).await
    }

    /// Connects with TLS and ALPN.
    pub async fn over_tls(node: &Node, trusting: TlsClient) -> Self {
        let stream = trusting.with_alpn(&["h2", "http/1.1"]).connect(node.public).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(stream, format!("https://localhost:{}", node.public.port()), &Builder::new())
            .await
    }

    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: String,
        builder: &Builder,
    ) -> Self {
        let handshake = builder.handshake(stream);
        let (send, connection) = soon("a handshake", handshake).await.expect("it speaks HTTP/2");
        Self { send, connection: tokio::spawn(connection), origin }
    }

    /// A request without headers.
    pub fn request(&self, method: &str, path: &str) -> request::Builder {
        Request::builder().method(method).uri(format!("{}{path}", self.origin))
    }

    /// Sends a request; its stream ends with it if `ends`.
    pub async fn try_open(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(Response, ByteStream), Error> {
        let send = soon("room for a stream", self.send.clone().ready()).await?;
        self.send = send;
        let (response, send) = self.send.send_request(request, ends)?;
        Ok(opened(soon("a response", response).await?, send))
    }

    /// Sends a request that the client resets at once.
    pub async fn open_and_reset(&mut self, request: Request<()>) -> Result<(), Error> {
        self.send = self.send.clone().ready().await?;
        let (_, mut send) = self.send.send_request(request, true)?;
        // The request leaves before its reset, which would replace it otherwise.
        tokio::task::yield_now().await;
        send.send_reset(Reason::CANCEL);
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Sends a request with a body, and reads the response.
    pub async fn answer(&mut self, request: Request<()>, body: &[u8]) -> Response {
        let (mut response, mut stream) = match body {
            [] => self.try_open(request, true).await.expect("a response"),
            body => {
                self.send = self.send.clone().ready().await.expect("an open connection");
                let (response, mut send) =
                    self.send.send_request(request, false).expect("a valid request");
                let body = Bytes::copy_from_slice(body);
                send.send_data(body, true).expect("the stream takes a body");
                opened(soon("a response", response).await.expect("a response"), send)
            }
        };
        let reading = stream.read_to_end(&mut response.body);
        soon("the body", reading).await.expect("the body arrives");
        response
    }

    pub async fn get(&mut self, path: &str) -> Response {
        let request = self.request("GET", path).body(()).expect("a valid request");
        self.answer(request, b"").await
    }

    /// Opens a WebSocket. Fails with the response if the node refuses it.
    pub async fn try_websocket(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Response, ByteStream), Response> {
        // The node announces that it knows RFC 8441.
        eventually("the node's settings", async || {
            self.send.is_extended_connect_protocol_enabled().then_some(())
        })
        .await;
        let mut request = self
            .request("CONNECT", path)
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a valid request");
        let (mut response, mut stream) = self.try_open(request, false).await.expect("a response");
        if response.status == 200 {
            return Ok((response, stream));
        }
        let reading = stream.read_to_end(&mut response.body);
        soon("the body", reading).await.expect("the body arrives");
        Err(response)
    }

    /// Opens a WebSocket that the node accepts.
    pub async fn websocket(&mut self, path: &str) -> Client<ByteStream> {
        let opened = self.try_websocket(path, &[]).await;
        let (response, stream) = opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"));
        Client::after_handshake(stream, &response).await
    }

    /// Opens a stream of events that the node accepts.
    pub async fn event_stream(&mut self, path: &str) -> EventStream<ByteStream> {
        let request = self.request("GET", path).body(()).expect("a valid request");
        let (response, stream) = self.try_open(request, true).await.expect("a response");
        EventStream::of_response(stream, &response)
    }

    /// Waits for the end of the connection.
    pub async fn ended(self) -> Result<(), Error> {
        let Self { send, connection, .. } = self;
        let ended = soon("the end of the connection", connection).await.expect("no panic");
        drop(send);
        ended
    }

    pub fn is_ended(&self) -> bool {
        self.connection.is_finished()
    }
}

/// The head of a response, and the stream of its body.
fn opened(response: HttpResponse<RecvStream>, send: SendStream<Bytes>) -> (Response, ByteStream) {
    let (head, receive) = response.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    let response =
        Response { status: head.status.as_u16(), headers: headers.collect(), body: Vec::new() };
    (response, ByteStream { send, receive, received: Bytes::new() })
}

/// A stream of a connection. What is not read fills its flow control window.
pub struct ByteStream {
    pub send: SendStream<Bytes>,
    receive: RecvStream,
    received: Bytes,
}

impl ByteStream {
    /// The reason of the node's reset.
    pub async fn reset_reason(&mut self) -> Option<Reason> {
        loop {
            match soon("the end of the stream", self.receive.data()).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.reason(),
                None => return None,
            }
        }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.received.is_empty() {
            let Some(bytes) = ready!(self.receive.poll_data(cx)) else {
                return Poll::Ready(Ok(()));
            };
            self.received = bytes.map_err(io::Error::other)?;
            let count = self.received.len();
            self.receive.flow_control().release_capacity(count).map_err(io::Error::other)?;
        }
        let count = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(bytes.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(granted) => drop(granted.map_err(io::Error::other)?),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = bytes.len().min(self.send.capacity());
        let bytes = Bytes::copy_from_slice(&bytes[..count]);
        self.send.send_data(bytes, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
