use super::*;

use proptest::prelude::*;

fn block_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

fn client(address: &str) -> ProxyHeader {
    ProxyHeader::Client(address.parse().unwrap())
}

/// Some headers of every kind, with their content.
fn good() -> Vec<(Vec<u8>, ProxyHeader)> {
    let line = |text: &str| text.as_bytes().to_vec();
    let (v4, v6) = ([192, 0, 2, 1, 198, 51, 100, 1, 1, 2, 3, 4], Ipv6Addr::LOCALHOST.octets());
    let v6 = [&v6[..], &v6[..], &[1, 2, 3, 4]].concat();
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    vec![
        (line("PROXY TCP4 192.0.2.1 198.51.100.1 51234 443\r\n"), client("192.0.2.1")),
        (line("PROXY TCP6 2001:db8::1 ::1 51234 443\r\n"), client("2001:db8::1")),
        (line(&format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n")), client(longest)),
        (line("PROXY UNKNOWN\r\n"), ProxyHeader::NoClient),
        (
            line(&format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n")),
            ProxyHeader::NoClient,
        ),
        (block_of(0x20, 0, &[]), ProxyHeader::NoClient),
        (block_of(0x20, 0x11, &v4), ProxyHeader::NoClient),
        (block_of(0x21, 0x00, b"whatever"), ProxyHeader::NoClient),
        (block_of(0x21, 0x31, &[0; 216]), ProxyHeader::NoClient),
        (block_of(0x21, 0x11, &v4), client("192.0.2.1")),
        (block_of(0x21, 0x11, &[&v4[..], &[4, 0, 2, 9, 9]].concat()), client("192.0.2.1")),
        (block_of(0x21, 0x21, &v6), client("::1")),
        (
            block_of(0x21, 0x11, &[&v4[..], &[0; HEADER_BYTES_MAX - 28]].concat()),
            client("192.0.2.1"),
        ),
    ]
}

#[test]
fn proxy_headers_of_both_versions_are_read_to_their_end() {
    for (bytes, header) in good() {
        assert_eq!(parse(&bytes), Ok(Some((bytes.len(), header))), "{bytes:?}");
        let more = [&bytes[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(parse(&more), Ok(Some((bytes.len(), header))), "{bytes:?}");
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "the first {end} of {bytes:?}");
        }
    }
}

#[test]
fn malformed_proxy_headers_are_refused() {
    let lines = [
        "GET / HTTP/1.1\r\n\r\n",
        "PROXX",
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 51234\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 51234 443 more\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 51234 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 51234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 ::1 ::1 51234 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 51234 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 51234 443\r\n",
        &format!("PROXY UNKNOWN {}", "x".repeat(107)),
    ];
    for line in lines {
        assert!(parse(line.as_bytes()).is_err(), "{line:?}");
    }
    for block in [
        block_of(0x11, 0x11, &[0; 12]),
        block_of(0x22, 0x11, &[0; 12]),
        block_of(0x21, 0x11, &[0; 11]),
        block_of(0x21, 0x21, &[0; 35]),
        block_of(0x21, 0x11, &[0; HEADER_BYTES_MAX - 15]),
        block_of(0x21, 0x11, &[0; 60_000])[..16].to_vec(),
    ] {
        assert!(parse(&block).is_err(), "{block:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_proxy_header_parser_panic_or_exceed_its_bounds(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        start in prop::sample::select(vec![&b""[..], TEXT_PREFIX, SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
    ) {
        let bytes = [start, &bytes[..]].concat();
        match parse(&bytes) {
            Ok(Some((end, _))) => assert!(end <= bytes.len() && end <= HEADER_BYTES_MAX),
            Ok(None) => assert!(bytes.len() < HEADER_BYTES_MAX),
            Err(_) => {}
        }
    }

    #[test]
    fn mutated_proxy_headers_are_parsed_or_refused(
        which in 0..13usize, at in 0..64usize, byte: u8,
    ) {
        let (mut bytes, _) = good().swap_remove(which);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(Some((end, _))) = parse(&bytes) {
            assert!(end <= bytes.len());
        }
    }
}

#[tokio::test]
async fn bytes_after_the_proxy_header_stay_in_the_socket() {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (bytes, header) in good() {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let reading = tokio::spawn(async move { (read(&mut stream).await, stream) });
        let (last, first) = bytes.split_last().unwrap();
        for byte in first {
            client.write_all(&[*byte]).await.unwrap();
        }
        client.write_all(&[&[*last][..], b"and more"].concat()).await.unwrap();
        drop(client);
        let (read, mut stream) = reading.await.unwrap();
        assert_eq!(read.unwrap(), header);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "and more");
    }
}
