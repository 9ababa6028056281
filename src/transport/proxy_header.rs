//! The PROXY header with which a TCP balancer reports the client's address before the connection's own bytes.
//! Versions 1 and 2 of <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Most bytes of a header of version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;

/// Most bytes of a header of version 2, with extensions after the addresses. The specification limits senders
/// to 536 bytes.
pub const HEADER_BYTES_MAX: usize = 1024;

/// The first bytes of a header of version 1.
const TEXT_PREFIX: &[u8] = b"PROXY ";

/// The first bytes of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family, and the length of the rest.
const FIXED_BYTES: usize = 16;

/// The content of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The balancer's client has this address.
    Client(IpAddr),
    /// The balancer itself is the client (`LOCAL`, for health checks), or the client is unknown (`UNKNOWN`).
    NoClient,
}

/// The bytes are not a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY header: {0}")]
pub struct InvalidProxyHeader(&'static str);

/// Reads the header at the start of a connection, and not a byte more. Has no timeout of its own. Fails if
/// the bytes are not a header or end within it.
pub async fn read(stream: &mut TcpStream) -> io::Result<ProxyHeader> {
    let mut bytes = [0; HEADER_BYTES_MAX];
    let mut filled = 0;
    loop {
        let peeked = stream.peek(&mut bytes[filled..]).await?;
        if peeked == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let parsed = parse(&bytes[..filled + peeked]).map_err(io::Error::other)?;
        // While the header is incomplete, all bytes belong to it.
        let end = parsed.map_or(filled + peeked, |(end, _)| end);
        stream.read_exact(&mut bytes[filled..end]).await?;
        filled = end;
        if let Some((_, header)) = parsed {
            return Ok(header);
        }
    }
}

/// Parses the header at the start of `bytes`, and returns its length. None: it is incomplete, and shorter
/// than [`HEADER_BYTES_MAX`].
pub fn parse(bytes: &[u8]) -> Result<Option<(usize, ProxyHeader)>, InvalidProxyHeader> {
    let begins_with = |word: &[u8]| bytes.iter().zip(word).all(|(byte, of_word)| byte == of_word);
    if begins_with(TEXT_PREFIX) {
        return parse_text(bytes);
    }
    match begins_with(SIGNATURE) {
        true => parse_binary(bytes),
        false => Err(InvalidProxyHeader("its first bytes are wrong")),
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 51234 443\r\n`.
fn parse_text(bytes: &[u8]) -> Result<Option<(usize, ProxyHeader)>, InvalidProxyHeader> {
    let bytes = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return match bytes.len() {
            LINE_BYTES_MAX => Err(InvalidProxyHeader("its line is too long")),
            _ => Ok(None),
        };
    };
    let words =
        std::str::from_utf8(&bytes[..end]).map_err(|_| InvalidProxyHeader("it is not UTF-8"))?;
    let words: Vec<&str> = words.split(' ').skip(1).collect();
    let header = match words[..] {
        ["UNKNOWN", ..] => ProxyHeader::NoClient,
        ["TCP4", from, to, from_port, to_port] => {
            let client: Ipv4Addr = parse_word(from)?;
            let _: (Ipv4Addr, u16, u16) =
                (parse_word(to)?, parse_word(from_port)?, parse_word(to_port)?);
            ProxyHeader::Client(client.into())
        }
        ["TCP6", from, to, from_port, to_port] => {
            let client: Ipv6Addr = parse_word(from)?;
            let _: (Ipv6Addr, u16, u16) =
                (parse_word(to)?, parse_word(from_port)?, parse_word(to_port)?);
            ProxyHeader::Client(client.into())
        }
        _ => {
            return Err(InvalidProxyHeader(
                "its line has an unknown protocol or a wrong number of fields",
            ));
        }
    };
    Ok(Some((end + 2, header)))
}

fn parse_word<T: std::str::FromStr>(word: &str) -> Result<T, InvalidProxyHeader> {
    let broken = InvalidProxyHeader("an address or a port is invalid");
    match word.starts_with('+') {
        true => Err(broken),
        false => word.parse().map_err(|_| broken),
    }
}

/// Version 2, in binary.
fn parse_binary(bytes: &[u8]) -> Result<Option<(usize, ProxyHeader)>, InvalidProxyHeader> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return Err(InvalidProxyHeader("its version is neither 1 nor 2"));
    }
    if FIXED_BYTES + length > HEADER_BYTES_MAX {
        return Err(InvalidProxyHeader("it is too long"));
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    let short = InvalidProxyHeader("it is too short for its addresses");
    let header = match (command & 0xF, family) {
        (0, _) => ProxyHeader::NoClient,
        // TCP over IPv4, then over IPv6: source, destination, ports.
        (1, 0x11) => {
            let addresses = rest.first_chunk::<12>().ok_or(short)?;
            let [a, b, c, d, ..] = *addresses;
            ProxyHeader::Client(Ipv4Addr::new(a, b, c, d).into())
        }
        (1, 0x21) => {
            let addresses = rest.first_chunk::<36>().ok_or(short)?;
            let source: [u8; 16] = *addresses.first_chunk().expect("it is longer");
            ProxyHeader::Client(Ipv6Addr::from(source).into())
        }
        // Not a TCP connection over IP.
        (1, _) => ProxyHeader::NoClient,
        _ => return Err(InvalidProxyHeader("its command is unknown")),
    };
    Ok(Some((FIXED_BYTES + length, header)))
}

#[cfg(test)]
mod tests;
