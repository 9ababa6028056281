//! A Redis server of the test's own, without persistence.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use ::redis::AsyncConnectionConfig;
use ::redis::aio::{MultiplexedConnection, PubSub};
use futures_util::StreamExt;
use tempfile::TempDir;

use super::process::{Process, Signal};
use super::{eventually, soon};

/// Below the ports that systems give to outgoing connections, so that a server that is started again
/// finds its port free.
const PORTS: std::ops::Range<u16> = 16_400..32_700;

pub struct Redis {
    pub address: SocketAddr,
    directory: TempDir,
    process: Option<Process>,
}

impl Redis {
    pub async fn start() -> Self {
        let mut redis = Self::absent();
        redis.run().await;
        redis
    }

    /// A server that is yet to come: it has its port, and nobody listens there.
    pub fn absent() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { address: free_address(), directory, process: None }
    }

    pub async fn run(&mut self) {
        self.run_with(&[]).await;
    }

    /// With more settings, as on its command line.
    pub async fn run_with(&mut self, settings: &[&str]) {
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .arg("--dir")
            .arg(self.directory.path())
            .args(settings);
        let mut process = Process::spawn("redis-server", &mut command);
        eventually("redis-server to answer PING", async || {
            assert!(process.has_ended().is_none(), "{:?}", process.stdout());
            answers_ping(self.address).then_some(())
        })
        .await;
        self.process = Some(process);
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// It hangs: connected, and silent.
    pub fn freeze(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::CONT);
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub async fn connection(&self) -> MultiplexedConnection {
        let client = ::redis::Client::open(self.url()).expect("a url");
        // What takes too long is found by whoever waits for it.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        soon("a connection to Redis", connecting).await.expect("Redis is there")
    }

    /// A service that publishes; returns how many nodes and services got it.
    pub async fn publish(&self, channel: &str, payload: impl AsRef<[u8]>) -> u64 {
        let mut connection = self.connection().await;
        let mut command = ::redis::cmd("PUBLISH");
        command.arg(format!("tidegate:{channel}")).arg(payload.as_ref());
        soon("PUBLISH", command.query_async(&mut connection)).await.expect("Redis publishes")
    }

    /// How many connections subscribe to the channel, as Redis knows it.
    pub async fn subscribers(&self, channel: &str) -> u64 {
        let mut connection = self.connection().await;
        let mut command = ::redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(format!("tidegate:{channel}"));
        let counts: Vec<(String, u64)> =
            soon("NUMSUB", command.query_async(&mut connection)).await.expect("Redis counts");
        counts[0].1
    }

    /// A section of what Redis says of itself.
    pub async fn info(&self, section: &str) -> String {
        let mut connection = self.connection().await;
        let mut command = ::redis::cmd("INFO");
        command.arg(section);
        soon("INFO", command.query_async(&mut connection)).await.expect("Redis says")
    }

    /// Cuts off all who subscribe; returns how many.
    pub async fn kill_subscribers(&self) -> u64 {
        let mut connection = self.connection().await;
        let mut command = ::redis::cmd("CLIENT");
        command.arg(&["KILL", "TYPE", "pubsub"]);
        soon("CLIENT KILL", command.query_async(&mut connection)).await.expect("Redis kills")
    }

    /// A service that subscribes.
    pub async fn listener(&self, channel: &str) -> Listener {
        let client = ::redis::Client::open(self.url()).expect("a url");
        let mut pubsub =
            soon("a connection to Redis", client.get_async_pubsub()).await.expect("Redis is there");
        let subscribing = pubsub.subscribe(format!("tidegate:{channel}"));
        soon("SUBSCRIBE", subscribing).await.expect("Redis subscribes");
        Listener(pubsub)
    }
}

pub struct Listener(PubSub);

impl Listener {
    /// The next message, as it is on Redis.
    pub async fn hears(&mut self) -> Vec<u8> {
        let message = soon("a message of Redis", self.0.on_message().next()).await;
        message.expect("the connection lasts").get_payload_bytes().to_vec()
    }
}

/// Asks a server once.
pub async fn ask<T: ::redis::FromRedisValue>(
    address: SocketAddr,
    question: &[&str],
) -> ::redis::RedisResult<T> {
    let client = ::redis::Client::open(format!("redis://{address}"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut command = ::redis::Cmd::new();
    question.iter().for_each(|word| _ = command.arg(*word));
    command.query_async(&mut connection).await
}

fn answers_ping(address: SocketAddr) -> bool {
    let ping = || -> std::io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ping().is_ok_and(|answer| &answer == b"+PONG")
}

/// An address that no other test of this process gets, and nobody listens on now.
pub fn free_address() -> SocketAddr {
    static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(PORTS)));
        if TcpListener::bind(address).is_ok() && TAKEN.lock().unwrap().insert(address.port()) {
            return address;
        }
    }
}
