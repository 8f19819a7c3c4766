//! What a legacy server says unasked: the stream of a GET, open for as long as the session is
//! (MCP 2025-11-25, basic/transports, "Listening for Messages from the Server").

use std::{convert::Infallible, time::Duration};

use adapters::Delays;
use http::StatusCode;
use tokio::time::sleep;

use super::{
    Bridge,
    message::{Heard, HeardKind},
    stream::{Stream, is_event_stream},
};

/// Between two attempts to open the stream of a router that is gone.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Why the stream is not open.
enum Closed {
    /// The server offers none.
    NotOffered,
    /// It ended; the server asks for this pause before the next attempt.
    Ended { retry: Option<Duration> },
}

impl Bridge {
    /// Passes on what the server says unasked, through every session of the client.
    pub(super) async fn listen(&self) -> Infallible {
        let mut phases = self.session.phases();
        loop {
            let phase = *phases.borrow_and_update();
            if phase.open {
                tokio::select! {
                    () = self.listen_in_session() => {}
                    _ = phases.changed() => continue,
                }
            }
            if phases.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns when the server offers no stream.
    async fn listen_in_session(&self) {
        let mut delays = Delays::new(self.settings.retry_first, DELAY_MAX);
        let mut last_id = None;
        loop {
            match self.listen_once(&mut last_id, &mut delays).await {
                Closed::NotOffered => return,
                Closed::Ended { retry } => sleep(delays.next().max(retry.unwrap_or_default().min(DELAY_MAX))).await,
            }
        }
    }

    async fn listen_once(&self, last_id: &mut Option<String>, delays: &mut Delays) -> Closed {
        let (headers, generation) = self.session.headers();
        let response = match self.wire.get(headers, last_id.as_deref()).await {
            Ok(response) => response,
            Err(_) => return Closed::Ended { retry: None },
        };
        match (response.status(), generation) {
            (status, _) if status.is_success() && is_event_stream(&response) => {}
            (StatusCode::NOT_FOUND, Some(stale)) => {
                // The change of the generation brings the caller of this function back with the new session.
                if let Err(failure) = self.renew(stale).await {
                    tracing::warn!("{}", failure.text(&self.wire.names));
                }
                return Closed::Ended { retry: None };
            }
            (status, _) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Closed::Ended { retry: None };
            }
            _ => return Closed::NotOffered,
        }
        let mut stream = Stream::new(response, self.wire.stream_limits());
        while let Ok(Some(bytes)) = stream.next().await {
            delays.reset();
            self.pass_on_unasked(bytes).await;
            if let Some(id) = stream.last_event_id() {
                *last_id = Some(id.to_owned());
            }
        }
        Closed::Ended { retry: stream.retry() }
    }

    async fn pass_on_unasked(&self, bytes: bytes::Bytes) {
        match Heard::parse(bytes) {
            Some(Heard { kind: HeardKind::Progress { token, progress, total }, .. })
                if !self.flights.admit_progress(&token, progress, total) => {}
            Some(heard) => self.output.line(heard.line).await,
            None => tracing::warn!("the router sent something that is no JSON-RPC message; it is left out"),
        }
    }
}
