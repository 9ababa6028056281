//! Which of a cluster's 16,384 slots a name belongs to, as the cluster specification says: CRC16 of
//! the name, or of its hash tag where it has one.

/// How many slots a cluster shares out among its masters.
pub const SLOTS: usize = 16384;

/// A cluster's slot; 0 for every name where there is no cluster.
pub type Slot = u16;

/// The slot of a key or sharded channel.
pub fn of(name: &[u8]) -> Slot {
    crc16(tag(name)) % SLOTS as Slot
}

/// What stands between the first `{` and the next `}`, where it is not empty; else the whole name.
fn tag(name: &[u8]) -> &[u8] {
    let tagged = || {
        let open = name.iter().position(|byte| *byte == b'{')?;
        let rest = &name[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    };
    tagged().unwrap_or(name)
}

/// CRC16 in its XMODEM form: polynomial 0x1021, from zero, nothing reflected.
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
    fn slots_are_those_that_redis_says() {
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
    fn names_with_one_tag_share_their_slot() {
        assert_eq!(of(b"{user1000}.following"), of(b"{user1000}.followers"));
        assert_eq!(of(b"{bar"), crc16(b"{bar") % 16384);
    }
}
