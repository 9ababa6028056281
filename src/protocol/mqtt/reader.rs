//! Reads the fields of packets (MQTT 5 section 1.5), and finds where a packet ends.

use bytes::{Buf, Bytes};

use super::reason::{PacketFault, Reason};

/// Most bytes of a variable byte integer (section 1.5.5).
const LENGTH_BYTES_MAX: usize = 4;

const CUT: PacketFault = PacketFault::malformed("a packet is shorter than its fields");

/// The bytes of the packet at the front of `bytes`, its fixed header included. None: the header is not whole yet.
///
/// Fails as soon as the header says that the packet is larger than `bytes_max`, before anything else of it is read.
pub fn packet_length(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, PacketFault> {
    let Some(length) = bytes.get(1..) else { return Ok(None) };
    let Some((remaining, length_bytes)) = variable(length)? else { return Ok(None) };
    let whole = 1 + length_bytes + remaining as usize;
    match whole > bytes_max {
        true => Err(PacketFault {
            reason: Reason::PacketTooLarge,
            what: "a packet is larger than session.message_bytes_max",
        }),
        false => Ok(Some(whole)),
    }
}

/// A variable byte integer at the front, and how many bytes it takes. None: it is not whole.
fn variable(bytes: &[u8]) -> Result<Option<(u32, usize)>, PacketFault> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            // MQTT-1.5.5-1: the shortest encoding.
            return match at > 0 && *byte == 0 {
                true => Err(PacketFault::malformed("a length is not in its shortest form")),
                false => Ok(Some((value, at + 1))),
            };
        }
    }
    match bytes.len() < LENGTH_BYTES_MAX {
        true => Ok(None),
        false => Err(PacketFault::malformed("a length has more than four bytes")),
    }
}

/// A text of a packet: UTF-8 without U+0000.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketText(Bytes);

impl PacketText {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Reads fields from the front of a packet. What it returns shares the packet's bytes.
#[derive(Clone, Debug)]
pub struct FieldReader(Bytes);

impl FieldReader {
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    pub fn rest(self) -> Bytes {
        self.0
    }

    /// Fails if something is left.
    pub fn end(&self) -> Result<(), PacketFault> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(PacketFault::malformed("a packet is longer than its fields")),
        }
    }

    pub fn byte(&mut self) -> Result<u8, PacketFault> {
        self.0.try_get_u8().map_err(|_| CUT)
    }

    /// A two byte integer.
    pub fn short(&mut self) -> Result<u16, PacketFault> {
        self.0.try_get_u16().map_err(|_| CUT)
    }

    /// A four byte integer.
    pub fn word(&mut self) -> Result<u32, PacketFault> {
        self.0.try_get_u32().map_err(|_| CUT)
    }

    /// A packet identifier, which is not 0 (MQTT-2.2.1-3).
    pub fn packet_id(&mut self) -> Result<u16, PacketFault> {
        match self.short()? {
            0 => Err(PacketFault::malformed("a packet identifier is 0")),
            id => Ok(id),
        }
    }

    /// A variable byte integer.
    pub fn variable(&mut self) -> Result<u32, PacketFault> {
        let (value, length_bytes) = variable(&self.0)?.ok_or(CUT)?;
        self.0.advance(length_bytes);
        Ok(value)
    }

    pub fn binary(&mut self) -> Result<Bytes, PacketFault> {
        let length = usize::from(self.short()?);
        self.take(length)
    }

    pub fn text(&mut self) -> Result<PacketText, PacketFault> {
        let bytes = self.binary()?;
        match std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0')) {
            true => Ok(PacketText(bytes)),
            // MQTT-1.5.4-1 and MQTT-1.5.4-2.
            false => Err(PacketFault::malformed("a text is not UTF-8, or has U+0000")),
        }
    }

    /// The part that the length at the front gives (section 2.2.2).
    pub fn part(&mut self) -> Result<Self, PacketFault> {
        let length = self.variable()? as usize;
        self.take(length).map(Self)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, PacketFault> {
        match length <= self.0.len() {
            true => Ok(self.0.split_to(length)),
            false => Err(CUT),
        }
    }
}
