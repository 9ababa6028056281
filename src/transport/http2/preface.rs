//! Whether a connection begins with HTTP/2.

use std::io;

use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The first bytes of a client that knows that the node speaks HTTP/2 (RFC 9113 section 3.4). No request of
/// HTTP/1.1 begins with them.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Waits for the first bytes of a connection and returns whether they are the preface. Leaves them unread. Has
/// no timeout of its own.
pub async fn is_next(stream: &TcpStream) -> bool {
    loop {
        let Ok(ready) = stream.ready(Interest::READABLE).await else { return false };
        // `WouldBlock` makes tokio wait for further bytes.
        match stream.try_io(Interest::READABLE, || peek(stream)) {
            Ok(is_preface) => return is_preface,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        // No further bytes follow, and tokio would report that without waiting.
        if ready.is_read_closed() || ready.is_error() {
            return false;
        }
    }
}

/// Fails with `WouldBlock` while the bytes are the beginning of the preface.
fn peek(stream: &TcpStream) -> io::Result<bool> {
    let mut bytes = [0; PREFACE.len()];
    let (peeked, _) = rustix::net::recv(stream, &mut bytes[..], RecvFlags::PEEK)?;
    match &bytes[..peeked] {
        [] => Ok(false),
        begin if !PREFACE.starts_with(begin) => Ok(false),
        begin if begin.len() == PREFACE.len() => Ok(true),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Whether the node sees the preface in these pieces, each sent in a segment of its own.
    async fn is_preface(pieces: &[&[u8]]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sending = async {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.set_nodelay(true).unwrap();
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            client
        };
        let ((stream, _), _client) =
            tokio::join!(async { listener.accept().await.unwrap() }, sending);
        is_next(&stream).await
    }

    #[tokio::test]
    async fn a_preface_is_recognised_in_one_piece_and_byte_by_byte() {
        assert!(is_preface(&[PREFACE]).await);
        assert!(is_preface(&PREFACE.chunks(1).collect::<Vec<_>>()).await);
    }

    #[tokio::test]
    async fn a_request_of_http_1_and_an_incomplete_preface_are_not_a_preface() {
        assert!(!is_preface(&[b"GET / HTTP/1.1\r\n\r\n"]).await);
        assert!(!is_preface(&[b"P", b"OST / HTTP/1.1\r\n"]).await);
        assert!(!is_preface(&[&PREFACE[..23]]).await);
        assert!(!is_preface(&[b"PRI"]).await);
        assert!(!is_preface(&[]).await);
    }
}
