//! The load generator: many connections on one epoll and one thread.
//!
//! Its CPU cost is small compared with that of the measured node: edge-triggered events, one large read buffer for all
//! connections, frames skipped by their lengths, and no parsing that a measurement does not need.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{Connection, Phase, Request};

/// A measurement fails after this long without progress.
pub const STALL_MAX: Duration = Duration::from_secs(20);

/// Connections in progress at a time in measurements of something else: below any usual accept backlog.
pub const CONNECTING_MAX: usize = 256;

/// The most bytes of one read.
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

    /// Opens a connection for each of `requests`; fails if the upgrade of one fails.
    pub fn connected(to: SocketAddr, requests: &[Request]) -> Result<Self> {
        let mut clients = Self::new()?;
        let failures = clients.connect(to, requests, CONNECTING_MAX)?;
        match failures.first() {
            Some(first) => bail!(
                "{} of {} connections failed, the first: {first}",
                failures.len(),
                requests.len()
            ),
            None => Ok(clients),
        }
    }

    /// Connects and upgrades, `at_once_max` connections at a time, and returns the failures. Drops the frames that a node
    /// sends before all connections are open, such as the json protocol's welcome.
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
                .record(settled as u64)
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

    /// Waits up to `wait` for events and passes each data frame, with its connection's number, to `received`. Fails when a
    /// connection has ended: no measurement expects that.
    #[inline]
    pub fn turn(&mut self, wait: Duration, received: impl FnMut(usize, &[u8])) -> Result<()> {
        self.step(wait, received)?;
        match self.failures.first() {
            Some(first) => bail!("{} connections lost, the first: {first}", self.failures.len()),
            None => Ok(()),
        }
    }

    /// Discards what a node sends after a connection's start. Some of it arrived with the upgrade and was dropped, so it cannot
    /// be counted: waits until no more arrives.
    pub fn discard_until_quiet(&mut self) -> Result<()> {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < Duration::from_millis(100) {
            self.turn(Duration::from_millis(10), |_, _| quiet_since = Instant::now())?;
        }
        Ok(())
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

    /// Sends the queued bytes of one connection. `turn` sends the rest when the socket is writable again.
    pub fn flush(&mut self, number: usize) -> Result<()> {
        if let Err(reason) = self.connections[number].write() {
            bail!("connection {number}: {reason}");
        }
        Ok(())
    }
}

/// Detects a stall: it bounds every wait of the bench.
pub struct Progress {
    count: u64,
    since: Instant,
}

impl Progress {
    pub fn new() -> Self {
        Self { count: 0, since: Instant::now() }
    }

    /// Fails when `count` has been the same for `STALL_MAX`.
    pub fn record(&mut self, count: u64) -> Result<()> {
        if count != self.count {
            *self = Self { count, since: Instant::now() };
        } else if self.since.elapsed() > STALL_MAX {
            bail!("no progress for {} s", STALL_MAX.as_secs());
        }
        Ok(())
    }
}
