//! A Redis server of the test's own, without persistence unless it is asked for.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{AsyncConnectionConfig, FromRedisValue};
use futures_util::StreamExt;
use tempfile::TempDir;

use super::network::Network;
use super::process::{Process, Signal};
use super::{eventually, soon};

/// Below the ports that systems give to outgoing connections, so that a server that is started again
/// finds its port free.
pub const PORTS: Range<u16> = 16_400..32_700;

/// A cluster's servers talk to each other on the port 10,000 above, which must lie below those too.
const CLUSTER_PORTS: Range<u16> = 16_400..22_700;

pub struct Redis {
    pub address: SocketAddr,
    directory: TempDir,
    process: Option<Process>,
    arguments: Vec<String>,
    /// What goes before `redis-server`: how to enter the network it runs in.
    entrance: Vec<String>,
}

impl Redis {
    pub async fn start() -> Self {
        let mut redis = Self::absent();
        redis.run().await;
        redis
    }

    /// A server that is yet to come: it has its port, and nobody listens there.
    pub fn absent() -> Self {
        Self::absent_with(&[])
    }

    /// The same, with arguments of redis-server that it has whenever it runs.
    pub fn absent_with(arguments: &[&str]) -> Self {
        Self::at(free_address(PORTS), &[], &[&["--bind", "127.0.0.1"], arguments].concat())
    }

    /// A server of a cluster that is yet to be made.
    pub fn absent_of_cluster(arguments: &[&str]) -> Self {
        Self::at(free_address(CLUSTER_PORTS), &[], &[&["--bind", "127.0.0.1"], arguments].concat())
    }

    /// A server within a network of its own, reached through every link of it.
    pub fn absent_within(network: &Network, reached: Ipv4Addr, arguments: &[&str]) -> Self {
        let open: &[&str] = &["--bind", "0.0.0.0", "--protected-mode", "no"];
        let address = SocketAddr::from((reached, 6379));
        Self::at(address, &network.entrance(), &[open, arguments].concat())
    }

    fn at(address: SocketAddr, entrance: &[String], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        Self { address, directory, process: None, arguments, entrance: entrance.to_vec() }
    }

    pub async fn run(&mut self) {
        self.run_with(&[]).await;
    }

    /// Runs it with more arguments this time.
    pub async fn run_with(&mut self, more: &[String]) {
        let mut words = self.entrance.clone();
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

    pub fn is_running(&self) -> bool {
        self.process.is_some()
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

    /// Asks it anything.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connection().await;
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer = soon(words[0], command.query_async(&mut connection)).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A field of `INFO`.
    pub async fn info(&self, section: &str, field: &str) -> Option<String> {
        let text: String = self.ask(&["INFO", section]).await;
        let value = |line: &str| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned());
        text.lines().find_map(value)
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

    /// Cuts off all who subscribe; returns how many.
    pub async fn kill_subscribers(&self) -> u64 {
        self.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await
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
pub async fn ask<T: FromRedisValue>(
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
pub fn free_address(ports: Range<u16>) -> SocketAddr {
    static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(ports.clone())));
        if TcpListener::bind(address).is_ok() && TAKEN.lock().unwrap().insert(address.port()) {
            return address;
        }
    }
}
