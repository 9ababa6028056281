//! Lists of addresses in settings: single addresses and CIDR networks.

use std::net::IpAddr;

use ipnet::IpNet;

/// A list of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// Whether the text is an address or a network.
pub fn is_network(text: &str) -> bool {
    parse(text).is_some()
}

impl Networks {
    /// From texts that [`is_network`] accepts; others are ignored.
    pub fn new(texts: &[String]) -> Self {
        Self(texts.iter().filter_map(|text| parse(text)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `address`: an IPv4 address in IPv6 form counts as IPv4.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses a network; a single address is a network of full length. Addresses are parsed by the standard
/// library, because ipnet's own parser accepts octets with leading zeros, which other programs read as octal.
fn parse(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return Some(text.parse::<IpAddr>().ok()?.to_canonical().into());
    };
    // Number parsing alone would accept `+8`.
    let is_digits = length.bytes().all(|byte| byte.is_ascii_digit());
    let length: u8 = is_digits.then_some(length)?.parse().ok()?;
    let network = IpNet::new(address.parse().ok()?, length).ok()?;
    Some(of_ipv4(network).unwrap_or(network))
}

/// The IPv4 network that an IPv6 one represents.
fn of_ipv4(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(network) = network else { return None };
    let length = network.prefix_len().checked_sub(96)?;
    IpNet::new(network.addr().to_ipv4_mapped()?.into(), length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contain(network: &str, address: &str) -> bool {
        assert!(is_network(network), "{network}");
        Networks::new(&[network.to_owned()]).contain(address.parse().unwrap())
    }

    #[test]
    fn a_network_contains_all_addresses_with_its_prefix() {
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
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("::ffff:10.0.0.0/95", "::fffe:a00:0", "10.0.0.0"),
            ("10.0.0.0/008", "10.9.9.9", "11.0.0.0"),
        ] {
            assert!(contain(network, inside), "{inside} is in {network}");
            assert!(!contain(network, outside), "{outside} is not in {network}");
        }
    }

    #[test]
    fn only_addresses_and_networks_are_accepted_in_network_lists() {
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "a",
            "[::1]",
            "010.0.0.0/8",
            "010.0.0.0",
            "10.0.0.0/256",
            "10.0.0.0/8/8",
        ] {
            assert!(!is_network(bad), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_network_contains_an_address_if_its_prefix_bits_are_equal(
            own: u128, other: u128, bits in 0..=128u32,
        ) {
            let differ = (0..bits).any(|bit| (own ^ other) & (1 << (127 - bit)) != 0);
            let (own, other) = (IpAddr::V6(own.into()), IpAddr::V6(other.into()));
            assert_eq!(contain(&format!("{own}/{bits}"), &other.to_string()), !differ);
        }
    }
}
