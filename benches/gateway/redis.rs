//! The real redis-server, and the client with which the bench publishes as another service.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cores::Cores;
use crate::process::Process;

pub struct Redis {
    pub process: Process,
    pub address: SocketAddr,
}

impl Redis {
    /// Starts redis-server without persistence and waits until it accepts connections.
    pub fn start(cores: Cores) -> Result<Self> {
        let address = free_address()?;
        let mut command = cores.command("redis-server");
        command
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--loglevel",
                "warning",
            ])
            .args(["--port", &address.port().to_string()])
            .stdout(Stdio::null());
        let mut process = Process::spawn("redis-server", &mut command)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            process.expect_alive()?;
            ensure!(Instant::now() < deadline, "redis-server did not accept within 10 s");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { process, address })
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn publisher(&self) -> Result<Publisher> {
        let stream = TcpStream::connect(self.address).context("connecting to redis-server")?;
        stream.set_nonblocking(true).context("a non-blocking socket")?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        Ok(Publisher { stream, unsent: Vec::new(), sent: 0 })
    }
}

/// An address on which no process listens now. If another process takes it first, the bench fails with an error.
pub fn free_address() -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    listener.local_addr().context("the free port")
}

/// The RESP bytes of `PUBLISH tidegate:<channel> <payload>`, without a header line, as any service may publish.
pub fn publish_command(channel: &str, payload: &[u8]) -> Vec<u8> {
    let key = format!("tidegate:{channel}");
    let mut command =
        format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{key}\r\n${}\r\n", key.len(), payload.len())
            .into_bytes();
    command.extend_from_slice(payload);
    command.extend_from_slice(b"\r\n");
    command
}

/// A pipelined, non-blocking connection to Redis that only publishes.
pub struct Publisher {
    stream: TcpStream,
    unsent: Vec<u8>,
    sent: usize,
}

impl Publisher {
    /// Queues a command; `turn` sends it.
    pub fn push(&mut self, command: &[u8]) {
        self.unsent.extend_from_slice(command);
    }

    /// Sends what the socket accepts, and checks the received replies for errors. Never waits.
    pub fn turn(&mut self) -> Result<()> {
        while self.sent < self.unsent.len() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(more) => self.sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("writing to redis-server"),
            }
        }
        if self.sent == self.unsent.len() {
            self.unsent.clear();
            self.sent = 0;
        }
        self.read_replies()
    }

    /// The queued bytes that are not yet written to the socket.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.sent
    }

    fn read_replies(&mut self) -> Result<()> {
        let mut replies = [0; 16 * 1024];
        loop {
            let read = match self.stream.read(&mut replies) {
                Ok(0) => bail!("redis-server closed the publisher's connection"),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("reading from redis-server"),
            };
            // Each reply is `:<receivers>\r\n`. The number is never negative, so a minus is the start of an error.
            if replies[..read].contains(&b'-') {
                bail!("redis-server answered {}", String::from_utf8_lossy(&replies[..read]));
            }
            if read < replies.len() {
                return Ok(());
            }
        }
    }
}
