//! How a connection of the protocol ends: an ERROR, and the close frame of the WebSocket.

use bytes::Bytes;

use super::written;
use crate::close::Close;
use crate::protocol::Code;
use crate::protocol::close_code::close_frame;

/// The last frames of a connection. A client that has closed itself gets no ERROR, and one that is asked to reconnect has got
/// it.
pub fn last_frames(close: Close) -> Bytes {
    match close {
        Close::Client(_) | Close::Lost => close_frame(close),
        Close::Drain { .. } | Close::Rebalance { .. } => close_frame(close),
        close => {
            [written::error(close.label(), close.text(), None), close_frame(close)].concat().into()
        }
    }
}

/// The same behind the last frame that the session has written itself.
pub fn behind(last: &[u8], close: Close) -> Bytes {
    [last, &close_frame(close)].concat().into()
}

/// Why the connection ends for a refused frame, whose ERROR the client gets.
pub fn of_refusal(code: Code) -> Close {
    const TOLD: &str = "the ERROR says why";
    match code {
        Code::BadRequest => Close::Protocol(TOLD),
        Code::TooLarge => Close::TooLarge,
        Code::Unavailable => Close::Unavailable,
        Code::Unauthorized => Close::Unauthorized(TOLD),
        Code::Forbidden => Close::Forbidden,
        Code::RateLimited => Close::RateLimited,
        Code::NotFound | Code::LimitReached | Code::Ended => Close::Policy(TOLD),
    }
}
