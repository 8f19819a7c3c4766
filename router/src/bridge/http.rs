//! HTTP to the router: over TCP, over TLS, or in memory.

use std::{error::Error, fmt, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header, uri::Scheme};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::DuplexStream;

use super::{BridgeError, failure::Names, stream::cause};

/// Connections to a router that is gone are noticed after this long: a laptop that wakes up must not wait for the kernel's 15 minutes.
const DEAD_AFTER: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the shortest that servers and gateways commonly allow (5 s), so that no request meets a connection that is just being
/// closed: its outcome would be unknown.
const IDLE_MAX: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS_MAX: usize = 8;

/// Opens one connection to a router in the same process: the near half of a pipe whose far half that router serves.
pub type Connector = Arc<dyn Fn() -> DuplexStream + Send + Sync>;

/// Which router the bridge relays to.
#[derive(Clone)]
pub enum Target {
    /// One that listens at this address.
    Url(Uri),
    /// One in the same process.
    Memory(Connector),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Not the whole address: before it is checked there may be a password in it.
            Self::Url(url) => write!(f, "Url({})", url.host().unwrap_or_default()),
            Self::Memory(_) => f.write_str("Memory"),
        }
    }
}

impl FromStr for Target {
    type Err = BridgeError;

    fn from_str(text: &str) -> Result<Self, BridgeError> {
        let url = text.parse::<Uri>().map_err(|_| BridgeError::UrlForm)?;
        check(&url)?;
        Ok(Self::Url(url))
    }
}

fn check(url: &Uri) -> Result<(), BridgeError> {
    match url.scheme_str() {
        Some("http" | "https") => {}
        Some(scheme) => return Err(BridgeError::UrlScheme(scheme.to_owned())),
        None => return Err(BridgeError::UrlForm),
    }
    match url.authority() {
        Some(authority) if authority.as_str().contains('@') => Err(BridgeError::UrlUserinfo),
        Some(authority) if !authority.host().is_empty() => Ok(()),
        _ => Err(BridgeError::UrlForm),
    }
}

/// The header that shows the key to the router at `url`.
///
/// # Errors
/// When the address is not one of a router, the key could be read on its way there, or no header can carry it.
pub fn authorization(url: &Uri, key: Option<&SecretString>) -> Result<Option<HeaderValue>, BridgeError> {
    check(url)?;
    if key.is_some() && url.scheme() != Some(&Scheme::HTTPS) && !is_loopback(url) {
        return Err(BridgeError::KeyInTheOpen { host: url.host().unwrap_or_default().to_owned() });
    }
    key.map(bearer).transpose()
}

/// Whether the address never leaves this machine.
fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Sends requests to the router's MCP endpoint.
pub(super) struct Http {
    url: Uri,
    authorization: Option<HeaderValue>,
    transport: Transport,
}

enum Transport {
    Tcp(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
    Memory(Connector),
}

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct SendError {
    pub(super) reason: String,
    /// Certainly not one byte of it has reached the router.
    pub(super) unsent: bool,
    /// The router's certificate is not accepted; trying again will not help.
    pub(super) untrusted: bool,
    /// What came back is not HTTP.
    pub(super) garbled: bool,
}

impl Http {
    pub(super) fn new(target: Target, key: Option<&SecretString>) -> Result<Self, BridgeError> {
        let (url, transport) = match target {
            Target::Url(url) if url.scheme() == Some(&Scheme::HTTPS) => (url, tls_transport()?),
            Target::Url(url) => (url, Transport::Tcp(client().build(tcp_connector()))),
            Target::Memory(connector) => (Uri::from_static("http://localhost/mcp"), Transport::Memory(connector)),
        };
        let authorization = authorization(&url, key)?;
        Ok(Self { url, authorization, transport })
    }

    /// What answers of the bridge may say about the router.
    pub(super) fn names(&self) -> Names {
        let router = match self.transport {
            Transport::Memory(_) => "this process".to_owned(),
            // A query could hold what does not belong into an answer.
            _ => format!(
                "{}://{}{}",
                self.url.scheme_str().unwrap_or_default(),
                self.url.host().unwrap_or_default(),
                self.port_and_path()
            ),
        };
        Names { router, has_key: self.authorization.is_some() }
    }

    fn port_and_path(&self) -> String {
        let port = self.url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        port + self.url.path()
    }

