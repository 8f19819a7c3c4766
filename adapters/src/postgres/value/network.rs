//! Addresses of networks and of network cards.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Malformed, Wire};

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

/// `inet` and `cidr`: the prefix length is shown where it says something, for `cidr` always.
pub(super) fn address(wire: &mut Wire<'_>) -> Result<String, Malformed> {
    let (family, prefix, is_cidr, length) = (wire.u8()?, wire.u8()?, wire.u8()? != 0, wire.u8()?);
    let (text, whole) = match (family, length) {
        (FAMILY_V4, 4) => (Ipv4Addr::from(wire.array::<4>()?).to_string(), 32),
        (FAMILY_V6, 16) => (v6(Ipv6Addr::from(wire.array::<16>()?)), 128),
        _ => return Err(Malformed),
    };
    Ok(if is_cidr || prefix != whole { format!("{text}/{prefix}") } else { text })
}

/// As the standard library writes it, save that Postgres shows an embedded IPv4 address in its own notation whenever 96 zero bits stand before it.
fn v6(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            format!("::{}", Ipv4Addr::new(a, b, c, d))
        }
        _ => address.to_string(),
    }
}

/// `08:00:2b:01:02:03`
pub(super) fn hardware_address(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
