//! Bytes of an MQTT client, cut and joined in different ways: the same packets are found, none makes the node fail, and
//! what the node answers are packets.

use bytes::Bytes;
use tidegate::close::Close;
use tidegate::protocol::mqtt::{Carrier, ClientPacket, Mqtt, Version, packet_length};
use tidegate::protocol::{Command, DecodeError, Format, Message, Reply, Speak, Stamp};
use tidegate::publication::{Channel, NodeId, PayloadKind, Position, Publication, SessionId};

/// `session.message_bytes_max`.
const PACKET_BYTES_MAX: usize = 4096;

/// The first byte says in what pieces the rest arrives.
pub fn check(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let whole = packets(bytes, bytes.len().max(1));
    assert_eq!(packets(bytes, usize::from(*size).max(1)), whole, "the pieces matter");
    for packet in &whole.0 {
        for version in [Version::V3, Version::V5] {
            let _ = ClientPacket::read(packet.clone(), version);
        }
    }
    converse_over(Carrier::WebSocket, &whole.0);
    converse_over(Carrier::Stream, &whole.0);
}

fn session(carrier: Carrier) -> Mqtt {
    let mut session = Mqtt::new(carrier, PACKET_BYTES_MAX);
    let node = NodeId::of_number(1).expect("a small number");
    session.begin(SessionId { node, number: 2 });
    session
}

/// The packets in these bytes, and why there are no more.
fn packets(bytes: &[u8], size: usize) -> (Vec<Bytes>, Option<Close>) {
    let mut packets = session(Carrier::Stream).packets().expect("the protocol has packets");
    let mut found = Vec::new();
    for piece in bytes.chunks(size) {
        let payload = Bytes::copy_from_slice(piece);
        packets.add(Message { kind: PayloadKind::Binary, payload }).expect("it is binary");
        loop {
            match packets.next() {
                Ok(Some(packet)) => found.push(packet.payload),
                Ok(None) => break,
                Err(close) => return (found, Some(close)),
            }
        }
    }
    (found, None)
}

fn converse_over(carrier: Carrier, packets: &[Bytes]) {
    let session = session(carrier);
    for packet in packets {
        let payload = packet.clone();
        match session.decode(Message { kind: PayloadKind::Binary, payload }, 128) {
            Ok(outcomes) => {
                for outcome in outcomes {
                    match outcome {
                        Ok(command) => check_command(&session, carrier, command),
                        Err(error) => check_reply(&session, carrier, &Reply::Error(error)),
                    }
                }
            }
            Err(DecodeError::Answer(error) | DecodeError::TooDeep(error)) => {
                check_reply(&session, carrier, &Reply::Error(error));
            }
            Err(DecodeError::Close(close)) => {
                let last = session.last_bytes(close).unwrap_or_default();
                if carrier == Carrier::Stream {
                    check_packets(&last);
                }
                return;
            }
        }
    }
}

fn check_command(session: &Mqtt, carrier: Carrier, command: Command) {
    let reply = match command {
        Command::Connect { id, .. } => Reply::Connected { id },
        Command::Ping { id } => Reply::Pong { id },
        Command::Publish { id, channel, publication } => {
            for format in [Format::MqttStream, Format::Mqtt5Stream] {
                check_packets(&format.publication(channel.as_str(), &publication));
            }
            Reply::Published { id, position: None }
        }
        Command::Subscribe { id, channel, .. } => {
            let position = Some(Position { epoch: 1, seq: 1 });
            let subscribed =
                Reply::Subscribed { id, channel: channel.clone(), position, recovered: None };
            let (_, stamp) = session.subscription(&channel);
            check_reply(session, carrier, &subscribed);
            if let Some(stamp) = stamp {
                check_stamped(&channel, carrier, stamp);
            }
            return;
        }
        Command::Acknowledge => Reply::Acknowledged,
        Command::Unsubscribe { id, channel } => Reply::Unsubscribed { id, channel },
        _ => return,
    };
    check_reply(session, carrier, &reply);
}

/// Publications that the session completes become packets.
fn check_stamped(channel: &Channel, carrier: Carrier, mut stamp: Stamp) {
    for seq in 1..4 {
        let position = Some(Position { epoch: 1, seq });
        let bare = Publication::bare(Bytes::from_static(b"payload"));
        let publication = Publication { position, ..bare };
        let frame = Format::MqttMarked.publication(channel.as_str(), &publication);
        let stamped = stamp(frame).unwrap_or_default();
        if carrier == Carrier::Stream {
            check_packets(&stamped);
        }
    }
}

fn check_reply(session: &Mqtt, carrier: Carrier, reply: &Reply) {
    let frames = session.reply(reply).unwrap_or_default();
    if carrier == Carrier::Stream {
        check_packets(&frames);
    }
}

/// Asserts that the bytes are whole packets.
fn check_packets(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let length = packet_length(bytes, usize::MAX).expect("a length").expect("a whole header");
        bytes = &bytes[length..];
    }
}
