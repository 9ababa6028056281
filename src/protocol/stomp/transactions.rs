//! The open transactions of a session: what is sent and acknowledged in them, until COMMIT or ABORT.

use crate::publication::{Channel, Publication};

/// Most open transactions of a session.
pub const OPEN_MAX: usize = 16;

/// Most frames, and most bytes of their bodies and headers, in all open transactions of a session.
pub const FRAMES_MAX: usize = 256;
pub const BYTES_MAX: usize = 1 << 20;

/// What a frame costs besides its bytes.
const FRAME_BYTES: usize = 128;

/// The open transactions of a session.
#[derive(Debug, Default)]
pub struct StompTransactions(Vec<OpenTransaction>);

#[derive(Debug)]
struct OpenTransaction {
    id: Box<str>,
    frames: Vec<HeldFrame>,
    bytes: usize,
}

/// A frame in a transaction.
#[derive(Debug)]
pub enum HeldFrame {
    Send {
        channel: Channel,
        publication: Publication,
        receipt: Option<Box<str>>,
    },
    /// An ACK or NACK with its headers.
    Acknowledgement {
        id: Option<Box<str>>,
        subscription: Option<Box<str>>,
        message_id: Option<Box<str>>,
    },
}

/// Why a transaction cannot do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionFault {
    #[error("there is no open transaction of this id")]
    Unknown,
    #[error("a transaction of this id is open already")]
    Open,
    #[error("at most {OPEN_MAX} transactions are open at a time")]
    TooMany,
    #[error(
        "the open transactions of a connection hold at most {FRAMES_MAX} frames and {BYTES_MAX} bytes"
    )]
    Full,
}

impl StompTransactions {
    pub fn begin(&mut self, id: &str) -> Result<(), TransactionFault> {
        match self.0.len() {
            _ if self.0.iter().any(|open| *open.id == *id) => Err(TransactionFault::Open),
            OPEN_MAX.. => Err(TransactionFault::TooMany),
            _ => {
                self.0.push(OpenTransaction { id: id.into(), frames: Vec::new(), bytes: 0 });
                Ok(())
            }
        }
    }

    pub fn add(&mut self, id: &str, frame: HeldFrame) -> Result<(), TransactionFault> {
        let frames: usize = self.0.iter().map(|open| open.frames.len()).sum();
        let bytes: usize = self.0.iter().map(|open| open.bytes).sum();
        let open = self.0.iter_mut().find(|open| *open.id == *id);
        let open = open.ok_or(TransactionFault::Unknown)?;
        let cost = frame.cost();
        if frames >= FRAMES_MAX || bytes + cost > BYTES_MAX {
            return Err(TransactionFault::Full);
        }
        open.bytes += cost;
        open.frames.push(frame);
        Ok(())
    }

    /// Ends a transaction. Returns its frames in their order.
    pub fn end(&mut self, id: &str) -> Result<Vec<HeldFrame>, TransactionFault> {
        let at = self.0.iter().position(|open| *open.id == *id).ok_or(TransactionFault::Unknown)?;
        let ended = self.0.swap_remove(at);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Ok(ended.frames)
    }
}

impl HeldFrame {
    fn cost(&self) -> usize {
        let length = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        FRAME_BYTES
            + match self {
                Self::Send { channel, publication, receipt } => {
                    channel.as_str().len() + publication.payload.len() + length(receipt)
                }
                Self::Acknowledgement { id, subscription, message_id } => {
                    length(id) + length(subscription) + length(message_id)
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn send(bytes: usize) -> HeldFrame {
        HeldFrame::Send {
            channel: Channel::new("a").unwrap(),
            publication: Publication::bare(Bytes::from(vec![b'x'; bytes])),
            receipt: None,
        }
    }

    #[test]
    fn open_transactions_are_bounded_in_number_frames_and_bytes() {
        let mut open = StompTransactions::default();
        assert!((0..OPEN_MAX).all(|number| open.begin(&number.to_string()).is_ok()));
        assert_eq!(open.begin("x"), Err(TransactionFault::TooMany));
        assert_eq!(open.begin("1"), Err(TransactionFault::Open));
        assert!((0..FRAMES_MAX).all(|number| open.add(&(number % 2).to_string(), send(1)).is_ok()));
        assert_eq!(open.add("1", send(1)), Err(TransactionFault::Full));
        assert_eq!(open.end("0").map(|frames| frames.len()), Ok(FRAMES_MAX / 2));
        assert_eq!(open.add("1", send(BYTES_MAX)), Err(TransactionFault::Full));
        assert_eq!(open.add("0", send(1)), Err(TransactionFault::Unknown));
        assert!(open.add("1", send(1)).is_ok());
    }
}
