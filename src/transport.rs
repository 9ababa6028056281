//! Sockets: accepting them, answering HTTP, handing what becomes a WebSocket over to a session.
//! Knows nothing of what is said on them.

mod admission;
mod http;
mod origin;
mod request;
mod socket;
mod websocket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

pub use self::admission::open_file_limit;
use self::admission::{Admission, Admitted};
pub use self::origin::Origins;
use self::socket::Socket;
use crate::limits::Limits;
use crate::listener;
use crate::live::Live;
use crate::session::Context;
use crate::settings::Settings;
use crate::telemetry::{self, Rejected};
use crate::tls;

/// The `[server]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub origins: Origins,
    pub handshake_timeout: Duration,
    /// None: clients come without TLS.
    pub tls: Option<tls::Server>,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("server");
        let listen = section.address("listen", "127.0.0.1:8080", "The public listener.");
        let origins = section.list(
            "origins",
            "a list of hosts, such as example.com, *.example.com or https://example.com:8443, or \"*\"",
            origin::is_pattern,
            "Pages of other hosts that may connect; those of the same host always may. `*` lets \
             every page in. Clients that are no browsers send no origin and are not asked.",
        );
        let handshake_timeout = section.duration(
            "handshake_timeout",
            "10s",
            Duration::from_millis(100)..=Duration::from_secs(600),
            "A connection whose request has not arrived whole by then is cut off. With TLS, its \
             handshake has as long before that.",
        );
        let tls = tls::Server::read(&mut section);
        Self { listen, origins: Origins::new(&origins), handshake_timeout, tls }
    }
}

/// The public listener: what every connection needs to be answered.
pub struct Public {
    context: Arc<Context>,
    server: Live<Config>,
    demo: bool,
    admission: Arc<Admission>,
}

impl Public {
    pub fn new(server: Live<Config>, limits: &Limits, demo: bool, context: Arc<Context>) -> Self {
        let admission = Admission::new(limits.get().connections_max);
        Self { context, server, demo, admission }
    }

    /// Accepts for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> Infallible {
        listener::accept(listener, |stream, peer| {
            tokio::spawn(self.clone().handshake(stream, peer));
        })
        .await
    }

    /// From an accepted socket to its requests.
    async fn handshake(self: Arc<Self>, stream: TcpStream, _peer: SocketAddr) {
        let accepted = Instant::now();
        let Some(admitted) = self.admission.admit() else {
            telemetry::rejected(Rejected::ConnectionsMax, &"too many to be told");
            return;
        };
        let (place, is_full) = match admitted {
            Admitted::Yes(place) => (place, false),
            Admitted::No(place) => (place, true),
        };
        let server = self.server.current();
        match &server.tls {
            None => http::serve(self, Socket::new(stream), place, is_full, accepted).await,
            Some(tls) => {
                if let Some(stream) = tls.accept(stream, server.handshake_timeout).await {
                    http::serve(self, stream, place, is_full, accepted).await;
                }
            }
        }
    }
}
