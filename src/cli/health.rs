//! `tidegate health`: what a container's probe needs, without curl in the image, and through TLS where the internal
//! listener speaks it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::internal::Entrance;
use crate::tls;

/// Longest wait for each of connecting, asking and the answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

pub fn run(entrance: &Entrance, ready: bool) -> ExitCode {
    let address = reachable(entrance.listen);
    let path = if ready { "/readyz" } else { "/healthz" };
    match ask(address, entrance.tls.as_ref(), path) {
        Ok((status, body)) => {
            println!("{body}");
            if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("tidegate: no answer from internal.listen = {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A node that listens everywhere is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(
    address: SocketAddr,
    tls: Option<&tls::Files>,
    path: &str,
) -> std::io::Result<(u16, String)> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let answer = match tls {
        None => exchange(stream, address, path)?,
        Some(files) => {
            let config = Arc::new(tls::anybody(files)?);
            let name = ServerName::from(address.ip());
            let session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
            exchange(StreamOwned::new(session, stream), address, path)?
        }
    };
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(std::io::Error::other("the answer is no HTTP")),
    }
}

fn exchange(
    mut stream: impl Read + Write,
    address: SocketAddr,
    path: &str,
) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
