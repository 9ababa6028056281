//! The chunked transfer coding of HTTP/1.1 (RFC 9112 section 7.1): a body whose client can tell its end from a
//! connection that broke.

use bytes::Bytes;

/// The last chunk: the body is complete.
pub const LAST: &[u8] = b"0\r\n\r\n";

const LINE_END: &[u8] = b"\r\n";

/// One chunk with this content, which must not be empty.
pub fn chunk(content: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(content.len() + 12);
    append(&mut out, content);
    out.into()
}

/// Appends one chunk with this content, which must not be empty.
pub fn append(out: &mut Vec<u8>, content: &[u8]) {
    debug_assert!(!content.is_empty(), "an empty chunk is the last one");
    out.extend_from_slice(format!("{:x}", content.len()).as_bytes());
    for piece in [LINE_END, content, LINE_END] {
        out.extend_from_slice(piece);
    }
}

/// The content of one chunk that [`chunk`] has made, without a copy.
pub fn content(chunk: &Bytes) -> Bytes {
    let size_end = chunk.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    chunk.slice(size_end..chunk.len().saturating_sub(LINE_END.len()).max(size_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_size_in_front_and_a_line_end_behind() {
        let long = chunk(&[b'x'; 26]);
        assert_eq!(&long[..], [&b"1a\r\n"[..], &[b'x'; 26], b"\r\n"].concat());
        assert_eq!(&content(&long)[..], [b'x'; 26]);
        assert_eq!(&content(&chunk(b"data: \r\n\n"))[..], b"data: \r\n\n");
    }
}
