//! Sockets: accepting, TLS, limits of size and time, and their end.

pub(crate) mod body;
mod framing;
mod pace;
mod patience;
mod strict;

use std::{convert::Infallible, net::SocketAddr, path::Path, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    Router, StartError,
    front::{self, Peer},
    start::Readiness,
};

pub(crate) use body::Body;
pub(crate) use pace::Paced;
use patience::{Patience, Watched};
pub(crate) use strict::Strict;

/// How long after a failed accept the next one is tried: there may be no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How many requests one HTTP/2 connection may have open at once.
const STREAMS_MAX: u32 = 128;
/// What ALPN calls HTTP/2.
const HTTP2: &[u8] = b"h2";
/// The largest request head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Accepts callers until told to stop, then waits for the connections to end.
pub(crate) async fn serve(
    router: Arc<Router>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(router.config.server.connections_max));
    let graceful = GracefulShutdown::new();
    loop {
        let Some(permit) = stop.run_until_cancelled(connections.clone().acquire_owned()).await else { break };
        let Ok(permit) = permit else { break };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, address)) => {
                let connection =
                    Connection { router: router.clone(), readiness: readiness.clone(), peer: Peer::Remote(address) };
                tokio::spawn(connection.run(stream, tls.clone(), graceful.watcher(), permit));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

/// One HTTP/1.1 connection served in memory, for the bridge in the same process: its callers are `local`.
pub async fn serve_io<I: AsyncRead + AsyncWrite + Send + Unpin + 'static>(router: Arc<Router>, io: I) {
    let connection = Connection { router, readiness: Arc::default(), peer: Peer::InProcess };
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(io), connection.service(None)).await {
        tracing::debug!(error = %error, "a connection in memory ended early");
    }
}

/// One caller's connection.
#[derive(Clone)]
struct Connection {
    router: Arc<Router>,
    readiness: Arc<Readiness>,
    peer: Peer,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>, graceful: Watcher, _permit: OwnedSemaphorePermit) {
        // Without it small writes wait for the peer's delayed acknowledgement: 40 ms an event.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let settings = &self.router.config.server;
        // A caller that does not read holds an answer in memory; this bounds for how long.
        let stream = Paced::new(stream, settings.write_timeout.0);
        let Some(tls) = tls else {
            return self.speak(Strict::new(stream), false, graceful).await;
        };
        match tokio::time::timeout(settings.header_timeout.0, tls.accept(stream)).await {
            // RFC 9113, section 3.2: over TLS, HTTP/2 is agreed on by ALPN and in no other way.
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(HTTP2) => {
                self.speak(stream, true, graceful).await;
            }
            Ok(Ok(stream)) => self.speak(Strict::new(stream), false, graceful).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_elapsed) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn speak<I: AsyncRead + AsyncWrite + Send + Unpin + 'static>(self, io: I, http2: bool, graceful: Watcher) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.router.config.server.header_timeout.0)
            // Answers are not gathered for pipelined requests: one that is refused would take those before it along unsent.
            .max_buf_size(HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
        let out_of_time = self.router.out_of_time.clone();
        let patience = http2.then(|| Patience::new(self.router.config.server.write_timeout.0));
        let connection = builder.serve_connection(TokioIo::new(io), self.service(patience.clone()));
        let connection = pin!(graceful.watch(connection.into_owned()));
        let exhausted = async {
            match patience {
                Some(patience) => patience.exhausted().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(error = %error, "a connection ended early");
            },
            () = exhausted => tracing::debug!("a caller does not read its answers: its connection is closed"),
            () = out_of_time.cancelled() => tracing::debug!("a connection is closed with its calls: the time of the drain is over"),
        }
    }

    fn service(
        self,
        patience: Option<Arc<Patience>>,
    ) -> impl hyper::service::Service<
        Request<Incoming>,
        Response = Response<Watched>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<Watched>, Infallible>> + Send + 'static,
    > {
        service_fn(move |request| {
            let (connection, patience) = (self.clone(), patience.clone());
            async move {
                let is_http1 = request.version() <= http::Version::HTTP_11;
                let mut response = front::respond(&connection.router, connection.peer, request).await;
                if connection.readiness.is_draining() && is_http1 {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok(match patience {
                    Some(patience) => patience.watch(response),
                    None => response.map(Watched::unwatched),
                })
            }
        })
    }
}

/// TLS with the configured certificate; HTTP/2 and HTTP/1.1 by ALPN.
pub(crate) fn tls_acceptor(settings: &config::server::Tls, base: &Path) -> Result<TlsAcceptor, StartError> {
    let certificate = base.join(&settings.certificate);
    let unusable = |path: &Path, what: String| {
        StartError::Tls(format!("{} cannot be used ({what}): it must be PEM", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&certificate, error.to_string()))?;
    let key_path = base.join(&settings.key);
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| unusable(&key_path, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable(&certificate, error.to_string()))?;
    server.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

impl Peer {
    /// The address at the other end of the connection.
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Remote(address) => Some(address),
            Self::InProcess => None,
        }
    }
}
