//! Sockets: accepting, TLS, limits of size and time, and their end.

pub(crate) mod body;
mod calm;
mod framing;
mod pace;
mod patience;
mod strict;
pub(crate) mod tls;

use std::{convert::Infallible, net::SocketAddr, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, SetOnce},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Live, Router,
    auth::certificate::{Shown, VERDICT_HOLDS},
    front::{self, Peer},
    start::Readiness,
    telemetry,
};

pub(crate) use body::Body;
use calm::Calm;
pub(crate) use pace::Paced;
use patience::{Patience, Watched};
pub(crate) use strict::{Strict, Teller};
use tls::Tls;

/// How long after a failed accept the next one is tried: there may be no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection on which nothing came yet is waited for when it is to end.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// How many requests one HTTP/2 connection may have open at once.
const STREAMS_MAX: u32 = 128;
/// What ALPN calls HTTP/2.
const HTTP2: &[u8] = b"h2";
/// The largest request head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Accepts callers until told to stop, then waits for the connections to end.
pub(crate) async fn serve(
    live: Arc<Live>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(live.router().config.server.connections_max));
    let running = TaskTracker::new();
    let take_in = |stream, address, permit| {
        let connection = Connection {
            live: live.clone(),
            readiness: readiness.clone(),
            stop: stop.clone(),
            begun: Arc::default(),
            peer: Peer::Remote(address, None),
        };
        running.spawn(connection.run(stream, tls.clone(), permit));
    };
    loop {
        let Some(permit) = stop.run_until_cancelled(connections.clone().acquire_owned()).await else { break };
        let Ok(permit) = permit else { break };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, address)) => take_in(stream, address, permit),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Closing the listener resets what waits in its queue, and a request that was sent already must not be lost with it.
    if let Ok(listener) = listener.into_std() {
        while let (Ok(permit), Ok((stream, address))) = (connections.clone().try_acquire_owned(), listener.accept()) {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                take_in(stream, address, permit);
            }
        }
    }
    running.close();
    running.wait().await;
}

/// One HTTP/1.1 connection served in memory, for the bridge in the same process: its callers are `local`.
pub async fn serve_io<I: AsyncRead + AsyncWrite + Send + Unpin + 'static>(router: Arc<Router>, io: I) {
    let connection = Connection {
        live: Live::new(router),
        readiness: Arc::default(),
        stop: CancellationToken::new(),
        begun: Arc::default(),
        peer: Peer::InProcess,
    };
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(io), connection.service(None)).await {
        tracing::debug!(error = %error, "a connection in memory ended early");
    }
}

/// One caller's connection.
#[derive(Clone)]
struct Connection {
    live: Arc<Live>,
    readiness: Arc<Readiness>,
    /// Fires when nothing new is taken in any more.
    stop: CancellationToken,
    /// Set when the first request is there.
    begun: Arc<SetOnce<()>>,
    peer: Peer,
}

