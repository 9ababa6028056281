//! What is wrong with a frame of a client.

use crate::protocol::Code;

/// Most bytes of the command and the headers of a frame.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most headers of a frame.
pub const HEADERS_MAX: usize = 64;

/// Why the bytes of a client are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error("the command and headers of a frame have at most {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    #[error("a frame has at most {HEADERS_MAX} headers")]
    TooManyHeaders,
    #[error("a frame has at most session.message_bytes_max = {0} bytes")]
    TooLarge(usize),
    #[error("a header line is NAME:VALUE, and an empty line ends the headers")]
    HeaderLine,
    #[error("command and headers must be UTF-8")]
    Utf8,
    #[error("content-length must be a whole number")]
    ContentLength,
    #[error("a NUL must follow the body of content-length bytes")]
    NoEnd,
    #[error("a header has an escape that STOMP {0} does not define")]
    Escape(&'static str),
}

impl FrameFault {
    pub fn code(self) -> Code {
        match self {
            Self::TooLarge(_) => Code::TooLarge,
            _ => Code::BadRequest,
        }
    }
}
