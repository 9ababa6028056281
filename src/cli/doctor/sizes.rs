//! What a connection takes, as measured (docs/operating/sizing.md), and numbers as people read them.

use crate::config::Config;

/// Bytes of the node for an idle connection: 2.1 KB where many share a channel, 3.0 where each has its own.
const PLAIN_BYTES: usize = 3 << 10;

/// The same with TLS.
const TLS_BYTES: usize = 10 << 10;

/// Bytes of the kernel for an idle socket: 3.6 KB of socket, file and inode, and what `epoll` keeps. A control
/// group counts them in.
pub const KERNEL_BYTES: usize = 4 << 10;

/// Where `limits.connections_max` says nothing, less room than this is worth a warning.
pub const ROOM_MIN: usize = 10_000;

/// What an idle connection of this configuration takes of the node.
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

/// The same of what is counted in memory.
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
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_048_576].map(many), ["0", "999", "1,000", "1,048,576"]);
        let sizes = [12, 1 << 10, 1536 << 20, 33_554_432, 5_000_000 << 30];
        let texts = ["12 B", "1 KiB", "1.5 GiB", "32 MiB", "5,000,000 GiB"];
        assert_eq!(sizes.map(bytes), texts);
    }
}
