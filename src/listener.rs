//! Listening sockets, and an accept loop that never spins and never ends.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::settings::ListenAddress;
use crate::telemetry;

/// The most simultaneous connections of the internal listener.
pub const INTERNAL_CONNECTIONS_MAX: usize = 64;

/// The length of the kernel's accept queue, which the kernel reduces to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// How long the listener pauses when the system has no descriptor or memory for another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A shortage is over after this long without one, because at the limit a connection is accepted now and then while
/// others close.
const SHORTAGE_PASSED: Duration = Duration::from_secs(5);

/// The bound sockets of one listener.
#[derive(Debug)]
pub struct Listener {
    first: TcpListener,
    /// The socket of the other IP family, if the address is for both.
    second: Option<TcpListener>,
}

impl Listener {
    /// The address of the first socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }

    /// Cancel safe.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.second {
            None => self.first.accept().await,
            Some(second) => tokio::select! {
                accepted = self.first.accept() => accepted,
                accepted = second.accept() => accepted,
            },
        }
    }
}

/// Listens on the address, immediately after a restart too. An address of both IP families requires only one of them,
/// because a host may have IPv6 disabled.
pub fn bind(address: ListenAddress) -> io::Result<Listener> {
    let first = bind_socket(address.first(), None);
    let Some(mut second) = address.second() else {
        return Ok(Listener { first: first?, second: None });
    };
    if let Ok(first) = &first {
        // With port 0, the second socket gets the first one's port.
        second.set_port(first.local_addr()?.port());
    }
    match (first, bind_socket(second, Some(Ipv6Only))) {
        (Ok(first), Ok(second)) => Ok(Listener { first, second: Some(second) }),
        (Ok(only), Err(error)) | (Err(error), Ok(only)) if is_missing_family(&error) => {
            Ok(Listener { first: only, second: None })
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Whether this host has no addresses of the socket's family.
fn is_missing_family(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// Marks a socket that does not accept IPv4, whatever the system's default.
struct Ipv6Only;

fn bind_socket(address: SocketAddr, only: Option<Ipv6Only>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(Ipv6Only) = only {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Passes every connection and its peer to `take`, with Nagle's algorithm off.
pub async fn accept(listener: Listener, take: impl Fn(TcpStream, SocketAddr)) -> Infallible {
    let mut shortage: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if shortage.is_some_and(|last| last.elapsed() > SHORTAGE_PASSED) {
                    shortage = None;
                    telemetry::accept_recovered();
                }
                // Fails only for a closed socket, which its first read reports.
                let _ = stream.set_nodelay(true);
                take(stream, peer);
            }
            Err(error) if is_shortage(&error) => {
                telemetry::accept_failed(&error, shortage.is_none());
                shortage = Some(Instant::now());
                sleep(ACCEPT_PAUSE).await;
            }
            // The error concerns one client that has disconnected; the next `accept` may succeed.
            Err(_) => {}
        }
    }
}

/// Whether the next `accept` would fail for the same reason.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}
