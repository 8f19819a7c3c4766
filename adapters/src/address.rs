//! Which addresses Weir connects to: a name that the operator wrote may lead anywhere inside the company, but not to the
//! machine's own services, and never to the place where a cloud hands out credentials.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpStream, lookup_host};

/// Addresses outside the link-local ranges at which clouds answer questions about the machine.
const METADATA: [IpAddr; 6] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
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

/// Connects to `host`, trying the permitted addresses in turn: the address that is checked is the one that is connected to.
/// Has no deadline of its own.
///
/// # Errors
/// The last refusal, or why nothing was tried.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(&*permitted(host, port).await?).await?;
    // Requests are small and wait for each other's answers: Nagle's algorithm would add 40 ms to many of them.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The addresses that `host` leads to and that Weir connects to; at least one. Has no deadline of its own.
///
/// # Errors
/// The name leads nowhere, or to nothing but forbidden addresses.
pub(crate) async fn permitted(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = lookup_host((bare, port)).await.map_err(|source| ConnectError::Unresolved(host.to_owned(), source))?;
    let mut permitted = Vec::new();
    let mut failure = ConnectError::Unresolved(host.to_owned(), io::Error::from(io::ErrorKind::NotFound));
    for address in found {
        match objection(bare, address.ip()) {
            None => permitted.push(address),
            Some(why) => {
                failure = ConnectError::Forbidden { host: bare.to_owned(), address: address.ip(), why };
            }
        }
    }
    if permitted.is_empty() { Err(failure) } else { Ok(permitted) }
}

/// What speaks against connecting to `address` for a host written as `host`; `None` when nothing does.
fn objection(host: &str, address: IpAddr) -> Option<&'static str> {
    let address = inner(address);
    if METADATA.contains(&address) {
        return Some("where a cloud hands out credentials");
    }
    let (link_local, unusable) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.is_unspecified() || v6.is_multicast()),
    };
    if link_local {
        Some("a link-local address")
    } else if unusable {
        Some("which is no address of one machine")
    } else if address.is_loopback() && !written_as_loopback(host) {
        Some("which is this machine: write `localhost` if that is meant")
    } else {
        None
    }
}

fn written_as_loopback(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || host.parse().is_ok_and(|ip: IpAddr| inner(ip).is_loopback())
}

/// The IPv4 address inside an IPv6 one that only wraps it (mapped, or NAT64 by RFC 6052).
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => v6.to_canonical(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectError, connect, objection};

    #[test]
    fn private_ranges_are_fine_and_credential_services_are_not() {
        let rows = [
            ("db.corp.example", "10.1.2.3", true),
            ("db.corp.example", "192.168.0.9", true),
            ("db.corp.example", "fd12:3456::1", true),
            ("db.corp.example", "93.184.216.34", true),
            ("db.corp.example", "169.254.169.254", false),
            ("169.254.169.254", "169.254.169.254", false),
            ("db.corp.example", "::ffff:169.254.169.254", false),
            ("db.corp.example", "64:ff9b::a9fe:a9fe", false),
            ("db.corp.example", "fe80::1", false),
            ("db.corp.example", "febf::1", false),
            ("db.corp.example", "fd00:ec2::254", false),
            ("db.corp.example", "fd00:ec2::23", false),
            ("db.corp.example", "fd00:c1::a9fe:a9fe", false),
            ("db.corp.example", "100.100.100.200", false),
            ("db.corp.example", "0.0.0.0", false),
            ("db.corp.example", "::", false),
            ("db.corp.example", "224.0.0.1", false),
        ];
        for (host, address, fine) in rows {
            assert_eq!(objection(host, address.parse().expect(address)).is_none(), fine, "{host} {address}");
        }
    }

    #[test]
    fn loopback_is_reached_only_when_it_was_written() {
        let rows = [
            ("localhost", "127.0.0.1", true),
            ("LOCALHOST", "::1", true),
            ("db.localhost", "127.0.0.1", true),
            ("127.0.0.2", "127.0.0.2", true),
            ("::1", "::1", true),
            ("db.corp.example", "127.0.0.1", false),
            ("db.corp.example", "::1", false),
            ("db.corp.example", "::ffff:127.0.0.1", false),
            ("notlocalhost", "127.0.0.1", false),
            ("127.0.0.1.evil.example", "127.0.0.1", false),
        ];
        for (host, address, fine) in rows {
            assert_eq!(objection(host, address.parse().expect(address)).is_none(), fine, "{host} {address}");
        }
    }

    #[tokio::test]
    async fn a_forbidden_address_is_not_even_tried() {
        let error = connect("169.254.169.254", 80).await.expect_err("a metadata address");
        assert!(matches!(error, ConnectError::Forbidden { .. }), "{error}");
        assert_eq!(error.to_string(), "169.254.169.254 leads to 169.254.169.254, a link-local address");
    }
}
