//! The WebSocket close codes of Tidegate's own protocols (RFC 6455 section 7.4).

use bytes::Bytes;

use crate::close::Close;
use crate::framing::websocket;

/// The close frame for a reason.
pub fn close_frame(close: Close) -> Bytes {
    websocket::close(close_code(close), close.text())
}

/// None: the frame has no body, or there is no client left to send one to.
fn close_code(close: Close) -> Option<u16> {
    Some(match close {
        Close::Client(code) => return code,
        Close::Lost | Close::Answered => return None,
        Close::Protocol(_) => 1002,
        Close::Unsupported(_) => 1003,
        Close::Utf8 => 1007,
        Close::Policy(_) => 1008,
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
    fn the_close_frame_of_a_reason_contains_code_and_text_or_nothing() {
        assert_eq!(&close_frame(Close::Client(None))[..], b"\x88\x00");
        assert_eq!(&close_frame(Close::Client(Some(3000)))[..], b"\x88\x02\x0b\xb8");
        assert_eq!(&close_frame(Close::Slow)[2..4], 4008u16.to_be_bytes());
    }
}
