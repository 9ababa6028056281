//! A proxy between a node and Redis that can silently stop delivering to subscriptions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::redis::Redis;

pub struct Proxy {
    address: SocketAddr,
    /// Applies to the connections that exist now.
    muted: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn in_front_of(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (to, muted) = (redis.address, Arc::new(AtomicBool::new(false)));
        let mute = muted.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                if let Ok(redis) = TcpStream::connect(to).await {
                    // Connections opened after the mute are not muted.
                    let mute = match mute.load(Ordering::Relaxed) {
                        true => Arc::default(),
                        false => mute.clone(),
                    };
                    forward(node, redis, mute);
                }
            }
        });
        Self { address, muted, accepting }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on subscribed connections receive nothing; they stay open.
    pub fn mute_subscribers(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn forward(node: TcpStream, redis: TcpStream, muted: Arc<AtomicBool>) {
    let (from_node, to_node) = node.into_split();
    let (from_redis, to_redis) = redis.into_split();
    let subscribed = Arc::new(AtomicBool::new(false));
    let subscribes = subscribed.clone();
    tokio::spawn(copy(from_node, to_redis, move |bytes| {
        if bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
            subscribes.store(true, Ordering::Relaxed);
        }
        true
    }));
    tokio::spawn(copy(from_redis, to_node, move |_| {
        !(subscribed.load(Ordering::Relaxed) && muted.load(Ordering::Relaxed))
    }));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, passes: impl Fn(&[u8]) -> bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if passes(&bytes[..read]) && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
