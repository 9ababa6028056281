//! What the replies to commands are about, in the ids of the commands.

use crate::protocol::Id;

/// What a command was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandId {
    Connect,
    /// A publication of QoS 0, which has no packet identifier.
    Publish,
    /// Of QoS 1. `retain`: whether the client asks to retain it.
    PublishOnce {
        packet_id: u16,
        retain: bool,
    },
    /// Of QoS 2.
    PublishExactlyOnce {
        packet_id: u16,
        retain: bool,
    },
    Release {
        packet_id: u16,
    },
    /// The filter at this place of a SUBSCRIBE or UNSUBSCRIBE, by the packet's number on the connection.
    Filter {
        number: u32,
        at: u16,
    },
}

const CONNECT: i64 = 1;
const PUBLISH: i64 = 2;
const PUBLISH_ONCE: i64 = 3;
const PUBLISH_EXACTLY_ONCE: i64 = 4;
const RELEASE: i64 = 5;
const FILTER: i64 = 6;

/// Bits of what follows the kind.
const KIND_SHIFT: u32 = 48;

impl From<CommandId> for Id {
    fn from(id: CommandId) -> Self {
        let (kind, rest) = match id {
            CommandId::Connect => (CONNECT, 0),
            CommandId::Publish => (PUBLISH, 0),
            CommandId::PublishOnce { packet_id, retain } => {
                (PUBLISH_ONCE, retained(packet_id, retain))
            }
            CommandId::PublishExactlyOnce { packet_id, retain } => {
                (PUBLISH_EXACTLY_ONCE, retained(packet_id, retain))
            }
            CommandId::Release { packet_id } => (RELEASE, i64::from(packet_id)),
            CommandId::Filter { number, at } => {
                (FILTER, (i64::from(number) << u16::BITS) | i64::from(at))
            }
        };
        Self::Number((kind << KIND_SHIFT) | rest)
    }
}

fn retained(packet_id: u16, retain: bool) -> i64 {
    (i64::from(retain) << u16::BITS) | i64::from(packet_id)
}

impl CommandId {
    /// None: the reply is to no command of the client.
    pub fn of(id: Option<&Id>) -> Option<Self> {
        let Some(&Id::Number(number)) = id else { return None };
        let (packet_id, retain) = (number as u16, (number >> u16::BITS) & 1 == 1);
        Some(match number >> KIND_SHIFT {
            CONNECT => Self::Connect,
            PUBLISH => Self::Publish,
            PUBLISH_ONCE => Self::PublishOnce { packet_id, retain },
            PUBLISH_EXACTLY_ONCE => Self::PublishExactlyOnce { packet_id, retain },
            RELEASE => Self::Release { packet_id },
            FILTER => Self::Filter { number: (number >> u16::BITS) as u32, at: packet_id },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_command_says_what_it_was_made_of() {
        let (packet_id, number, at) = (u16::MAX, u32::MAX, 1023);
        for id in [
            CommandId::Connect,
            CommandId::Publish,
            CommandId::PublishOnce { packet_id, retain: true },
            CommandId::PublishExactlyOnce { packet_id, retain: false },
            CommandId::Release { packet_id },
            CommandId::Filter { number, at },
        ] {
            assert_eq!(CommandId::of(Some(&id.into())), Some(id));
        }
        assert_eq!(CommandId::of(None), None);
    }
}
