//! The floor: the least that a program must do to write one publication to many sockets.
//!
//! One thread, one epoll, and for each publication one `write` of the same pre-encoded frame to each socket. No
//! Redis, no routing, no queues, no heartbeats: a publication is one byte on a control connection. It runs in its
//! own process (this binary again), so that it is measured in the same way as a node.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::connection::ACCEPT;
use crate::cores::Cores;
use crate::frame;
use crate::process::Process;

/// The argument with which this binary runs as the floor's server.
pub const ARGUMENT: &str = "--floor-server";

/// The floor's server as a child process of the bench.
pub struct Floor {
    pub process: Process,
    pub address: SocketAddr,
    pub control: Control,
}

/// The connection that requests publications, one byte each.
pub struct Control(std::net::TcpStream);

impl Floor {
    /// Starts the server, which publishes `payload`.
    pub fn start(payload: &str, cores: Cores) -> Result<Self> {
        let bench = std::env::current_exe().context("the path of this bench")?;
        let mut command = cores.command(bench);
        command.args([ARGUMENT, payload]).stdout(Stdio::piped());
        let mut process = Process::spawn("the floor", &mut command)?;
        let stdout = process.stdout().context("the floor's standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("reading the floor's address")?;
        let address =
            line.trim().parse().with_context(|| format!("the floor's address {line:?}"))?;
        let control = std::net::TcpStream::connect(address).context("connecting to the floor")?;
        control.set_nodelay(true).context("TCP_NODELAY")?;
        Ok(Self { process, address, control: Control(control) })
    }
}

impl Control {
    pub fn publish(&mut self, publications: u64) -> Result<()> {
        let bytes = vec![0; publications as usize];
        self.0.write_all(&bytes).context("publishing through the floor")
    }
}

const LISTENER: Token = Token(usize::MAX);

/// The control connection, which connects before any client.
const CONTROL: Token = Token(0);

/// Runs the floor's server: prints its address, and returns when the control connection ends.
pub fn serve(payload: &str) -> Result<()> {
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).context("binding")?;
    println!("{}", listener.local_addr().context("the bound address")?);
    let mut frame = Vec::new();
    frame::push_plain(&mut frame, frame::TEXT, payload.as_bytes());
    let mut poll = Poll::new().context("creating an epoll")?;
    let mut events = Events::with_capacity(1024);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).context("registering")?;
    let mut streams: Vec<TcpStream> = Vec::new();
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error).context("waiting for events");
        }
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut streams)?,
                CONTROL => {
                    let Some(publications) = read(&mut streams[0])? else {
                        return Ok(());
                    };
                    for _ in 0..publications.len() {
                        publish(&frame, &mut streams[1..])?;
                    }
                }
                Token(client) => upgrade(&mut streams[client])?,
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, streams: &mut Vec<TcpStream>) -> Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accepting"),
        };
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        let token = Token(streams.len());
        poll.registry().register(&mut stream, token, Interest::READABLE).context("registering")?;
        streams.push(stream);
    }
}

/// Answers the upgrade. It assumes that the request arrives in one read; a client sends nothing after it.
fn upgrade(stream: &mut TcpStream) -> Result<()> {
    match read(stream)? {
        Some(request) if !request.is_empty() => write!(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        )
        .context("answering the upgrade"),
        _ => Ok(()),
    }
}

/// The measured part.
fn publish(frame: &[u8], clients: &mut [TcpStream]) -> Result<()> {
    for client in clients {
        let written = client.write(frame).context("writing to a client")?;
        if written < frame.len() {
            bail!("a client fell behind: publications are too fast for the floor");
        }
    }
    Ok(())
}

/// All bytes that the socket has, or `None` at its end.
fn read(stream: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(bytes)),
        Err(error) => Err(error).context("reading"),
    }
}
