//! What a connection costs, as measured (docs/operating/sizing.md), and the format of numbers.

use crate::config::Config;

/// Bytes of the node for an idle connection: 2.1 KB if many share a channel, 3.0 if each has its own.
const PLAIN_BYTES: usize = 3 << 10;

/// The same with TLS.
const TLS_BYTES: usize = 10 << 10;

/// Bytes of the kernel for an idle socket: 3.6 KB of socket, file and inode, and `epoll`'s entry. A control
/// group includes them.
pub const KERNEL_BYTES: usize = 4 << 10;

/// If `limits.connections_max` is not set, less room than this is a warning.
pub const ROOM_MIN: usize = 10_000;

/// Bytes of the node for an idle connection with this configuration.
pub fn connection_bytes(config: &Config) -> usize {
    if config.server.tls.is_some() { TLS_BYTES } else { PLAIN_BYTES }
}

/// `1,048,576`.
pub fn count(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same for sizes in memory.
pub fn many(number: usize) -> String {
    count(number as u128)
}

/// `1.5 GiB`.
pub fn bytes(number: usize) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((unit, shift)) = units.into_iter().find(|(_, shift)| number >= 1 << shift) else {
        return format!("{number} B");
    };
    let tenths = ((number >> (shift - 4)) * 10) >> 4;
    match tenths % 10 {
        0 => format!("{} {unit}", many(tenths / 10)),
        rest => format!("{}.{rest} {unit}", many(tenths / 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_sizes_have_units() {
        assert_eq!([0, 999, 1000, 1_048_576].map(many), ["0", "999", "1,000", "1,048,576"]);
        let sizes = [12, 1 << 10, 1536 << 20, 33_554_432, 5_000_000 << 30];
        let texts = ["12 B", "1 KiB", "1.5 GiB", "32 MiB", "5,000,000 GiB"];
        assert_eq!(sizes.map(bytes), texts);
    }
}
