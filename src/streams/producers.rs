//! Producers: clients whose messages are appended once, however often they are sent.

use super::FoundStream;
use crate::protocol::durable::{Producer, StreamAnswer};

/// Most producers of a stream.
pub const PRODUCERS_MAX: u64 = 10_000;

/// The field with the number of producers.
pub const PRODUCERS: &str = "producers";

/// What is known of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    epoch: u64,
    seq: u64,
}

/// What follows from a producer's message.
#[derive(Debug, PartialEq, Eq)]
pub enum ProducerCheck {
    /// It is the next one.
    Next,
    /// It was appended before. The last one has this number.
    Duplicate(u64),
    Refused(StreamAnswer),
}

/// The field of a producer.
pub fn field_of(producer: &Producer) -> String {
    format!("producer {}", producer.id)
}

/// The value of the field, when this message was the last one.
pub fn value_of(producer: &Producer) -> String {
    format!("{} {}", producer.epoch, producer.seq)
}

impl ProducerState {
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once(' ')?;
        Some(Self { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
    }
}

/// Checks a message. `known`: what is known of its producer; None if it is new.
pub fn check(known: Option<ProducerState>, producer: &Producer) -> ProducerCheck {
    use ProducerCheck::{Duplicate, Next, Refused};
    let Producer { epoch, seq, .. } = *producer;
    match known {
        None if seq == 0 => Next,
        None => Refused(StreamAnswer::sequence_gap(0, seq)),
        Some(known) if epoch < known.epoch => Refused(StreamAnswer::stale_epoch(known.epoch)),
        Some(known) if epoch > known.epoch && seq == 0 => Next,
        Some(known) if epoch > known.epoch => Refused(StreamAnswer::bad_request(format!(
            "a producer's first message of an epoch has the number 0, and this one has {seq}"
        ))),
        Some(known) if seq <= known.seq => Duplicate(known.seq),
        Some(known) if seq == known.seq + 1 => Next,
        Some(known) => Refused(StreamAnswer::sequence_gap(known.seq + 1, seq)),
    }
}

/// Whether the producer's message is the one that has closed the stream.
pub fn has_closed(found: &FoundStream, producer: &Producer) -> bool {
    let by = found.record.closed_by.as_ref();
    by.is_some_and(|(id, epoch, seq)| {
        (id, *epoch, *seq) == (&producer.id, producer.epoch, producer.seq)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(known: Option<(u64, u64)>, epoch: u64, seq: u64) -> Result<Option<u64>, u16> {
        let known = known.map(|(epoch, seq)| ProducerState { epoch, seq });
        match check(known, &Producer { id: "p".to_owned(), epoch, seq }) {
            ProducerCheck::Next => Ok(None),
            ProducerCheck::Duplicate(last) => Ok(Some(last)),
            ProducerCheck::Refused(answer) => Err(answer.status.as_u16()),
        }
    }

    #[test]
    fn a_producers_messages_are_accepted_in_order_and_once() {
        assert_eq!(status(None, 5, 0), Ok(None));
        assert_eq!(status(None, 0, 1), Err(409));
        assert_eq!(status(Some((1, 4)), 1, 5), Ok(None));
        assert_eq!(status(Some((1, 4)), 1, 2), Ok(Some(4)));
        assert_eq!(status(Some((1, 4)), 1, 6), Err(409));
        assert_eq!(status(Some((1, 4)), 0, 5), Err(403));
        assert_eq!(status(Some((1, 4)), 2, 0), Ok(None));
        assert_eq!(status(Some((1, 4)), 2, 5), Err(400));
    }

    #[test]
    fn the_state_of_a_producer_round_trips() {
        let producer = Producer { id: "a b".to_owned(), epoch: 3, seq: 9 };
        let state = ProducerState::parse(&value_of(&producer));
        assert_eq!(state, Some(ProducerState { epoch: 3, seq: 9 }));
        assert_eq!(check(state, &producer), ProducerCheck::Duplicate(9));
    }
}
