//! The codes of errors and closes. The range of a close code tells the client what to do: 4000 to 4099 not to reconnect,
//! 4100 to 4199 to reconnect after a second or more, 4200 to 4299 to reconnect immediately.

use bytes::Bytes;

use super::written;
use crate::close::Close;
use crate::framing::websocket;
use crate::protocol::Code;

const UNKNOWN_APP: u16 = 4001;
const UNKNOWN_VERSION: u16 = 4007;
const UNAUTHORIZED: u16 = 4009;
/// Pusher has no code of its own for a client that violates the protocol.
const VIOLATION: u16 = 4099;
const OVER_CAPACITY: u16 = 4100;
const RECONNECT: u16 = 4200;
const NO_PONG: u16 = 4201;
/// Of an event that is not sent; the connection stays open.
const RATE_LIMITED: u16 = 4301;

/// The error event and the close frame of a reason.
pub fn last_frames(close: Close) -> Bytes {
    match code(close) {
        Ok(code) => {
            let error = written::error(Some(code), close.text());
            [error, websocket::close(Some(code), close.text())].concat().into()
        }
        Err(code) => websocket::close(code, close.text()),
    }
}

/// `Err`: the client closed with this code, or no client is left to read one.
fn code(close: Close) -> Result<u16, Option<u16>> {
    Ok(match close {
        Close::Client(code) => return Err(code),
        Close::Lost | Close::Answered | Close::NoRun | Close::RunCut => return Err(None),
        Close::Ended { .. } => return Err(Some(1000)),
        Close::UnknownApp => UNKNOWN_APP,
        Close::UnknownVersion => UNKNOWN_VERSION,
        Close::Unauthorized(_) | Close::Expired | Close::Revoked | Close::Forbidden => UNAUTHORIZED,
        Close::Protocol(_) | Close::Unsupported(_) | Close::Utf8 | Close::Policy(_) => VIOLATION,
        // The same client may send smaller messages after it has reconnected.
        Close::TooLarge
        | Close::Internal
        | Close::Unavailable
        | Close::Gap
        | Close::KeysUnavailable
        | Close::Overloaded
        | Close::Slow
        | Close::RateLimited => OVER_CAPACITY,
        Close::Drain { .. } | Close::Rebalance { .. } => RECONNECT,
        Close::PongTimeout => NO_PONG,
    })
}

/// The code of an error after which the connection stays open. `of_user`: of a sign-in. Most errors have none.
pub fn of_error(code: Code, of_user: bool) -> Option<u16> {
    match code {
        Code::RateLimited => Some(RATE_LIMITED),
        Code::Unauthorized | Code::LimitReached if of_user => Some(UNAUTHORIZED),
        _ => None,
    }
}
