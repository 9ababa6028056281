//! From an accepted socket to its first request: applies the limits, reads the PROXY header, and refuses
//! clients.

use std::convert::Infallible;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Config;
use super::admitted_connection::AdmittedConnection;
use super::client::Peer;
use super::connection_refusal::{self, ConnectionRefusal};
use super::http;
use super::http2;
use super::proxy_header;
use super::public::Public;
use super::socket::SharedSocket;
use crate::listener::{self, Listener};
use crate::telemetry::{self, Rejected};
use crate::tls;

/// How long a refused client has for its first bytes, which show the version of HTTP. One that sends nothing gets
/// the refusal of HTTP/1.1.
const PREFACE_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a connection is not admitted.
pub enum AdmissionError {
    /// It is refused with a response.
    Refused(ConnectionRefusal, Option<IpAddr>),
    /// It is closed without a response: its bytes are not of a protocol of this listener.
    Invalid,
}

impl Public {
    /// Accepts connections without end.
    pub async fn serve(self: Arc<Self>, listener: Listener) -> Infallible {
        listener::accept(listener, |stream, peer| {
            tokio::spawn(self.clone().handshake(stream, peer));
        })
        .await
    }

    /// Handles an accepted socket.
    async fn handshake(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr) {
        let has_proxy_header = self.server.get().proxy_protocol;
        match self.admit_connection(&mut stream, peer, has_proxy_header).await {
            Ok(admitted) => self.serve_admitted(stream, admitted).await,
            Err(AdmissionError::Refused(refusal, client)) => {
                refusal.count(client);
                if let Some(_telling) = self.admission.refusal_permit() {
                    Box::pin(self.send_refusal(refusal, stream)).await;
                }
            }
            Err(AdmissionError::Invalid) => {}
        }
    }

    /// Serves the version of HTTP that the client speaks.
    async fn serve_admitted(self: Arc<Self>, stream: TcpStream, admitted: AdmittedConnection) {
        let (tls, http2) = {
            let server = self.server.get();
            (server.tls.clone(), server.http2)
        };
        let Some(tls) = tls else {
            let is_http2 = http2
                && timeout_at(admitted.deadline, http2::preface_is_next(&stream)).await == Ok(true);
            let stream = SharedSocket::new(stream);
            return match is_http2 {
                // In a task of its own, because a task is as large as the largest future that it awaits.
                true => drop(tokio::spawn(http2::serve(self, stream, admitted))),
                false => http::serve(self, stream, admitted).await,
            };
        };
        let left = admitted.deadline.saturating_duration_since(Instant::now());
        // Boxed for the same reason.
        let Some(stream) = Box::pin(tls.accept(stream, left)).await else { return };
        match tls::speaks_http2(&stream) {
            true => drop(tokio::spawn(http2::serve(self, stream, admitted))),
            false => http::serve(self, stream, admitted).await,
        }
    }

    /// Sends a refusal in the version of HTTP that the client speaks, over TLS if the listener uses it.
    async fn send_refusal(&self, refusal: ConnectionRefusal, stream: TcpStream) {
        let server = self.server.current();
        match &server.tls {
            None => {
                let is_http2 = server.http2
                    && timeout(PREFACE_TIMEOUT, http2::preface_is_next(&stream)).await == Ok(true);
                match is_http2 {
                    true => http2::refuse(refusal, stream).await,
                    false => refusal.send(stream).await,
                }
            }
            // The PROXY header may not have been read yet.
            Some(_) if server.proxy_protocol => {}
            Some(tls) => {
                // A TLS handshake costs the very resources that the rate limits protect.
                if !refusal.is_rate_limit()
                    && self.admission.handshake().is_ok()
                    && let Some(stream) =
                        tls.accept(stream, connection_refusal::REFUSAL_TIMEOUT).await
                {
                    match tls::speaks_http2(&stream) {
                        true => http2::refuse(refusal, stream).await,
                        false => refusal.send(stream).await,
                    }
                }
            }
        }
    }

    /// Applies all limits and reads the PROXY header, if there is one, before the client's own bytes are read.
    pub(super) async fn admit_connection(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        has_proxy_header: bool,
    ) -> Result<AdmittedConnection, AdmissionError> {
        let accepted = Instant::now();
        let server = self.server.current();
        let deadline = accepted + server.handshake_timeout;
        let away = |client| move |refusal| AdmissionError::Refused(refusal, client);
        let slot = self.admission.admit().map_err(away(None))?;
        let mut peer = Peer::of_socket(peer.ip(), &server.trusted_proxies);
        if has_proxy_header {
            // Boxed, because a task is as large as the largest future that it awaits.
            peer = Box::pin(peer_behind(stream, peer, &server, deadline)).await?;
        }
        let address_slot = match peer.client() {
            Some(client) => self.admission.admit_client(client).map_err(away(Some(client)))?,
            None => None,
        };
        self.admission.handshake().map_err(away(peer.client()))?;
        Ok(AdmittedConnection { peer, slot, address_slot, accepted, deadline })
    }
}

/// Reads the PROXY header of the balancer `peer`, and returns the peer behind it.
async fn peer_behind(
    stream: &mut TcpStream,
    peer: Peer,
    server: &Config,
    deadline: Instant,
) -> Result<Peer, AdmissionError> {
    let cut_off = |why: &dyn Display| {
        telemetry::rejected(Rejected::ProxyProtocol, why);
        AdmissionError::Invalid
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
