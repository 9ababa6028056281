//! A Redis server for a test, without persistence by default.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{AsyncConnectionConfig, FromRedisValue, RedisResult};
use futures_util::StreamExt;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::network::Network;
use crate::process::{Process, Signal};
use crate::{eventually, soon};

/// Below the ephemeral ports of outgoing connections, so that a restarted server finds its port free.
const PORTS: Range<u16> = 16_400..32_700;

pub struct Redis {
    pub address: SocketAddr,
    directory: TempDir,
    process: Option<Process>,
    is_frozen: AtomicBool,
    arguments: Vec<String>,
    /// The command prefix that enters its network namespace.
    enter_command: Vec<String>,
}

impl Redis {
    pub async fn start() -> Self {
        let mut redis = Self::stopped();
        redis.run().await;
        redis
    }

    /// A server that is not running yet, with its port reserved.
    pub fn stopped() -> Self {
        Self::stopped_with(&[])
    }

    /// The same, with arguments of redis-server for each start.
    pub fn stopped_with(arguments: &[&str]) -> Self {
        Self::at(free_address(), &[], &[&["--bind", "127.0.0.1"], arguments].concat())
    }

    /// A server that also supports TLS, at the second address, with a certificate of `authority`. The tests'
    /// own queries use no TLS.
    pub fn stopped_with_tls(authority: &Authority, arguments: &[&str]) -> (Self, SocketAddr) {
        let identity = authority.issue("redis");
        let encrypted = free_address();
        let port = encrypted.port().to_string();
        let path = |path: &std::path::Path| path.to_str().expect("a path").to_owned();
        let (cert, key, ca) =
            (path(&identity.cert), path(&identity.key), path(&authority.certificate_file()));
        let tls = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key];
        let trust = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"];
        (Self::stopped_with(&[&tls[..], &trust, arguments].concat()), encrypted)
    }

    /// A server within a network namespace, reachable through each of its links.
    pub fn stopped_within(network: &Network, reached: Ipv4Addr, arguments: &[&str]) -> Self {
        let open: &[&str] = &["--bind", "0.0.0.0", "--protected-mode", "no"];
        let address = SocketAddr::from((reached, 6379));
        Self::at(address, &network.enter_command(), &[open, arguments].concat())
    }

    fn at(address: SocketAddr, entrance: &[String], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        let entrance = entrance.to_vec();
        let is_frozen = AtomicBool::new(false);
        Self { address, directory, process: None, is_frozen, arguments, enter_command: entrance }
    }

    pub async fn run(&mut self) {
        self.run_with(&[]).await;
    }

    /// Runs it with more arguments this time.
    pub async fn run_with(&mut self, more: &[String]) {
        let mut words = self.enter_command.clone();
        words.push("redis-server".to_owned());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["--port", &self.address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .arg("--dir")
            .arg(self.directory.path())
            .args(&self.arguments)
            .args(more);
        let mut process = Process::spawn("redis-server", command);
        eventually("redis-server to answer PING", async || {
            assert!(process.exit_status().is_none(), "{:?}", process.stdout());
            answers_ping(self.address).then_some(())
        })
        .await;
        self.process = Some(process);
        self.is_frozen = AtomicBool::new(false);
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it runs and is not frozen.
    pub fn is_responsive(&self) -> bool {
        self.is_running() && !self.is_frozen.load(Relaxed)
    }

    /// Stops the process with SIGSTOP: connections stay open and get no replies.
    pub fn freeze(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::STOP);
        self.is_frozen.store(true, Relaxed);
    }

    pub fn thaw(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::CONT);
        self.is_frozen.store(false, Relaxed);
    }

    /// The directory of its data files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub async fn connection(&self) -> MultiplexedConnection {
        soon("a connection to Redis", connect(self.address)).await.expect("Redis is there")
    }

    /// Sends a command that must succeed.
    pub async fn query<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = query(self.address, words).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A field of `INFO`. None if it does not reply: a server that changes its role closes connections.
    pub async fn info(&self, section: &str, field: &str) -> Option<String> {
        let text: String = soon("INFO", query(self.address, &["INFO", section])).await.ok()?;
        let value = |line: &str| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned());
        text.lines().find_map(value)
    }

    /// Publishes as a service; returns the number of nodes and services that received it.
    pub async fn publish(&self, channel: &str, payload: impl AsRef<[u8]>) -> u64 {
        let mut connection = self.connection().await;
        let mut command = ::redis::cmd("PUBLISH");
        command.arg(format!("tidegate:{channel}")).arg(payload.as_ref());
        soon("PUBLISH", command.query_async(&mut connection)).await.expect("Redis publishes")
    }

    /// The number of connections that subscribe to the channel.
    pub async fn subscribers(&self, channel: &str) -> u64 {
        let mut connection = self.connection().await;
        let mut command = ::redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(format!("tidegate:{channel}"));
        let counts: Vec<(String, u64)> =
            soon("NUMSUB", command.query_async(&mut connection)).await.expect("Redis counts");
        counts[0].1
    }

    /// Closes all subscribed connections and returns their number, except those of sentinels, which might
    /// otherwise consider a healthy master failed.
    pub async fn kill_subscribers(&self) -> u64 {
        let clients: String = self.query(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
        let mut killed = 0;
        for client in clients.lines().filter(|client| !client.contains(" name=sentinel-")) {
            let id = client.split(' ').find_map(|field| field.strip_prefix("id="));
            killed += self.query::<u64>(&["CLIENT", "KILL", "ID", id.expect("an id")]).await;
        }
        killed
    }

    /// Subscribes as a service.
    pub async fn subscriber(&self, channel: &str) -> RedisSubscriber {
        let client = ::redis::Client::open(self.url()).expect("a url");
        let mut pubsub =
            soon("a connection to Redis", client.get_async_pubsub()).await.expect("Redis is there");
        let subscribing = pubsub.subscribe(format!("tidegate:{channel}"));
        soon("SUBSCRIBE", subscribing).await.expect("Redis subscribes");
        RedisSubscriber(pubsub)
    }
}

pub struct RedisSubscriber(PubSub);

impl RedisSubscriber {
    /// The next message as Redis delivers it.
    pub async fn receive(&mut self) -> Vec<u8> {
        let message = soon("a message of Redis", self.0.on_message().next()).await;
        message.expect("the connection is open").get_payload_bytes().to_vec()
    }
}

/// Sends a command to a server or a sentinel that may fail.
pub async fn query<T: FromRedisValue>(address: SocketAddr, words: &[&str]) -> RedisResult<T> {
    let mut command = ::redis::cmd(words[0]);
    command.arg(&words[1..]);
    let asking = async { command.query_async(&mut connect(address).await?).await };
    soon(words[0], asking).await
}

async fn connect(address: SocketAddr) -> RedisResult<MultiplexedConnection> {
    let client = ::redis::Client::open(format!("redis://{address}"))?;
    // The caller has the timeout.
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
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

/// A free address that no other test of this process gets.
pub fn free_address() -> SocketAddr {
    static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(PORTS)));
        if TcpListener::bind(address).is_ok() && TAKEN.lock().unwrap().insert(address.port()) {
            return address;
        }
    }
}
