//! The nodes' addresses for clients, in place of DNS or a load balancer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use testkit::token;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::subscriber::SocketKind;

/// The longest a client waits for an upgrade.
const UPGRADE_TIME_MAX: Duration = Duration::from_secs(5);

/// The receive buffer of a narrow socket, in bytes.
const NARROW: u32 = 4096;

/// Shared by all clients. A node that ended stays in it until it is replaced, as in DNS.
#[derive(Clone, Default)]
pub struct Directory(Arc<Mutex<Vec<SocketAddr>>>);

impl Directory {
    pub fn set(&self, number: usize, address: SocketAddr) {
        let mut all = self.0.lock().expect("no panic while the lock is held");
        match all.get_mut(number) {
            Some(old) => *old = address,
            None => all.push(address),
        }
    }

    /// An open json session with any node, and that node's name.
    pub async fn connect(
        &self,
        random: &mut StdRng,
        socket_kind: SocketKind,
    ) -> Result<(String, WebSocketStream<TcpStream>), String> {
        let all = self.0.lock().expect("no panic while the lock is held").clone();
        let address = *all.choose(random).ok_or("no node is known")?;
        match timeout(UPGRADE_TIME_MAX, upgrade(address, socket_kind)).await {
            Ok(Ok(socket)) => Ok((address.to_string(), socket)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no upgrade in time".to_owned()),
        }
    }
}

async fn upgrade(
    address: SocketAddr,
    socket_kind: SocketKind,
) -> Result<WebSocketStream<TcpStream>, tokio_tungstenite::tungstenite::Error> {
    let socket = TcpSocket::new_v4()?;
    if socket_kind == SocketKind::Narrow {
        socket.set_recv_buffer_size(NARROW)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!("ws://{address}/ws?token={}", token::for_user("a user", &[]))
        .into_client_request()?;
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    Ok(socket)
}
