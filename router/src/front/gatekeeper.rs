//! Which values of `Host` and `Origin` are let in: those of Weir's own address. It keeps pages of other sites from reaching a router
//! on the reader's own machine (MCP 2026-07-28, basic/transports/streamable-http, "Security Warning").

use std::{
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
};

use config::network::Network;
use http::{HeaderMap, Uri, header, uri::Authority};

/// What the gatekeeper says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Malformed(&'static str),
    Closed(&'static str),
}

/// The hosts and origins that are let in, and the proxies whose word counts.
#[derive(Debug)]
pub struct Gatekeeper {
    hosts: Vec<Place>,
    origins: Vec<String>,
    trusted_proxies: Vec<Network>,
    listening: OnceLock<SocketAddr>,
}

/// A host with the port it must be asked by; `None` for any.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
}

const HOST_REFUSED: &str = "This Host is not one of Weir's. Use the address it listens on, or add the name to server.public_url or server.hosts.";
const ORIGIN_REFUSED: &str = "Pages of this Origin may not use Weir. Add it to server.origins if they should.";

impl Gatekeeper {
    /// A gatekeeper by the settings of the listener.
    #[must_use]
    pub fn new(server: &config::Server) -> Self {
        let mut hosts: Vec<Place> = server.hosts.iter().filter_map(|host| Place::parse(host)).collect();
        let mut origins: Vec<String> = server.origins.iter().map(|origin| normal_origin(origin)).collect();
        if let Some(url) = server.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok())
            && let Some(authority) = url.authority()
        {
            let scheme = url.scheme_str().unwrap_or("https");
            let port = authority.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
            hosts.push(Place { host: authority.host().to_ascii_lowercase(), port: Some(port) });
            origins.push(normal_origin(&format!("{scheme}://{authority}")));
        }
        Self { hosts, origins, trusted_proxies: server.trusted_proxies(), listening: OnceLock::new() }
    }

    /// The gatekeeper of the same listener under other settings.
    pub(crate) fn with(&self, server: &config::Server) -> Self {
        Self { listening: self.listening.clone(), ..Self::new(server) }
    }

    /// The address that the listener really has.
    pub(crate) fn listens_on(&self, address: SocketAddr) {
        let _ = self.listening.set(address);
    }

    /// Whether the word of a proxy at `address` counts.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    pub(super) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Gate {
        let mut host_headers = headers.get_all(header::HOST).iter();
        let (host, another) = (host_headers.next(), host_headers.next());
        if another.is_some() {
            return Gate::Malformed("More than one Host.");
        }
        let host = match host.map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok())) {
            Some(None) => return Gate::Closed(HOST_REFUSED),
            Some(Some(host)) => Some(host),
            None => None,
        };
        let authority = match (uri.authority(), host) {
            // RFC 9112, section 3.2: every HTTP/1.1 request has one.
            (None, None) => return Gate::Malformed("The request names no Host."),
            (Some(target), Some(host)) if *target != host => {
                return Gate::Malformed("The request's target and its Host name different hosts.");
            }
            (Some(target), _) => target.clone(),
            (None, Some(host)) => host,
        };
        if authority.as_str().contains('@') || !self.is_ours(authority.host(), authority.port_u16()) {
            return Gate::Closed(HOST_REFUSED);
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        if origins.any(|origin| !origin.to_str().is_ok_and(|origin| self.is_our_origin(origin))) {
            return Gate::Closed(ORIGIN_REFUSED);
        }
        Gate::Open
    }

    fn is_ours(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.to_ascii_lowercase();
        let listed = |place: &Place| {
            let default = |asked: u16| port.is_none() && (asked == 80 || asked == 443);
            place.host == host && place.port.is_none_or(|asked| port == Some(asked) || default(asked))
        };
        self.hosts.iter().any(listed) || self.is_listening_address(&host, port)
    }

    fn is_listening_address(&self, host: &str, port: Option<u16>) -> bool {
        let Some(listening) = self.listening.get().filter(|listening| Some(listening.port()) == port) else {
            return false;
        };
        let loopback = host == "localhost" || host == "127.0.0.1" || host == "[::1]";
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let own = bare.parse::<IpAddr>().is_ok_and(|address| address == listening.ip());
        own || (loopback && (listening.ip().is_loopback() || listening.ip().is_unspecified()))
    }

    fn is_our_origin(&self, origin: &str) -> bool {
        let normal = normal_origin(origin);
        if self.origins.contains(&normal) {
            return true;
        }
        let Some(authority) = normal.strip_prefix("http://").or_else(|| normal.strip_prefix("https://")) else {
            return false;
        };
        authority.parse::<Authority>().is_ok_and(|authority| {
            !authority.as_str().contains('@') && self.is_listening_address(authority.host(), authority.port_u16())
        })
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        Some(Self { host: authority.host().to_ascii_lowercase(), port: authority.port_u16() })
    }
}

