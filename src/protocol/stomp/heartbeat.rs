//! Heart-beats of the protocol: line ends in both directions, beside the pings of the WebSocket, which a page does not see.

use std::time::Duration;

use tokio::time::Instant;

use crate::close::Close;
use crate::protocol::SessionBeat;

/// The shortest interval in which the node sends heart-beats.
const SEND_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long a client may take until its CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that has promised a heart-beat counts as dead after so many of its intervals without any byte.
const MISSED_MAX: u32 = 2;

/// When what is due.
#[derive(Debug)]
pub struct StompBeats {
    phase: BeatPhase,
}

#[derive(Debug)]
enum BeatPhase {
    Opening { connect_by: Instant },
    Connected { sent: Option<SentBeats>, received: Option<ReceivedBeats> },
}

#[derive(Debug)]
struct SentBeats {
    interval: Duration,
    next: Instant,
}

#[derive(Debug)]
struct ReceivedBeats {
    interval: Duration,
    last: Instant,
}

/// The two intervals that a CONNECT offers, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfferedBeats {
    /// What the client can send. 0: nothing.
    pub sends: u32,
    /// What it wants to get. 0: nothing.
    pub wants: u32,
}

/// The header `heart-beat` is not two whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("heart-beat is two whole numbers of milliseconds joined by a comma")]
pub struct InvalidBeats;

impl OfferedBeats {
    pub fn read(header: Option<&str>) -> Result<Self, InvalidBeats> {
        let Some(header) = header else { return Ok(Self::default()) };
        let (sends, wants) = header.split_once(',').ok_or(InvalidBeats)?;
        let number = |text: &str| text.trim().parse().map_err(|_| InvalidBeats);
        Ok(Self { sends: number(sends)?, wants: number(wants)? })
    }
}

/// The header `heart-beat` of CONNECTED. `wants`: how often the node wants to hear of clients.
pub fn answered(wants: Duration) -> String {
    format!("{},{}", SEND_INTERVAL_MIN.as_millis(), wants.as_millis())
}

impl StompBeats {
    pub fn new(now: Instant) -> Self {
        Self { phase: BeatPhase::Opening { connect_by: now + CONNECT_TIMEOUT } }
    }

    /// The client is connected. `wants`: how often the node wants to hear of it.
    pub fn connected(&mut self, offered: OfferedBeats, wants: Duration, now: Instant) {
        let agreed = |offered: u32, own: Duration| {
            (offered > 0).then(|| Duration::from_millis(offered.into()).max(own))
        };
        let sent = agreed(offered.wants, SEND_INTERVAL_MIN).map(|agreed| {
            // A little more often, so that none is late.
            let interval = agreed.mul_f64(0.9);
            SentBeats { interval, next: now + interval }
        });
        let received =
            agreed(offered.sends, wants).map(|interval| ReceivedBeats { interval, last: now });
        self.phase = BeatPhase::Connected { sent, received };
    }

    /// The client has sent something.
    pub fn received(&mut self, now: Instant) {
        if let BeatPhase::Connected { received: Some(received), .. } = &mut self.phase {
            received.last = now;
        }
    }

    pub fn next(&self) -> Option<Instant> {
        match &self.phase {
            BeatPhase::Opening { connect_by } => Some(*connect_by),
            BeatPhase::Connected { sent, received } => {
                let (send, dead) = (sent.as_ref().map(|it| it.next), received.as_ref());
                send.into_iter().chain(dead.map(ReceivedBeats::dead_at)).min()
            }
        }
    }

    /// What is due. `is_excused`: that nothing has arrived proves nothing.
    pub fn check(&mut self, now: Instant, is_excused: bool) -> SessionBeat {
        if is_excused {
            self.received(now);
        }
        match &mut self.phase {
            BeatPhase::Opening { connect_by } if now >= *connect_by && is_excused => {
                *connect_by = now + CONNECT_TIMEOUT;
                SessionBeat::Nothing
            }
            BeatPhase::Opening { connect_by } if now >= *connect_by => {
                SessionBeat::Dead(Close::Policy("no CONNECT in time"))
            }
            BeatPhase::Connected { received: Some(received), .. } if now >= received.dead_at() => {
                SessionBeat::Dead(Close::PongTimeout)
            }
            BeatPhase::Connected { sent: Some(sent), .. } if now >= sent.next => {
                sent.next = now + sent.interval;
                SessionBeat::Send(super::written::heartbeat())
            }
            _ => SessionBeat::Nothing,
        }
    }
}

impl ReceivedBeats {
    fn dead_at(&self) -> Instant {
        self.last + self.interval * MISSED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn connected(header: &str, wants: Duration, now: Instant) -> StompBeats {
        let mut beats = StompBeats::new(now);
        beats.connected(OfferedBeats::read(Some(header)).unwrap(), wants, now);
        beats
    }

    #[test]
    fn heart_beats_have_the_longer_interval_of_both_sides() {
        let now = Instant::now();
        let mut beats = connected("0,10000", 25 * SECOND, now);
        assert_eq!(beats.next(), Some(now + 9 * SECOND));
        assert_eq!(beats.check(now + 8 * SECOND, false), SessionBeat::Nothing);
        assert!(matches!(beats.check(now + 9 * SECOND, false), SessionBeat::Send(_)));
        let beats = connected("5000,0", 25 * SECOND, now);
        assert_eq!(beats.next(), Some(now + 50 * SECOND));
        assert_eq!(connected("0,0", SECOND, now).next(), None);
        let beats = connected("0,1", SECOND, now);
        assert_eq!(beats.next(), Some(now + SECOND.mul_f64(0.9)), "no flood of heart-beats");
    }

    #[test]
    fn a_silent_client_counts_as_dead_unless_it_could_send_nothing() {
        let now = Instant::now();
        let mut beats = connected("1000,0", SECOND, now);
        beats.received(now + SECOND);
        assert_eq!(beats.check(now + 2 * SECOND, false), SessionBeat::Nothing);
        assert_eq!(beats.check(now + 3 * SECOND, true), SessionBeat::Nothing);
        assert_eq!(beats.check(now + 5 * SECOND, false), SessionBeat::Dead(Close::PongTimeout));
    }

    #[test]
    fn a_client_that_never_connects_is_closed() {
        let now = Instant::now();
        let mut beats = StompBeats::new(now);
        let due = beats.next().unwrap();
        assert!(matches!(beats.check(due, false), SessionBeat::Dead(Close::Policy(_))));
    }

    #[test]
    fn a_heart_beat_header_is_two_numbers() {
        let read = |text| OfferedBeats::read(Some(text));
        assert_eq!(read("1,20"), Ok(OfferedBeats { sends: 1, wants: 20 }));
        for text in ["", "1", "1,", "-1,2", "1,2,3", "a,b"] {
            assert_eq!(read(text), Err(InvalidBeats), "{text:?}");
        }
        assert_eq!(OfferedBeats::read(None), Ok(OfferedBeats::default()));
    }
}
