//! Sockets: accepting them, answering HTTP, handing what becomes a WebSocket over to a session.
//! Knows nothing of what is said on them.

mod addresses;
mod admission;
mod client;
mod converse;
mod credentials;
mod demo;
mod http;
mod networks;
mod origin;
pub mod proxy_header;
mod refusal;
mod request;
mod socket;
mod websocket;

use std::convert::Infallible;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use self::addresses::Visit;
use self::admission::{Admission, Place};
pub use self::admission::{OWN_FILES, RESERVED_FILES, open_file_limit, tell_of_places};
use self::client::Peer;
pub use self::demo::{Demo, Publishing};
use self::networks::Networks;
pub use self::origin::Origins;
use self::refusal::Refusal;
use self::socket::Socket;
/// For the fuzz targets.
#[doc(hidden)]
pub use self::websocket::Decoder;
use crate::drain::{Drain, Phase};
use crate::limits::Limits;
use crate::listener::{self, Listener};
use crate::live::Live;
use crate::memory::Memory;
use crate::session::Context;
use crate::settings::{ListenAddress, Settings};
use crate::telemetry::{self, Rejected};
use crate::tls;

/// The `[server]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: ListenAddress,
    pub origins: Origins,
    /// Whose word counts on who a client is.
    pub trusted_proxies: Networks,
    pub proxy_protocol: bool,
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
            "Pages of other hosts that may connect; those of the same host and port always may, and \
             where `listen` is loopback those of loopback hosts on any port, but of no other name. \
             `*` lets every page in. Clients that are no browsers send no origin and are not asked.",
        );
        let trusted_proxies = section.list(
            "trusted_proxies",
            "a list of IP addresses and CIDR networks, such as 10.0.0.0/8 or 2001:db8::1",
            networks::is_network,
            "Proxies whose `X-Forwarded-For` and `X-Forwarded-Host` are believed, and who alone may \
             send a PROXY header.",
        );
        let proxy_protocol = section.flag(
            "proxy_protocol",
            Some(false),
            "Every connection begins with a PROXY header, version 1 or 2, as a TCP balancer sends \
             it. Without `trusted_proxies` it is believed of everybody.",
        );
        let handshake_timeout = section.duration(
            "handshake_timeout",
            "10s",
            Duration::from_millis(100)..=Duration::from_secs(600),
            "A connection whose request has not arrived whole by then is cut off; TLS and a PROXY \
             header count in.",
        );
        let tls = tls::Server::read(&mut section);
        Self {
            listen,
            origins: Origins::new(&origins),
            trusted_proxies: Networks::new(&trusted_proxies),
            proxy_protocol: proxy_protocol.unwrap_or_default(),
            handshake_timeout,
            tls,
        }
    }
}

/// The public listener: what every connection needs to be answered.
pub struct Public {
    context: Arc<Context>,
    server: Live<Config>,
    demo: Option<Demo>,
    /// Can only this host reach the listener, whatever the configuration says by now?
    on_loopback: bool,
    admission: Arc<Admission>,
    drain: Drain,
}

/// A connection that may go on to its requests.
struct Visitor {
    peer: Peer,
    place: Place,
    /// None: each request's own client is counted, or none is.
    visit: Option<Visit>,
    accepted: Instant,
    /// When its first request is to have arrived.
    deadline: Instant,
}

/// A connection that may not.
enum Turned {
    /// It is told so.
    Away(Refusal, Option<IpAddr>),
    /// It is cut off: what it sent is not what this listener speaks.
    CutOff,
}

impl Public {
    pub fn new(
        server: Live<Config>,
        limits: Limits,
        memory: Memory,
        demo: Option<Demo>,
        context: Arc<Context>,
        drain: Drain,
    ) -> Self {
        let on_loopback = server.get().listen.ip().is_loopback();
        let admission = Admission::new(limits, memory);
        Self { context, server, demo, on_loopback, admission, drain }
    }

