//! Where the nodes are, as clients know it: what DNS or a balancer would be.

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

/// What a narrow socket holds, bytes.
const NARROW: u32 = 4096;

/// A node's two listeners.
#[derive(Clone, Copy)]
pub struct Door {
    pub public: SocketAddr,
    pub internal: SocketAddr,
}

/// Shared by all clients. A node that ended stays in it until another takes its place, as in life.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<Vec<Door>>>);

impl Doors {
    pub fn set(&self, number: usize, door: Door) {
        let mut all = self.0.lock().expect("no code panics with the doors");
        match all.get_mut(number) {
            Some(old) => *old = door,
            None => all.push(door),
        }
    }

    pub fn any(&self, random: &mut StdRng) -> Door {
        let all = self.0.lock().expect("no code panics with the doors");
        *all.choose(random).expect("nodes were started before their clients")
    }

    /// Opens `path` at any node.
    pub async fn open(
        &self,
        random: &mut StdRng,
        path: &str,
        narrow: bool,
    ) -> Result<(Door, Socket, Response), String> {
        let door = self.any(random);
        match timeout(UPGRADE_TIME_MAX, upgrade(door.public, path, narrow)).await {
            Ok(Ok((socket, response))) => Ok((door, socket, response)),
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