/// An origin in the form in which browsers send it: lower case, without a slash at the end.
fn normal_origin(origin: &str) -> String {
    origin.trim_end_matches('/').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Gate, Gatekeeper};

    fn gatekeeper() -> Gatekeeper {
        let server = config::Server {
            public_url: Some("https://weir.example".to_owned()),
            hosts: vec!["inside.example".to_owned()],
            origins: vec!["https://app.example".to_owned()],
            ..config::Server::default()
        };
        let gatekeeper = Gatekeeper::new(&server);
        gatekeeper.listens_on("127.0.0.1:8080".parse().expect("an address"));
        gatekeeper
    }

    fn judge(target: &str, headers: &[(&str, &str)]) -> Gate {
        let request =
            headers.iter().fold(Request::builder().uri(target), |request, (name, value)| request.header(*name, *value));
        let parts = request.body(()).expect("a request").into_parts().0;
        gatekeeper().judge(&parts.uri, &parts.headers)
    }

    #[test]
    fn our_own_hosts_are_let_in() {
        for host in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST:8080",
            "[::1]:8080",
            "weir.example",
            "weir.example:443",
            "inside.example",
            "inside.example:9000",
        ] {
            assert_eq!(judge("/mcp", &[("host", host)]), Gate::Open, "{host}");
        }
    }

    #[test]
    fn other_hosts_are_not() {
        for host in [
            "evil.example",
            "localhost",
            "localhost:8081",
            "localhost.:8080",
            "weir.example.:443",
            "weir.example:8080",
            "weir.example.evil.example",
            "127.0.0.1:8080@evil.example",
            "user@127.0.0.1:8080",
            "127.0.0.1:08080 ",
            "127.1:8080",
            "0x7f.1:8080",
            "[::ffff:127.0.0.1]:8080",
            "[::2]:8080",
            "null",
            "",
        ] {
            assert!(matches!(judge("/mcp", &[("host", host)]), Gate::Closed(_)), "{host}");
        }
        assert!(matches!(judge("/mcp", &[]), Gate::Malformed(_)));
        assert!(matches!(judge("/mcp", &[("host", "weir.example"), ("host", "weir.example")]), Gate::Malformed(_)));
        assert!(matches!(judge("http://evil.example/mcp", &[("host", "weir.example")]), Gate::Malformed(_)));
    }

    #[test]
    fn pages_of_our_own_origins_are_let_in_and_no_others() {
        let with_origin = |origin| judge("/mcp", &[("host", "localhost:8080"), ("origin", origin)]);
        for origin in [
            "http://localhost:8080",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://weir.example",
            "https://app.example",
        ] {
            assert_eq!(with_origin(origin), Gate::Open, "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://localhost",
            "http://localhost:8081",
            "http://localhost.:8080",
            "https://weir.example:444",
            "https://weir.example.evil.example",
            "http://weir.example",
            "http://evil@localhost:8080",
            "file://localhost:8080",
            "https://app.example.",
        ] {
            assert!(matches!(with_origin(origin), Gate::Closed(_)), "{origin}");
        }
    }
}