impl Connection {
    async fn run(mut self, stream: TcpStream, tls: Option<Arc<Tls>>, _permit: OwnedSemaphorePermit) {
        // Without it small writes wait for the peer's delayed acknowledgement: 40 ms an event.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let router = self.live.router();
        let (write_timeout, header_timeout) =
            (router.config.server.write_timeout.0, router.config.server.header_timeout.0);
        drop(router);
        // A caller that does not read holds an answer in memory; this bounds for how long.
        let stream = Paced::new(stream, write_timeout);
        let teller = self.teller();
        let Some(tls) = tls else {
            return self.speak(Strict::new(stream).telling(teller), false).await;
        };
        let stream = match tokio::time::timeout(header_timeout, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.handshake_failed(&error).await,
            Err(_elapsed) => return tracing::debug!("TLS handshake took too long"),
        };
        if let (Peer::Remote(_, shown), Some(chain)) = (&mut self.peer, stream.get_ref().1.peer_certificates()) {
            *shown = Some(Arc::new(Shown::new(chain)));
        }
        // RFC 9113, section 3.2: over TLS, HTTP/2 is agreed on by ALPN and in no other way.
        if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
            self.speak(Calm::new(stream), true).await;
        } else {
            self.speak(Strict::new(stream).telling(teller), false).await;
        }
    }

    /// Counts the requests that nothing above the connection gets to see.
    fn teller(&self) -> Teller {
        let (live, address) = (self.live.clone(), self.peer.address().map(|address| address.ip()));
        Teller::new(move |reason| live.router().audit.count(address, reason))
    }

    /// A certificate that is not accepted counts as a failed login of its address.
    async fn handshake_failed(&self, error: &std::io::Error) {
        tracing::debug!(%error, "TLS handshake failed");
        let tls = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
        if !matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return;
        }
        let address = self.peer.address().map(|address| address.ip());
        let router = self.live.router();
        if front::too_many_wrong(&router, address).await.is_some() {
            return router.audit.count(address, "failed_logins");
        }
        telemetry::refused_before_auth("bad_certificate");
        router.audit.count(address, "bad_certificate");
    }

    /// Until the certificate of the connection is not accepted any more; for ever where there is none.
    async fn distrusted(self) {
        let Peer::Remote(_, Some(shown)) = &self.peer else { return std::future::pending().await };
        loop {
            let mut changes = self.live.router().catalog.changes();
            // Asked after it was begun to listen: a change in between is heard.
            if !self.live.router().authenticator.trusts(shown) {
                return;
            }
            let _elapsed = tokio::time::timeout(VERDICT_HOLDS, changes.changed()).await;
        }
    }

    async fn speak<I: AsyncRead + AsyncWrite + Send + Unpin + 'static>(self, io: I, http2: bool) {
        let router = self.live.router();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(router.config.server.header_timeout.0)
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
        let out_of_time = router.out_of_time.clone();
        let patience = http2.then(|| Patience::new(router.config.server.write_timeout.0));
        // A connection may outlive many configs.
        drop(router);
        let mut leave = pin!(self.clone().time_to_leave(http2));
        let mut distrusted = pin!(self.clone().distrusted());
        let mut is_leaving = false;
        let connection = builder.serve_connection(TokioIo::new(io), self.service(patience.clone()));
        let mut connection = pin!(connection.into_owned());
        let mut exhausted = pin!(async {
            match patience {
                Some(patience) => patience.exhausted().await,
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %error, "a connection ended early");
                    }
                    return;
                }
                () = leave.as_mut(), if !is_leaving => {
                    is_leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = exhausted.as_mut() => {
                    return tracing::debug!("a caller does not read its answers: its connection is closed");
                }
                () = distrusted.as_mut() => {
                    return tracing::info!("a connection is closed: its client certificate is not accepted any more");
                }
                () = out_of_time.cancelled() => {
                    return tracing::debug!("a connection is closed with its calls: the time of the drain is over");
                }
            }
        }
    }

    /// Until the connection takes no new request. Over HTTP/1 each answer of the grace says that it is the last one; over HTTP/2 a GOAWAY
    /// at its beginning does. Connections that come during the grace are served until its end.
    async fn time_to_leave(self, http2: bool) {
        if http2 && !self.readiness.is_draining() {
            self.readiness.draining().await;
        } else {
            self.stop.cancelled().await;
        }
        // The HTTP library closes a connection on which nothing was read yet, and its first request may be under way.
        let _ = tokio::time::timeout(FIRST_REQUEST, self.begun.wait()).await;
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
                let _set_before = connection.begun.set(());
                let is_http1 = request.version() <= http::Version::HTTP_11;
                let mut response = survived(front::respond(&connection.live, &connection.peer, request)).await;
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

/// The answer, also where a bug panics on the way to it: without one the caller would not know whether it was heard.
async fn survived(responding: impl Future<Output = Response<Body>>) -> Response<Body> {
    let outcome = AssertUnwindSafe(responding).catch_unwind().await;
    outcome.unwrap_or_else(|_panic| {
        tracing::error!("a request ended by a bug of Weir's own");
        front::problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error of the router. Tell the operator when it was.",
        )
    })
}

impl Peer {
    /// The address at the other end of the connection.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Remote(address, _) => Some(*address),
            Self::InProcess => None,
        }
    }

    /// The certificate that was shown on the connection.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Remote(_, shown) => shown.as_ref().and_then(|shown| shown.end_entity()),
            Self::InProcess => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Response, StatusCode};

    use super::{Body, survived};

    #[tokio::test]
    async fn a_panic_on_the_way_to_an_answer_is_answered() {
        assert_eq!(survived(async { Response::new(Body::from(String::new())) }).await.status(), StatusCode::OK);
        assert_eq!(survived(async { panic!("a bug") }).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
