//! Requests to a node on this host, at its internal listener: without curl, which the image lacks, and with TLS where
//! it is configured.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::failure::Failure;
use super::node_api;
use super::print::print;
use crate::internal::ApiEndpoint;
use crate::settings::ListenAddress;
use crate::tls;

/// The longest wait for each of connecting, writing and reading.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Sends `method` (GET or POST) for `path` and prints the answer. Succeeds if its status is 2xx.
pub fn send(endpoint: &ApiEndpoint, method: &str, path: &str) -> Result<ExitCode, Failure> {
    let authorization = match &endpoint.api_key {
        Some(key) => format!("Authorization: Bearer {key}\r\n"),
        None => String::new(),
    };
    let answered = connect(endpoint.listen).and_then(|(address, stream)| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Content-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        answer(address.ip(), stream, endpoint.tls.as_ref(), &request)
    });
    match answered {
        Ok((status, body)) => {
            print(format!("{body}\n"))?;
            let is_success = (200..300).contains(&status);
            if let Some(refusal) = node_api::refusal(body.as_bytes()) {
                eprintln!("tidegate: {refusal}");
            }
            Ok(if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            eprintln!("tidegate: no answer from internal.listen = {}: {error}", endpoint.listen);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// For an address with both IP families, the listener may have only one.
fn connect(listen: ListenAddress) -> std::io::Result<(SocketAddr, TcpStream)> {
    let connect =
        |address| TcpStream::connect_timeout(&address, TIMEOUT).map(|stream| (address, stream));
    let mut addresses = reachable(listen);
    let first = connect(addresses.next().expect("every listener has an address"));
    addresses.fold(first, |connected, other| connected.or_else(|_| connect(other)))
}

/// For a listener on all addresses, connects to loopback.
fn reachable(listen: ListenAddress) -> impl Iterator<Item = SocketAddr> {
    let on_loopback = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    };
    [Some(listen.first()), listen.second()].into_iter().flatten().map(on_loopback)
}

/// Returns the status and the body.
fn answer(
    ip: IpAddr,
    stream: TcpStream,
    tls: Option<&tls::Files>,
    request: &str,
) -> std::io::Result<(u16, String)> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let answer = match tls {
        None => exchange(stream, request)?,
        Some(files) => {
            let config = Arc::new(tls::unverified_client(files)?);
            let name = ServerName::from(ip);
            let session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
            exchange(StreamOwned::new(session, stream), request)?
        }
    };
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(std::io::Error::other("the answer is not HTTP")),
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
