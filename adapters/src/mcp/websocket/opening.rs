//! Opening a WebSocket: address, TLS, and the opening handshake of RFC 6455 with the subprotocol `mcp`.
//!
//! The handshake runs on hyper and not on tungstenite's own client, which refuses a server that names no subprotocol and
//! writes the whole request, credential included, to its trace log.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use config::{Sources, downstream::WebSocket};
use futures_util::future::{self, Either};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::{
    super::failure::Failure,
    Socket,
    heard::{Heard, LastHeard},
};
use crate::{
    BuildError, Deadline, ErrorClass,
    address::Reach,
    credential::{Credentials, Given, Whose},
    http::{NoStream, Origin},
    registry::Shown,
};

/// How long a token is waited for.
const CREDENTIAL_TIMEOUT: Duration = Duration::from_secs(10);
const SUBPROTOCOL: &str = "mcp";
/// The largest head of a server's answer to the opening handshake.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Where a server is, and how it is to be spoken to.
pub(in crate::mcp) struct Endpoint {
    origin: Origin,
    path: Uri,
    credentials: Credentials,
    connect_timeout: Duration,
    ping_every: Duration,
    message_bytes_max: usize,
}

impl Endpoint {
    /// Reads the settings of a downstream
    pub(in crate::mcp) fn new(settings: &WebSocket, shown: Shown<'_>, sources: &Sources) -> Result<Self, BuildError> {
        let wrong = |message| BuildError::Setting { setting: format!("{}.url", shown.section), message };
        let (origin, path) =
            Origin::parse(&settings.url, ["ws", "wss"], &shown.trust, Reach::written(sources)).map_err(wrong)?;
        Ok(Self {
            credentials: shown.credentials,
            connect_timeout: settings.connect_timeout.0,
            ping_every: settings.ping_every.0,
            message_bytes_max: settings.message_bytes_max.bytes(),
            path: path.into(),
            origin,
        })
    }

    /// Connects, within the time that the settings give it.
    /// A token that is not accepted is replaced once.
    pub(in crate::mcp) async fn open(&self, whose: Whose<'_>) -> Result<Socket, Failure> {
        let given = self.credentials.show(whose, Deadline::after(CREDENTIAL_TIMEOUT)).await?;
        let opened = self.open_in_time(given.as_ref()).await;
        match (&opened, &given) {
            (Err(failure), Some(given))
                if failure.class == ErrorClass::Unauthorized && self.credentials.refused(whose, given) =>
            {
                let given = self.credentials.show(whose, Deadline::after(CREDENTIAL_TIMEOUT)).await?;
                self.open_in_time(given.as_ref()).await
            }
            _ => opened,
        }
    }

    /// Whether each caller is shown to the server to be itself.
    pub(in crate::mcp) fn is_per_caller(&self) -> bool {
        self.credentials.is_per_caller()
    }

    async fn open_in_time(&self, given: Option<&Given>) -> Result<Socket, Failure> {
        let late = || Failure::unreachable(format!("no connection within {} ms", self.connect_timeout.as_millis()));
        tokio::time::timeout(self.connect_timeout, self.open_at_leisure(given)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn open_at_leisure(&self, given: Option<&Given>) -> Result<Socket, Failure> {
        let refused = |error: NoStream| Failure::unreachable(error.told()).because(error.detail());
        let stream = self.origin.connect().await.map_err(refused)?;
        let heard = LastHeard::new();
        let upgraded = self.shake_hands(Heard::new(stream, heard.clone()), given).await?;
        Ok(Socket::new(upgraded, heard, self.ping_every, self.message_bytes_max).await)
    }

    async fn shake_hands<S>(&self, stream: S, given: Option<&Given>) -> Result<Upgraded, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |error: hyper::Error| Failure::unreachable("the opening handshake broke off").because(error);
        let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(broken)?;
        let key = generate_key();
        let request = self.request(&key, given);
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            check(&response, &key)?;
            hyper::upgrade::on(response).await.map_err(broken)
        };
        // The connection has to be driven for the exchange to get on; its own end says nothing that the exchange does not, and
        // need not come: a server that refuses may keep the connection for another request.
        match future::select(pin!(exchange), connection.with_upgrades()).await {
            Either::Left((upgraded, _connection)) => upgraded,
            Either::Right((_, exchange)) => exchange.await,
        }
    }

    fn request(&self, key: &str, given: Option<&Given>) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.path.clone();
        let key = HeaderValue::from_str(key).expect("Base64 is a valid header value");
        request.headers_mut().extend([
            (header::HOST, self.origin.authority.clone()),
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (header::SEC_WEBSOCKET_KEY, key),
            (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL)),
        ]);
        if let Some(given) = given {
            given.shown.add_to(request.headers_mut());
        }
        request
    }
}

/// Whether the server agreed (RFC 6455, section 4.1). One that names no subprotocol is taken to mean ours.
fn check(response: &Response<Incoming>, key: &str) -> Result<(), Failure> {
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        return Err(Failure::new(
            ErrorClass::Unauthorized,
            format!("it does not accept Weir's credential (HTTP {status})"),
        ));
    }
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::unreachable(format!("it answered the opening handshake with HTTP {}", status.as_u16())));
    }
    let headers = response.headers();
    let refused = |why: &'static str| Failure::protocol("it does not speak WebSocket as Weir does").because(why);
    if !says(headers, &header::UPGRADE, |value| value.eq_ignore_ascii_case("websocket")) {
        return Err(refused("`Upgrade` is not `websocket`"));
    }
    if !says(headers, &header::SEC_WEBSOCKET_ACCEPT, |value| value == derive_accept_key(key.as_bytes())) {
        return Err(refused("`Sec-WebSocket-Accept` does not match the key"));
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(refused("it wants an extension that was not offered"));
    }
    let protocol = headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL);
    if protocol && !says(headers, &header::SEC_WEBSOCKET_PROTOCOL, |value| value == SUBPROTOCOL) {
        return Err(refused("it wants a subprotocol other than `mcp`"));
    }
    Ok(())
}

fn says(headers: &HeaderMap, name: &header::HeaderName, right: impl FnOnce(&str) -> bool) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| right(value.trim()))
}

#[cfg(test)]
mod tests;
