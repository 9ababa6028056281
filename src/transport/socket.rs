//! A TCP stream with two writers: the connection that owns it, and the flusher that writes to it at the
//! moment.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::stream::ClientStream;
use crate::outbound::Wire;

/// Makes a write to a closed socket an error instead of SIGPIPE. macOS lacks the flag, but has the option
/// `SO_NOSIGPIPE`: socket2 sets it on the listener, and accepted sockets inherit it.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();

/// A shared TCP stream.
#[derive(Clone)]
pub struct SharedSocket(Arc<TcpStream>);

impl SharedSocket {
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }
}

impl ClientStream for SharedSocket {
    fn wire(&self) -> Option<Arc<dyn Wire>> {
        Some(self.0.clone())
    }
}

impl Wire for TcpStream {
    /// Calls the kernel directly instead of tokio, whose readiness state would be one more cache miss for
    /// each of a thousand sockets. The connection uses tokio for what this write leaves.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match slices {
            // The kernel handles one buffer faster than a list of one.
            [one] => rustix::net::send(self, one, SEND_FLAGS),
            many => rustix::io::writev(self, many),
        };
        written.map_err(io::Error::from)
    }
}

impl AsyncRead for SharedSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            let mut outcome = Err(io::ErrorKind::WouldBlock.into());
            // A read that does not fill the buffer has emptied the socket. Reporting it as `WouldBlock` makes
            // tokio wait for the next byte without another system call.
            let _ = self.0.try_io(Interest::READABLE, || {
                let room = buffer.initialize_unfilled();
                outcome = rustix::io::read(&*self.0, &mut *room).map_err(io::Error::from);
                match &outcome {
                    Ok(bytes) if *bytes == room.len() => Ok(()),
                    _ => Err(io::Error::from(io::ErrorKind::WouldBlock)),
                }
            });
            match outcome {
                Ok(bytes) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            // Through tokio, which registers that the socket is full and so can wait for room.
            let written = match slices {
                [one] => self.0.try_write(one),
                many => self.0.try_write_vectored(many),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.poll_write_ready(cx))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = socket2::SockRef::from(&*self.0);
        Poll::Ready(socket.shutdown(std::net::Shutdown::Write))
    }
}
