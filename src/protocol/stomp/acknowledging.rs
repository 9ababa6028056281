//! What a client has to acknowledge: the positions that it got of one subscription.

use std::collections::VecDeque;

use crate::publication::Position;

/// Most messages of a subscription that are delivered and not acknowledged. Further ones wait in the history.
const UNACKED_MAX: usize = 256;

/// With how many unacknowledged messages a subscription that waits goes on.
const UNACKED_RESUME: usize = UNACKED_MAX / 2;

/// The header `ack` of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckMode {
    Auto,
    /// An ACK stands for all messages of the subscription up to it.
    Client,
    ClientIndividual,
}

impl AckMode {
    /// None: there is no such mode.
    pub fn read(header: Option<&str>) -> Option<Self> {
        Some(match header {
            None | Some("auto") => Self::Auto,
            Some("client") => Self::Client,
            Some("client-individual") => Self::ClientIndividual,
            Some(_) => return None,
        })
    }
}

/// Positions in their order, at most [`UNACKED_MAX`].
#[derive(Debug, Default)]
pub struct UnackedMessages(VecDeque<Position>);

impl UnackedMessages {
    /// False: there are too many.
    pub fn add(&mut self, position: Position) -> bool {
        let has_room = self.0.len() < UNACKED_MAX;
        if has_room {
            self.0.push_back(position);
        }
        has_room
    }

    pub fn contains(&self, position: Position) -> bool {
        self.0.binary_search(&position).is_ok()
    }

    pub fn remove(&mut self, position: Position, mode: AckMode) {
        match mode {
            AckMode::ClientIndividual => {
                if let Ok(at) = self.0.binary_search(&position) {
                    self.0.remove(at);
                }
            }
            AckMode::Auto | AckMode::Client => {
                let acknowledged = self.0.partition_point(|it| *it <= position);
                self.0.drain(..acknowledged);
            }
        }
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    pub fn has_room_again(&self) -> bool {
        self.0.len() <= UNACKED_RESUME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: 7, seq }
    }

    #[test]
    fn a_cumulative_ack_stands_for_all_before_it_and_an_individual_one_for_itself() {
        for (mode, left) in
            [(AckMode::Client, vec![4, 5]), (AckMode::ClientIndividual, vec![1, 2, 4, 5])]
        {
            let mut unacked = UnackedMessages::default();
            assert!((1..6).all(|seq| unacked.add(at(seq))));
            unacked.remove(at(3), mode);
            unacked.remove(at(9).min(at(3)), mode);
            assert_eq!(unacked.0.iter().map(|it| it.seq).collect::<Vec<_>>(), left);
        }
    }

    #[test]
    fn unacknowledged_messages_are_bounded_and_go_on_with_half_of_them() {
        let mut unacked = UnackedMessages::default();
        assert_eq!((1..1000).filter(|seq| unacked.add(at(*seq))).count(), UNACKED_MAX);
        unacked.remove(at(127), AckMode::Client);
        assert!(!unacked.has_room_again());
        unacked.remove(at(128), AckMode::Client);
        assert!(
            unacked.has_room_again() && !unacked.contains(at(128)) && unacked.contains(at(129))
        );
    }
}
