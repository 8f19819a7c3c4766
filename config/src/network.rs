//! Networks of addresses: `10.0.0.0/8`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A network of IP addresses, written `10.0.0.0/8`, `fd00::/8`, or as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` lies in the network. An IPv4 address that arrives as IPv6 (`::ffff:10.0.0.1`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => first_v4(address, self.prefix) == network,
            (IpAddr::V6(network), IpAddr::V6(address)) => first_v6(address, self.prefix) == network,
            _ => false,
        }
    }

    /// Whether every address of its kind lies in the network.
    pub(crate) fn is_everything(&self) -> bool {
        self.prefix == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no network: write it as `10.0.0.0/8`, `fd00::/8`, or one address");
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) if prefix.len() <= 3 && prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?))
            }
            Some(_) => return Err(wrong()),
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let (bits_written, address) = (bits(written), written.to_canonical());
        // `::ffff:10.0.0.0/104` is another spelling of `10.0.0.0/8`.
        let mapped_bits = bits_written - bits(address);
        let prefix = prefix.unwrap_or(bits_written).checked_sub(mapped_bits).ok_or_else(wrong)?;
        if prefix > bits(address) {
            return Err(wrong());
        }
        let first = match address {
            IpAddr::V4(address) => IpAddr::V4(first_v4(address, prefix)),
            IpAddr::V6(address) => IpAddr::V6(first_v6(address, prefix)),
        };
        if first != address {
            return Err(format!(
                "`{text}` names one address and a network at once: write `{first}/{prefix}`, or `{address}` alone"
            ));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn first_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn first_v6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
            ("192.168.1.7", "192.168.1.7", true),
            ("192.168.1.7", "192.168.1.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
            ("::/0", "2001:db8::1", true),
        ] {
            let parsed: Network = network.parse().expect(network);
            assert_eq!(parsed.contains(address.parse().expect(address)), expected, "{address} in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_right_form() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0/8",
            "example.org",
            "::/129",
            "::ffff:10.0.0.0/8",
        ] {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.contains("`10.0.0.0/8`"), "{error}");
        }
        let error = "10.1.2.3/8".parse::<Network>().expect_err("host bits are set");
        assert!(error.contains("`10.0.0.0/8`") && error.contains("`10.1.2.3`"), "{error}");
    }
}
