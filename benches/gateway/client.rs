//! The load generator: many connections on one epoll and one thread.
//!
//! It is written to cost little beside the node it measures: edge-triggered events, one large read buffer for all,
//! frames walked by their lengths, nothing parsed that a measurement does not need.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{Connection, Phase, Request};

/// The longest without any progress before a measurement is given up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How many connections are being made at a time, where a measurement does not care: below any usual backlog.
pub const GENTLY: usize = 256;

/// One read takes up to this much.
const SCRATCH_BYTES: usize = 512 * 1024;

pub struct Clients {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
    open: usize,
    failures: Vec<String>,
}

impl Clients {
    pub fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new().context("creating an epoll")?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            open: 0,
            failures: Vec::new(),
        })
    }

    /// As many connections as `requests`, all upgraded; fails if one is not.
    pub fn connected(to: SocketAddr, requests: &[Request]) -> Result<Self> {
        let mut clients = Self::new()?;
        let failures = clients.connect(to, requests, GENTLY)?;
        match failures.first() {
            Some(first) => bail!(
                "{} of {} connections failed, the first: {first}",
                failures.len(),
                requests.len()
            ),
            None => Ok(clients),
        }
    }

    /// Connects and upgrades, `at_once_max` of them at a time, and tells what failed; what a node sends before all
    /// are open (the json protocol's welcome) is dropped.
    pub fn connect(
        &mut self,
        to: SocketAddr,
        requests: &[Request],
        at_once_max: usize,
    ) -> Result<Vec<String>> {
        let mut progress = Progress::new();
        let mut started = 0;
        loop {
            let settled = self.open + self.failures.len();
            if settled >= requests.len() {
                return Ok(std::mem::take(&mut self.failures));
            }
            while started < requests.len() && started - settled < at_once_max {
                self.start(to, &requests[started])?;
                started += 1;
            }
            self.step(Duration::from_millis(100), |_, _| {})?;
            progress
                .made(settled as u64)
                .with_context(|| format!("{} of {} connections open", self.open, requests.len()))?;
        }
    }

    fn start(&mut self, to: SocketAddr, request: &Request) -> Result<()> {
        let mut stream = TcpStream::connect(to).context("opening a socket")?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        let token = Token(self.connections.len());
        self.poll
            .registry()
            .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
            .context("registering a socket")?;
        self.connections.push(Connection::new(stream, request));
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Waits up to `wait` for news and hands over each data frame with its connection's number. Fails when a
    /// connection has ended: no measurement expects that.
    #[inline]
    pub fn turn(&mut self, wait: Duration, received: impl FnMut(usize, &[u8])) -> Result<()> {
        self.step(wait, received)?;
        match self.failures.first() {
            Some(first) => bail!("{} connections lost, the first: {first}", self.failures.len()),
            None => Ok(()),
        }
    }

    fn step(&mut self, wait: Duration, mut received: impl FnMut(usize, &[u8])) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled.context("waiting for events")?,
        }
        for event in &self.events {
            let Token(number) = event.token();
            let connection = &mut self.connections[number];
            let phase = connection.phase;
            if phase == Phase::Closed {
                continue;
            }
            let mut outcome = Ok(());
            if event.is_writable() {
                outcome = connection.write();
            }
            if outcome.is_ok() && event.is_readable() {
                outcome =
                    connection.read(&mut self.scratch, event.is_read_closed(), &mut |payload| {
                        received(number, payload);
                    });
            }
            if phase != Phase::Open && connection.phase == Phase::Open {
                self.open += 1;
            }
            if let Err(reason) = outcome {
                connection.phase = Phase::Closed;
                self.failures.push(format!("connection {number}: {reason}"));
            }
        }
        Ok(())
    }

    /// Queues a text message on one connection; `flush` sends it.
    pub fn push(&mut self, number: usize, text: &[u8]) {
        self.connections[number].push_text(text);
    }

    /// Sends what is queued on one connection; what the socket does not take now follows by itself.
    pub fn flush(&mut self, number: usize) -> Result<()> {
        if let Err(reason) = self.connections[number].write() {
            bail!("connection {number}: {reason}");
        }
        Ok(())
    }
}

/// Gives up on what stands still: every wait of the bench is bounded by it.
pub struct Progress {
    count: u64,
    since: Instant,
}

impl Progress {
    pub fn new() -> Self {
        Self { count: 0, since: Instant::now() }
    }

    /// Fails when `count` has been the same for `PATIENCE`.
    pub fn made(&mut self, count: u64) -> Result<()> {
        if count != self.count {
            *self = Self { count, since: Instant::now() };
        } else if self.since.elapsed() > PATIENCE {
            bail!("no progress for {} s", PATIENCE.as_secs());
        }
        Ok(())
    }
}
