//! The slot of a name among a cluster's 16,384, as in the cluster specification: CRC16 of the name,
//! or of its hash tag where it has one.

/// The number of slots of a cluster.
pub const SLOTS: usize = 16384;

/// A cluster's slot; 0 for every name where there is no cluster.
pub type Slot = u16;

/// The slot of a key or sharded channel.
pub fn of(name: &[u8]) -> Slot {
    crc16(tag(name)) % SLOTS as Slot
}

/// The text between the first `{` and the next `}`, if it is not empty; otherwise the whole name.
fn tag(name: &[u8]) -> &[u8] {
    let tagged = || {
        let open = name.iter().position(|byte| *byte == b'{')?;
        let rest = &name[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    };
    tagged().unwrap_or(name)
}

/// CRC16/XMODEM: polynomial 0x1021, initial value 0, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_match_those_of_redis() {
        // `CLUSTER KEYSLOT` of Redis 7.0.15.
        for (name, slot) in [
            ("123456789", 12739),
            ("", 0),
            ("foo", 12182),
            ("tidegate:news", 15649),
            ("{user1000}.following", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
        ] {
            assert_eq!(of(name.as_bytes()), slot, "{name}");
        }
    }

    #[test]
    fn names_with_the_same_hash_tag_share_a_slot() {
        assert_eq!(of(b"{user1000}.following"), of(b"{user1000}.followers"));
        assert_eq!(of(b"{bar"), crc16(b"{bar") % 16384);
    }
}
