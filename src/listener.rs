//! Listening sockets, and accepting from them without ever spinning or giving up.

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

/// Most connections of the internal listener at one time.
pub const INTERNAL_CONNECTIONS_MAX: usize = 64;

/// Connections the kernel keeps for us while we are busy; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// How long the listener rests when the system has no descriptor or memory for another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Without a shortage for so long, it has passed: while clients come and go at the limit, one is let in
/// now and then.
const SHORTAGE_PASSED: Duration = Duration::from_secs(5);

/// The bound sockets of one listener.
#[derive(Debug)]
pub struct Listener {
    first: TcpListener,
    /// The other IP family's, where the address stands for both.
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

/// Listens on the address, at once after a restart too. An address of both IP families needs one of them: a
/// host may have IPv6 switched off.
pub fn bind(address: ListenAddress) -> io::Result<Listener> {
    let first = bind_socket(address.first(), None);
    let Some(mut second) = address.second() else {
        return Ok(Listener { first: first?, second: None });
    };
    if let Ok(first) = &first {
        // Port 0 is the same port for both.
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

/// Has this host no addresses of the socket's family?
fn is_missing_family(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// The socket leaves IPv4 to the one beside it, whatever the system's default is.
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

/// Hands every connection and its peer to `take`, with Nagle's algorithm off.
pub async fn accept(listener: Listener, take: impl Fn(TcpStream, SocketAddr)) -> Infallible {
    let mut shortage: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if shortage.is_some_and(|last| last.elapsed() > SHORTAGE_PASSED) {
                    shortage = None;
                    telemetry::accept_recovered();
                }
                // Fails only on a socket that is dead already, as its first read will find.
                let _ = stream.set_nodelay(true);
                take(stream, peer);
            }
            Err(error) if is_shortage(&error) => {
                telemetry::accept_failed(&error, shortage.is_none());
                shortage = Some(Instant::now());
                sleep(ACCEPT_PAUSE).await;
            }
            // It was about one client, who is gone; the next one is as good as any.
            Err(_) => {}
        }
    }
}

/// Would the next `accept` fail for the same reason?
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}
