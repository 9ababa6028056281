//! The slot of a name among a cluster's 16,384, as in the cluster specification: CRC16 of the name,
//! or of its hash tag where it has one.

use std::sync::OnceLock;

/// The number of slots of a cluster.
pub const SLOTS: usize = 16384;

/// A cluster's slot; 0 for every name where there is no cluster.
pub type Slot = u16;

/// The slot of a key or sharded channel.
pub fn of(name: &[u8]) -> Slot {
    crc16(tag(name)) % SLOTS as Slot
}

/// A tag of three printable characters for each slot, as `idempotency.lua` computes it: with the first of
/// [`TAG_FIRST`] for which two more characters give the slot, and the smallest CRC.
pub fn shared_tags() -> &'static [String] {
    static TAGS: OnceLock<Vec<String>> = OnceLock::new();
    TAGS.get_or_init(|| {
        let mut tags: Vec<(usize, String)> = vec![(usize::MAX, String::new()); SLOTS];
        let is_printable = |byte: &u8| !matches!(byte, b'{' | b'}');
        let printable = || (b'!'..=b'~').filter(is_printable);
        for (at, first) in TAG_FIRST.iter().enumerate() {
            for (second, third) in
                printable().flat_map(|it| printable().map(move |last| (it, last)))
            {
                let crc = usize::from(crc16(&[*first, second, third]));
                // In the order in which they are tried.
                let order = at * 4 + crc / SLOTS;
                let found = &mut tags[crc % SLOTS];
                if order < found.0 {
                    let tag = [*first, second, third].map(char::from);
                    *found = (order, tag.iter().collect());
                }
            }
        }
        tags.into_iter().map(|(_, tag)| tag).collect()
    })
}

const TAG_FIRST: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

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
    fn every_slot_has_a_shared_tag_of_three_characters() {
        let tags = shared_tags();
        assert_eq!(tags.len(), SLOTS);
        for (slot, tag) in tags.iter().enumerate() {
            assert_eq!(
                (tag.len(), usize::from(of(format!("t:patterns {{{tag}}}").as_bytes()))),
                (3, slot)
            );
        }
    }

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
