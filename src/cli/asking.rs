//! Asking a node on this host, at its internal listener: without curl, which the image lacks, and through TLS where that
//! is spoken.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{Failure, print};
use crate::internal::Entrance;
use crate::tls;

/// Longest wait for each of connecting, asking and the answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Prints what the node answers to `method` (GET or POST) of `path`. Succeeds where its status is a success.
pub fn ask(entrance: &Entrance, method: &str, path: &str) -> Result<ExitCode, Failure> {
    let address = reachable(entrance.listen);
    let authorization = match &entrance.api_key {
        Some(key) => format!("Authorization: Bearer {key}\r\n"),
        None => String::new(),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Content-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    match answer(address, entrance.tls.as_ref(), &request) {
        Ok((status, body)) => {
            print(format!("{body}\n"))?;
            let is_success = (200..300).contains(&status);
            Ok(if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            eprintln!("tidegate: no answer from internal.listen = {address}: {error}");
            Ok(ExitCode::FAILURE)
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

/// The status and the body.
fn answer(
    address: SocketAddr,
    tls: Option<&tls::Files>,
    request: &str,
) -> std::io::Result<(u16, String)> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let answer = match tls {
        None => exchange(stream, request)?,
        Some(files) => {
            let config = Arc::new(tls::anybody(files)?);
            let name = ServerName::from(address.ip());
            let session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
            exchange(StreamOwned::new(session, stream), request)?
        }
    };
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(std::io::Error::other("the answer is no HTTP")),
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