    /// Sends one request. Dropping the future, or the body of the answer, closes the request's stream.
    pub(super) async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, SendError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = headers;
        request
            .headers_mut()
            .insert(header::USER_AGENT, HeaderValue::from_static(concat!("weir-stdio/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        match &self.transport {
            Transport::Tcp(client) => {
                client.request(request).await.map_err(|error| SendError::new(&error, error.is_connect()))
            }
            Transport::Tls(client) => {
                client.request(request).await.map_err(|error| SendError::new(&error, error.is_connect()))
            }
            Transport::Memory(connector) => {
                send_in_memory(connector(), request).await.map_err(|error| SendError::new(&error, false))
            }
        }
    }
}

/// One connection for one request: in memory there is nothing to gain from keeping it.
async fn send_in_memory(
    io: DuplexStream,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    *request.uri_mut() = request.uri().path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    // Ends by itself when the body of the answer has been read or dropped.
    tokio::spawn(connection);
    sender.send_request(request).await
}

fn client() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .http2_keep_alive_interval(DEAD_AFTER / 2)
        .http2_keep_alive_timeout(DEAD_AFTER / 2);
    builder
}

fn tcp_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(DEAD_AFTER / 2));
    connector.set_keepalive_interval(Some(DEAD_AFTER / 4));
    connector.set_keepalive_retries(Some(2));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(DEAD_AFTER));
    connector
}

fn tls_transport() -> Result<Transport, BridgeError> {
    let mut tcp = tcp_connector();
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
        .map_err(BridgeError::Roots)?
        .https_only()
        .enable_all_versions()
        .wrap_connector(tcp);
    Ok(Transport::Tls(client().build(connector)))
}

fn bearer(key: &SecretString) -> Result<HeaderValue, BridgeError> {
    let key = key.expose_secret();
    let fit = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok().filter(|_| fit).ok_or(BridgeError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

impl SendError {
    fn new(error: &(dyn Error + 'static), while_connecting: bool) -> Self {
        let chain = || std::iter::successors(Some(error), |error| (*error).source());
        // hyper calls a request canceled when its connection ended before the request was taken off the queue.
        let any = |test: fn(&hyper::Error) -> bool| chain().filter_map(|error| error.downcast_ref()).any(test);
        Self {
            reason: cause(error),
            unsent: while_connecting || any(hyper::Error::is_canceled),
            untrusted: chain().any(is_refusal_by_tls),
            garbled: any(hyper::Error::is_parse),
        }
    }
}

/// Whether TLS was refused, by either side. An I/O error shows the source of what it wraps as its own source, and so hides what it wraps.
fn is_refusal_by_tls(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => is_refusal_by_tls(wrapped),
        None => error.is::<rustls::Error>(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::{Http, Target};

    fn refusal(url: &str, key: Option<&str>) -> Option<String> {
        let key = key.map(SecretString::from);
        let http = url.parse::<Target>().and_then(|target| Http::new(target, key.as_ref()));
        http.err().map(|error| error.to_string())
    }

    #[test]
    fn addresses_that_could_leak_or_run_something_are_refused() {
        let table = [
            "javascript:alert(1)",
            "file:///etc/passwd",
            "$(touch x)",
            "ftp://weir.example/mcp",
            "ws://weir.example/mcp",
            "/mcp",
            "weir.example",
            "",
            "http://",
            "https://user:secret@weir.example/mcp",
            "https://secret@weir.example/mcp",
        ];
        for url in table {
            let refusal = refusal(url, None).unwrap_or_else(|| panic!("{url} is accepted"));
            assert!(!refusal.contains("secret"), "{refusal}");
        }
    }

    #[test]
    fn a_key_goes_over_plain_http_only_to_this_machine() {
        for url in [
            "http://127.0.0.1:8080/mcp",
            "http://localhost:8080/mcp",
            "http://[::1]:8080/mcp",
            "http://127.9.9.9/mcp",
            "https://weir.example/mcp",
        ] {
            assert_eq!(refusal(url, Some("key")), None, "{url}");
        }
        for url in [
            "http://weir.example/mcp",
            "http://10.0.0.1/mcp",
            "http://localhost.evil.example/mcp",
            "http://[2001:db8::1]/mcp",
        ] {
            let refusal = refusal(url, Some("a-secret-key")).unwrap_or_else(|| panic!("{url} is accepted"));
            assert!(refusal.contains("https") && !refusal.contains("a-secret-key"), "{refusal}");
        }
        assert_eq!(refusal("http://weir.example/mcp", None), None, "without a key there is nothing to protect here");
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused_without_showing_it() {
        for key in ["", "two words", "line\nbreak", "schlüssel"] {
            let refusal =
                refusal("https://weir.example/mcp", Some(key)).unwrap_or_else(|| panic!("{key:?} is accepted"));
            assert!(refusal.contains("WEIR_API_KEY"), "{refusal}");
        }
    }
}
