//! Addresses that belong together, as an operator writes them: single ones and CIDR networks.

use std::net::IpAddr;
use std::str::FromStr;

/// A list of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// All addresses that begin with the same bits. A single address is one of full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// How many bits count.
    bits: u32,
}

/// May this stand in a list of networks?
pub fn is_network(text: &str) -> bool {
    text.parse::<Network>().is_ok()
}

impl Networks {
    /// Of texts that [`is_network`] accepts; others are left out.
    pub fn new(texts: &[String]) -> Self {
        Self(texts.iter().filter_map(|text| text.parse().ok()).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `address`: an IPv4 address that came as an IPv6 one counts as IPv4.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let (differ, width) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits() ^ other.to_bits()), u32::BITS)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits(), u128::BITS),
            _ => return false,
        };
        // A shift by all bits leaves nothing to differ.
        differ.checked_shr(width - self.bits).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(bits.parse::<u32>().map_err(drop)?))
            }
            Some(_) => return Err(()),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(drop)?;
        let width = |address: IpAddr| if address.is_ipv4() { u32::BITS } else { u128::BITS };
        let bits = bits.unwrap_or(width(written));
        let address = written.to_canonical();
        let mapped = width(written) - width(address);
        match bits {
            // Of an IPv4 network that is written as an IPv6 one.
            bits if bits > width(written) => Err(()),
            bits if bits >= mapped => Ok(Self { address, bits: bits - mapped }),
            bits => Ok(Self { address: written, bits }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contain(network: &str, address: &str) -> bool {
        assert!(is_network(network), "{network}");
        Networks::new(&[network.to_owned()]).contain(address.parse().unwrap())
    }

    #[test]
    fn a_network_is_all_that_begin_alike() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
        ] {
            assert!(contain(network, inside), "{inside} is in {network}");
            assert!(!contain(network, outside), "{outside} is not in {network}");
        }
    }

    #[test]
    fn only_addresses_and_networks_are_written() {
        for bad in
            ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "a", "[::1]"]
        {
            assert!(!is_network(bad), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_network_contains_an_address_if_its_first_bits_are_the_same(
            own: u128, other: u128, bits in 0..=128u32,
        ) {
            let network = Network { address: IpAddr::V6(own.into()), bits };
            let differ = (0..bits).any(|bit| (own ^ other) & (1 << (127 - bit)) != 0);
            assert_eq!(network.contains(IpAddr::V6(other.into())), !differ);
        }
    }
}
