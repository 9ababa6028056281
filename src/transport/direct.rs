//! A listener whose clients speak one protocol, without HTTP around it.

mod config;
mod connection;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::Instant;

pub use self::config::DirectConfig;
use self::connection::DirectConnection;
use super::accept::AdmissionError;
use super::admitted_connection::AdmittedConnection;
use super::http::attach;
use super::packet_connection::PacketConnection;
use super::public::Public;
use super::routes;
use super::run_session::run_session;
use super::socket::SharedSocket;
use super::stream::ClientStream;
use crate::listener::{self, Listener};
use crate::live::Live;
use crate::session::{Session, SessionParameters};

impl Public {
    /// Accepts connections without end.
    pub async fn serve_direct(
        self: Arc<Self>,
        listener: Listener,
        config: Live<DirectConfig>,
    ) -> Infallible {
        listener::accept(listener, |stream, peer| {
            tokio::spawn(self.clone().begin(stream, peer, config.clone()));
        })
        .await
    }

    /// Handles an accepted socket. A refused client is not told why: it would have to be asked for its version first.
    async fn begin(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        config: Live<DirectConfig>,
    ) {
        let (has_proxy_header, tls) = {
            let config = config.get();
            (config.proxy_protocol, config.tls.clone())
        };
        let admitted = match self.admit_connection(&mut stream, peer, has_proxy_header).await {
            Ok(admitted) => admitted,
            Err(AdmissionError::Refused(refusal, client)) => return refusal.count(client),
            Err(AdmissionError::Invalid) => return,
        };
        if let Err(refusal) = self.check_phase() {
            return refusal.count(admitted.peer.client());
        }
        self.detect_dead_clients(&stream);
        let Some(tls) = tls else {
            return self.start_session(SharedSocket::new(stream), admitted).await;
        };
        let left = admitted.deadline.saturating_duration_since(Instant::now());
        // Boxed, because a task is as large as the largest future that it awaits.
        if let Some(stream) = Box::pin(tls.accept(stream, left)).await {
            self.start_session(stream, admitted).await;
        }
    }

    /// Makes the kernel ask a silent client whether it is there. A client may promise no packets at all, and the protocol has no
    /// question that a node could ask.
    fn detect_dead_clients(&self, stream: &TcpStream) {
        let config = &self.context.config;
        let keepalive = TcpKeepalive::new().with_time(config.ping_interval);
        // Without it, the kernel's own times are in force.
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }

    /// Starts the client's session, which gets a task of its own, so that the memory of the handshake is freed while the
    /// connection idles.
    async fn start_session(&self, stream: impl ClientStream, admitted: AdmittedConnection) {
        let AdmittedConnection { slot, address_slot, accepted, .. } = admitted;
        let protocol = routes::direct(self.context.config.message_bytes_max).protocol;
        let parameters = SessionParameters {
            protocol,
            token: None,
            echo: true,
            since: Vec::new(),
            closes_on_gap: false,
            run: None,
            refused: None,
        };
        // Only a session that is bound to channels can be refused here.
        let Ok((session, _)) = Session::start(self.context.clone(), parameters).await else {
            return;
        };
        let session = Box::new(session);
        let Some(packets) = session.packets() else { return };
        let stream = attach(&session, stream, accepted);
        let connection = PacketConnection::new(DirectConnection::new(stream), packets);
        tokio::spawn(run_session(session, connection, (slot, address_slot)));
    }
}
