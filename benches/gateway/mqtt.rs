//! The part of MQTT 3.1.1 that the measurements use.

/// Types of packets (section 2.2.1).
pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const SUBACK: u8 = 9;

/// CONNECT with a clean session, no keep-alive and no identifier.
const CONNECT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";

/// What a subscriber with QoS 0 sends. `topic`: at most 100 bytes.
pub fn opening(topic: &str) -> Vec<u8> {
    let length = topic.len() as u8;
    [CONNECT, &[0x82, length + 5, 0, 1, 0, length], topic.as_bytes(), &[0]].concat()
}

/// The bytes of the first packet. None: it is not complete.
pub fn packet_length(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for at in 1..=4 {
        let byte = usize::from(*bytes.get(at)?);
        remaining |= (byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return (bytes.len() > at + remaining).then_some(at + 1 + remaining);
        }
    }
    None
}
