//! The WebSocket close codes of Tidegate's own protocols (RFC 6455 section 7.4).

use bytes::Bytes;

use crate::close::Close;
use crate::framing::websocket;
use crate::publication::EndReason;

/// The close frame for a reason.
pub fn close_frame(close: Close) -> Bytes {
    websocket::close(close_code(close), close.text())
}

/// The close frame at the end of a run. A reason that is too long for the frame is cut.
pub fn end_frame(reason: &EndReason) -> Bytes {
    let mut end = reason.as_str().len().min(TEXT_BYTES_MAX);
    while !reason.as_str().is_char_boundary(end) {
        end -= 1;
    }
    websocket::close(Some(ENDED), &reason.as_str()[..end])
}

/// The purpose of the connection is fulfilled.
const ENDED: u16 = 1000;

/// Most bytes of text in a close frame (RFC 6455 section 5.5.1).
const TEXT_BYTES_MAX: usize = 123;

/// None: the frame has no body, or there is no client left to send one to.
fn close_code(close: Close) -> Option<u16> {
    Some(match close {
        Close::Client(code) => return code,
        Close::Lost | Close::Answered | Close::NoRun | Close::RunCut => return None,
        Close::Ended { .. } => ENDED,
        Close::Protocol(_) | Close::UnknownVersion => 1002,
        Close::Unsupported(_) => 1003,
        Close::Utf8 => 1007,
        Close::Policy(_) | Close::UnknownApp => 1008,
        Close::TooLarge => 1009,
        Close::Internal => 1011,
        Close::Drain { .. } | Close::Rebalance { .. } => 1012,
        Close::Unavailable | Close::Gap | Close::KeysUnavailable | Close::Overloaded => 1013,
        Close::Unauthorized(_) | Close::Expired | Close::Revoked => 4001,
        Close::Forbidden => 4003,
        Close::Slow => 4008,
        Close::PongTimeout => 4009,
        Close::RateLimited => 4029,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_run_is_cut_to_what_a_close_frame_holds() {
        let frame = |reason: &str| end_frame(&EndReason::new(reason).unwrap());
        assert_eq!(&frame("done")[..], b"\x88\x06\x03\xe8done");
        let long = frame(&"é".repeat(100));
        assert_eq!(long.len(), 2 + 2 + 122);
        assert!(str::from_utf8(&long[4..]).is_ok());
    }

    #[test]
    fn the_close_frame_of_a_reason_contains_code_and_text_or_nothing() {
        assert_eq!(&close_frame(Close::Client(None))[..], b"\x88\x00");
        assert_eq!(&close_frame(Close::Client(Some(3000)))[..], b"\x88\x02\x0b\xb8");
        assert_eq!(&close_frame(Close::Slow)[2..4], 4008u16.to_be_bytes());
    }
}
