//! Which addresses Weir connects to: a name that the operator wrote may lead anywhere inside the company, but not to the
//! machine's own services, and never to the place where a cloud hands out credentials. A name that somebody else gave leads
//! outside or nowhere.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use config::{Network, Sources};
use tokio::net::{TcpStream, lookup_host};

/// Addresses outside the link-local ranges at which clouds answer questions about the machine.
const METADATA: [IpAddr; 7] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The name is not known.
    #[error("the name {0} cannot be resolved")]
    Unresolved(String, #[source] io::Error),
    /// Every address of the name is one that Weir does not connect to.
    #[error("{host} leads to {address}, {why}")]
    Forbidden {
        /// The name as the operator wrote it.
        host: String,
        /// Where it leads.
        address: IpAddr,
        /// What is wrong with that.
        why: &'static str,
    },
    /// No address let us in.
    #[error("{0}")]
    Refused(#[from] io::Error),
}

impl ConnectError {
    /// What a caller may know of it: no address.
    pub(crate) fn told(&self) -> &'static str {
        match self {
            Self::Unresolved(..) => "its name cannot be resolved",
            Self::Forbidden { .. } => "its name leads to an address that Weir does not connect to",
            Self::Refused(source) if source.kind() == io::ErrorKind::ConnectionRefused => "connection refused",
            Self::Refused(_) => "no connection",
        }
    }

    /// What the operator needs besides.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Unresolved(_, source) => format!("{self}: {source}"),
            Self::Forbidden { .. } | Self::Refused(_) => self.to_string(),
        }
    }
}

/// Which addresses a name may lead to.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// The operator wrote the name: it may lead to private networks, where the config names some to these alone.
    Written {
        /// `outbound.private_networks`; `None` for all.
        private: Option<Arc<[Network]>>,
    },
    /// Somebody else named it, such as an authorization server in its metadata: it may lead to public addresses alone.
    Learned,
}

impl Reach {
    /// What the config lets names lead to that stand in it.
    pub(crate) fn written(sources: &Sources) -> Self {
        Self::Written { private: sources.private_networks.clone() }
    }

    /// What speaks against connecting to `address` for a host given as `host`; `None` when nothing does.
    fn objection(&self, host: &str, address: IpAddr) -> Option<&'static str> {
        let Some(address) = inner(address) else { return Some("an address that hides another") };
        if METADATA.contains(&address) {
            return Some("where a cloud hands out credentials");
        }
        if is_link_local(address) {
            return Some("a link-local address");
        }
        if is_nobody(address) {
            return Some("which is no address of one machine");
        }
        if address.is_loopback() {
            return match self {
                Self::Written { .. } if is_written_as_loopback(host) => None,
                Self::Written { .. } => Some("which is this machine: write `localhost` if that is meant"),
                Self::Learned => Some("which is this machine"),
            };
        }
        match self {
            Self::Written { private: Some(networks) }
                if is_private(address) && !networks.iter().any(|network| network.contains(address)) =>
            {
                Some("a private address outside of `outbound.private_networks`")
            }
            Self::Written { .. } => None,
            Self::Learned => (!is_public(address)).then_some("which is no public address"),
        }
    }
}

/// Connects to `host`, trying the permitted addresses in turn: the address that is checked is the one that is connected to.
/// Has no deadline of its own.
///
/// # Errors
/// The last refusal, or why nothing was tried.
pub(crate) async fn connect(host: &str, port: u16, reach: &Reach) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(&*permitted(host, port, reach).await?).await?;
    // Requests are small and wait for each other's answers: Nagle's algorithm would add 40 ms to many of them.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The addresses that `host` leads to and that Weir connects to; at least one. Has no deadline of its own.
///
/// # Errors
/// The name leads nowhere, or to nothing but forbidden addresses.
pub(crate) async fn permitted(host: &str, port: u16, reach: &Reach) -> Result<Vec<SocketAddr>, ConnectError> {
    let bare = bare(host);
    let found = lookup_host((bare, port)).await.map_err(|source| ConnectError::Unresolved(host.to_owned(), source))?;
    permitted_of(found, bare, reach)
}

/// Those of the addresses `found` for `host` that Weir connects to.
fn permitted_of(
    found: impl Iterator<Item = SocketAddr>,
    host: &str,
    reach: &Reach,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let mut permitted = Vec::new();
    let mut failure = ConnectError::Unresolved(host.to_owned(), io::Error::from(io::ErrorKind::NotFound));
    for address in found {
        match reach.objection(host, address.ip()) {
            None => permitted.push(address),
            Some(why) => {
                failure = ConnectError::Forbidden { host: host.to_owned(), address: address.ip(), why };
            }
        }
    }
    if permitted.is_empty() { Err(failure) } else { Ok(permitted) }
}

/// Whether `host` as it stands in a URL names this machine, and says so.
pub(crate) fn is_written_as_loopback(host: &str) -> bool {
    let host = bare(host);
    let name = host.to_ascii_lowercase();
    let is_loopback = |ip: IpAddr| inner(ip).is_some_and(|ip| ip.is_loopback());
    name == "localhost" || name.ends_with(".localhost") || host.parse().is_ok_and(is_loopback)
}

/// A host without the brackets that an IPv6 address has in a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The address that is reached in the end: an IPv6 one may only wrap an IPv4 one. `None` where it cannot be told which.
fn inner(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return Some(address) };
    let wrapped = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match v6.segments() {
        // `::` and `::1` are themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Some(address),
        // Mapped, compatible (RFC 4291, section 2.5.5) and translated (RFC 2765, section 2.1) addresses.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => wrapped(high, low),
        // NAT64 (RFC 6052, section 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => wrapped(high, low),
        // NAT64 of a network's own (RFC 8215): where in it the address stands is for that network to know.
        [0x64, 0xff9b, 1, ..] => None,
        // 6to4 (RFC 3056, section 2).
        [0x2002, high, low, ..] => wrapped(high, low),
        // Teredo (RFC 4380, section 4): the address is inverted.
        [0x2001, 0, _, _, _, _, high, low] => wrapped(!high, !low),
        // ISATAP (RFC 5214, section 6.1).
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => wrapped(high, low),
        _ => Some(address),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether no one machine has this address.
fn is_nobody(address: IpAddr) -> bool {
    match address {
        // Of 0.0.0.0/8 the first leads to this machine, and the others nowhere.
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_multicast() || v4.octets()[0] >= 240,
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Whether it belongs to a network of somebody's own (RFC 1918, 4193, 6598, and RFC 3879 of before).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || matches!(v4.octets(), [100, 64..128, ..]),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.segments()[0] & 0xffc0 == 0xfec0,
    }
}

/// Whether everybody's packets to it go to the same place (the special-purpose registries of IANA, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let special = matches!(
                v4.octets(),
                [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _]
            );
            !special && !is_private(address) && !v4.is_loopback() && !v4.is_link_local() && !is_nobody(address)
        }
        IpAddr::V6(v6) => match v6.segments() {
            // Protocol assignments, and what documentation is written with.
            [0x2001, 0..0x200 | 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => false,
            [first, ..] => first & 0xe000 == 0x2000,
        },
    }
}

#[cfg(test)]
mod tests;
