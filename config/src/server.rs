//! Where Weir listens, and how it treats connections.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{ByteSize, Network, Period};

/// Where Weir listens, and how it treats connections.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port for callers. Off loopback it needs `tls` or `behind_tls_proxy: true`, and credentials under `identity`.
    #[serde(deserialize_with = "address")]
    #[schemars(extend("format" = "address"))]
    pub listen: SocketAddr,
    /// Address and port for operators: probes, metrics, `/admin/…`. Must be another port than `listen`.
    #[serde(deserialize_with = "address")]
    #[schemars(extend("format" = "address"))]
    pub admin: SocketAddr,
    /// The URL callers use, `https://weir.example`, when it is not the address of `listen`: its host and origin are accepted.
    pub public_url: Option<String>,
    /// Networks whose `X-Forwarded-For` is believed, as `10.0.0.0/8` or one address.
    pub trusted_proxies: Vec<String>,
    /// Says that a proxy in front ends TLS, so that a listener off loopback may speak plain HTTP.
    pub behind_tls_proxy: bool,
    /// Certificate and key with which the caller listener speaks TLS (HTTP/1.1 and HTTP/2).
    pub tls: Option<Tls>,
    /// Further values of `Host` that are accepted, beside those of `public_url` and `listen`.
    pub hosts: Vec<String>,
    /// Further values of `Origin` that are accepted, such as `https://app.example`.
    pub origins: Vec<String>,
    /// The largest request body.
    pub body_bytes_max: ByteSize,
    /// How long a caller may take to send a request's headers.
    pub header_timeout: Period,
    /// How long a caller may take to send a request's body.
    pub body_timeout: Period,
    /// How long a caller may leave bytes of an answer unread before the connection is closed. One that reads less than 8 KiB a second
    /// over that time is taken for one that does not read.
    pub write_timeout: Period,
    /// How many connections are open at once; more wait in the kernel's queue.
    pub connections_max: usize,
    /// How many calls run at once; more are refused at once with the advice to try again.
    pub calls_max: usize,
    /// How long after SIGTERM new work is still accepted, while readiness already fails.
    pub grace: Period,
    /// How long running calls may take to finish after the grace.
    pub drain: Period,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            public_url: None,
            trusted_proxies: Vec::new(),
            behind_tls_proxy: false,
            tls: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            body_bytes_max: ByteSize::mib(4),
            header_timeout: Period::s(10),
            body_timeout: Period::s(30),
            write_timeout: Period::s(30),
            connections_max: 8192,
            calls_max: 1024,
            grace: Period::s(5),
            drain: Period::s(25),
        }
    }
}

impl Server {
    /// The networks whose `X-Forwarded-For` is believed.
    #[must_use]
    pub fn trusted_proxies(&self) -> Vec<Network> {
        self.trusted_proxies.iter().filter_map(|network| network.parse().ok()).collect()
    }
}

/// Reads `127.0.0.1:8080`, and says so where it is something else.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    struct Address;

    impl de::Visitor<'_> for Address {
        type Value = SocketAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an IP address with a port, such as `127.0.0.1:8080` or `[::1]:8080`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<SocketAddr, E> {
            text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(Address)
}

/// Certificate and key of a listener, both PEM.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, the listener's own certificate first.
    pub certificate: PathBuf,
    /// The private key; readable by its owner alone.
    pub key: PathBuf,
}

/// How long a call may take. A tool or a downstream may state its own `deadline`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// For a call whose tool states nothing. Claude Desktop gives up after 60 s.
    pub default: Period,
    /// The most that a tool or a caller may ask for.
    pub max: Period,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { default: Period::s(50), max: Period::s(600) }
    }
}
