//! The node under test: the release binary in its own process, used only through its public interfaces.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::connection::Request;
use crate::cores::Cores;
use crate::process::Process;
use crate::redis::{Redis, free_address};

/// How long a node may take to become ready, or to confirm its subscriptions.
const SETTLING_MAX: Duration = Duration::from_secs(20);

pub struct Node {
    pub process: Process,
    pub address: SocketAddr,
    /// Of MQTT over TCP.
    pub packets: SocketAddr,
    internal: SocketAddr,
}

impl Node {
    /// Starts a node on `redis` with the defaults of the configuration and waits until `/readyz` reports it ready.
    pub fn start(redis: &Redis, cores: Cores) -> Result<Self> {
        Self::start_with(redis, cores, &[])
    }

    /// The same with further settings.
    pub fn start_with(redis: &Redis, cores: Cores, settings: &[&str]) -> Result<Self> {
        let (address, internal, packets) = (free_address()?, free_address()?, free_address()?);
        // Selects another build to measure, for comparisons.
        let binary = std::env::var("TIDEGATE_BINARY")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_tidegate").into());
        let mut command = cores.command(binary);
        // It is not a setting of the node, which would log a warning about it.
        command.env_remove("TIDEGATE_BINARY");
        for setting in [
            format!("server.listen={address}"),
            format!("internal.listen={internal}"),
            format!("mqtt.listen={packets}"),
            format!("broker.url={}", redis.url()),
            "demo=false".into(),
            "telemetry.log_level=warn".into(),
            // A few connections publish for many.
            "limits.publications_per_second=0".into(),
        ] {
            command.arg("--set").arg(setting);
        }
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        let mut node =
            Self { process: Process::spawn("the node", &mut command)?, address, packets, internal };
        node.wait("the node to be ready", |node| {
            node.process.expect_alive()?;
            Ok(node.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
        })?;
        Ok(node)
    }

    /// Where a client connects.
    pub fn address_for(&self, request: &Request) -> SocketAddr {
        match request {
            Request::Packets(_) => self.packets,
            _ => self.address,
        }
    }

    /// Waits until the node has `subscriptions` and Redis has confirmed their `channels`: the node answers an upgrade before
    /// that, and a publication in between would count as lost.
    pub fn wait_subscribed(&mut self, subscriptions: usize, channels: usize) -> Result<()> {
        self.wait(&format!("{subscriptions} subscriptions to {channels} channels"), |node| {
            Ok(node.metric("tidegate_subscriptions")? == subscriptions as f64
                && node.metric("tidegate_subscriptions_confirmed")? >= channels as f64)
        })
    }

    /// Waits until the node has no connections.
    pub fn wait_disconnected(&mut self) -> Result<()> {
        self.wait("all connections to be closed", |node| {
            Ok(node.metric("tidegate_connections")? == 0.0)
        })
    }

    /// Waits until the node has read `count` publications from its clients.
    pub fn wait_received(&mut self, count: usize) -> Result<()> {
        self.wait(&format!("{count} publications to be received"), |node| {
            Ok(node.metric("tidegate_publications_received_total")? >= count as f64)
        })
    }

    fn wait(
        &mut self,
        what: &str,
        mut reached: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + SETTLING_MAX;
        while !reached(self).with_context(|| format!("waiting for {what}"))? {
            ensure!(Instant::now() < deadline, "waited {} s for {what}", SETTLING_MAX.as_secs());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A metric's value, summed over its labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let metrics = self.get("/metrics")?;
        let values = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let sample = rest.starts_with([' ', '{']).then_some(rest)?;
            sample.rsplit(' ').next()?.parse::<f64>().ok()
        });
        let values: Vec<f64> = values.collect();
        ensure!(!values.is_empty(), "/metrics has no {name}");
        Ok(values.iter().sum())
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream =
            TcpStream::connect(self.internal).context("connecting to the internal listener")?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).context("a read timeout")?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            .context("sending a request")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(|| format!("reading {path}"))?;
        Ok(answer)
    }
}
