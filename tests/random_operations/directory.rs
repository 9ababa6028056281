//! The nodes' addresses for clients, in place of DNS or a load balancer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;

pub type Socket = WebSocketStream<TcpStream>;

/// The longest a client waits for an upgrade.
const UPGRADE_TIME_MAX: Duration = Duration::from_secs(4);

/// The receive buffer of a narrow socket, in bytes.
const NARROW: u32 = 4096;

/// The addresses of a node's two listeners.
#[derive(Clone, Copy)]
pub struct NodeAddresses {
    pub public: SocketAddr,
    pub internal: SocketAddr,
}

/// Shared by all clients. A node that ended stays in it until it is replaced, as in DNS.
#[derive(Clone, Default)]
pub struct Directory(Arc<Mutex<Vec<NodeAddresses>>>);

impl Directory {
    pub fn set(&self, number: usize, node: NodeAddresses) {
        let mut all = self.0.lock().expect("no panic while the lock is held");
        match all.get_mut(number) {
            Some(old) => *old = node,
            None => all.push(node),
        }
    }

    pub fn any(&self, random: &mut StdRng) -> NodeAddresses {
        let all = self.0.lock().expect("no panic while the lock is held");
        *all.choose(random).expect("nodes were started before their clients")
    }

    /// Opens a WebSocket for `path` on a random node, with a small receive buffer if `narrow`.
    pub async fn open(
        &self,
        random: &mut StdRng,
        path: &str,
        narrow: bool,
    ) -> Result<(NodeAddresses, Socket, Response), String> {
        let node = self.any(random);
        match timeout(UPGRADE_TIME_MAX, upgrade(node.public, path, narrow)).await {
            Ok(Ok((socket, response))) => Ok((node, socket, response)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no upgrade in time".to_owned()),
        }
    }
}

async fn upgrade(
    address: SocketAddr,
    path: &str,
    narrow: bool,
) -> Result<(Socket, Response), Error> {
    let socket = TcpSocket::new_v4()?;
    if narrow {
        socket.set_recv_buffer_size(NARROW)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!("ws://{address}{path}").into_client_request()?;
    tokio_tungstenite::client_async(request, stream).await
}