    /// Would the next client be refused because there are as many as may be?
    pub fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// Accepts for ever.
    pub async fn serve(self: Arc<Self>, listener: Listener) -> Infallible {
        listener::accept(listener, |stream, peer| {
            tokio::spawn(self.clone().handshake(stream, peer));
        })
        .await
    }

    /// Nobody new is let in once connections are being closed, on whatever connection it asks.
    fn check_phase(&self) -> Result<(), Refusal> {
        match self.drain.phase() {
            Phase::Serving | Phase::Leaving => Ok(()),
            Phase::Draining => Err(Refusal::Draining),
        }
    }

    /// From an accepted socket to its requests.
    async fn handshake(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr) {
        match self.enter(&mut stream, peer).await {
            Ok(visitor) => {
                let tls = self.server.get().tls.clone();
                let left = visitor.deadline.saturating_duration_since(Instant::now());
                match tls {
                    None => http::serve(self, Socket::new(stream), visitor).await,
                    Some(tls) => {
                        // In a box, because a task is as large as the largest thing it ever waits
                        // for; so is what follows.
                        if let Some(stream) = Box::pin(tls.accept(stream, left)).await {
                            http::serve(self, stream, visitor).await;
                        }
                    }
                }
            }
            Err(Turned::Away(refusal, client)) => {
                refusal.count(client);
                if let Some(_telling) = self.admission.telling() {
                    Box::pin(self.tell(refusal, stream)).await;
                }
            }
            Err(Turned::CutOff) => {}
        }
    }

    /// Says why, within TLS where the client speaks it.
    async fn tell(&self, refusal: Refusal, stream: TcpStream) {
        let server = self.server.current();
        match &server.tls {
            None => refusal.tell(stream).await,
            // Its header may not have been read.
            Some(_) if server.proxy_protocol => {}
            Some(tls) => {
                // A handshake of TLS costs what rates are there to save.
                if !refusal.is_of_rate()
                    && self.admission.handshake().is_ok()
                    && let Some(stream) = tls.accept(stream, refusal::REFUSAL_TIMEOUT).await
                {
                    refusal.tell(stream).await;
                }
            }
        }
    }

    /// All that is asked of a connection before its own bytes are looked at.
    async fn enter(&self, stream: &mut TcpStream, peer: SocketAddr) -> Result<Visitor, Turned> {
        let accepted = Instant::now();
        let server = self.server.current();
        let deadline = accepted + server.handshake_timeout;
        let away = |client| move |refusal| Turned::Away(refusal, client);
        let place = self.admission.place().map_err(away(None))?;
        let mut peer = Peer::of_socket(peer.ip(), &server.trusted_proxies);
        if server.proxy_protocol {
            // In a box, because a task is as large as the largest thing it ever waits for.
            peer = Box::pin(behind(stream, peer, &server, deadline)).await?;
        }
        let visit = match peer.client() {
            Some(client) => self.admission.visit(client).map_err(away(Some(client)))?,
            None => None,
        };
        self.admission.handshake().map_err(away(peer.client()))?;
        Ok(Visitor { peer, place, visit, accepted, deadline })
    }
}

/// Who is at the other end of the balancer that `peer` is.
async fn behind(
    stream: &mut TcpStream,
    peer: Peer,
    server: &Config,
    deadline: Instant,
) -> Result<Peer, Turned> {
    let cut_off = |why: &dyn Display| {
        telemetry::rejected(Rejected::ProxyProtocol, why);
        Turned::CutOff
    };
    if !peer.is_proxy() && !server.trusted_proxies.is_empty() {
        return Err(cut_off(&"the peer is not in server.trusted_proxies"));
    }
    match timeout_at(deadline, proxy_header::read(stream)).await {
        Ok(Ok(header)) => Ok(peer.behind(header, &server.trusted_proxies)),
        Ok(Err(error)) => Err(cut_off(&error)),
        Err(_) => Err(cut_off(&"no PROXY header in time")),
    }
}
