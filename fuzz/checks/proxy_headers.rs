//! PROXY headers: cut at any place, the parser waits for the rest; it never consumes bytes after the header.

use tidegate::transport::proxy_header::{HEADER_BYTES_MAX, parse};

/// The first byte sets the place of a cut; the rest are the first bytes of a connection.
pub fn check(bytes: &[u8]) {
    let [cut, bytes @ ..] = bytes else { return };
    let whole = parse(bytes);
    match whole {
        Ok(Some((end, _))) => assert!((1..=bytes.len().min(HEADER_BYTES_MAX)).contains(&end)),
        Ok(None) => assert!(bytes.len() < HEADER_BYTES_MAX, "waits beyond the limit"),
        Err(_) => {}
    }
    for cut in [0, 1, usize::from(*cut), bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let Some(beginning) = bytes.get(..cut) else { continue };
        match parse(beginning) {
            Ok(None) => {
                let ended = matches!(whole, Ok(Some((end, _))) if end <= cut);
                assert!(!ended, "the header was complete");
            }
            known => assert_eq!(known, whole, "cut at {cut}"),
        }
    }
}
