//! Hears when the list of a server's tools changes.

use std::{convert::Infallible, future, sync::Arc, time::Duration};

use super::{
    super::{
        answer::{self, Belonging, Incoming},
        request,
    },
    conversation::answer_question,
    session::{End, Session},
    trouble::Trouble,
    wire::{Wire, is_stream},
};
use crate::{Deadline, http::Answer, reconnect::Delays, sse::Parser};

/// How long a server may take to open a stream of notices.
const OPEN: Duration = Duration::from_secs(10);
/// No stream lives longer: the server may have moved on to a place where notices are told.
const STREAM_MAX: Duration = Duration::from_secs(24 * 3600);

/// How a stream of notices ended.
struct Ended {
    last_id: Option<String>,
    retry: Option<Duration>,
    /// Whether anything came on it, so that the next one need not wait for long.
    heard: bool,
}

/// Listens for as long as it is polled. A server that offers no stream of notices is left alone.
pub(super) async fn listen(wire: &Arc<Wire>, session: &Session) -> Infallible {
    if !session.server.list_changed {
        return future::pending().await;
    }
    let mut delays = Delays::default();
    let mut last_id: Option<String> = None;
    let mut first = true;
    loop {
        let id = wire.next_id();
        let opened = if session.server.modern {
            let filter = [("notifications", r#"{"toolsListChanged":true}"#)];
            let text = request::own(id, "subscriptions/listen", true, &filter);
            wire.subscribe(&session.spoken, text, Deadline::after(OPEN)).await
        } else {
            wire.listen(&session.spoken, last_id.as_deref(), Deadline::after(OPEN)).await
        };
        let Some(opened) = opened else { return future::pending().await };
        match opened {
            Ok(stream) if is_stream(&stream.head.headers) && stream.head.status.is_success() => {
                if !first && last_id.is_none() {
                    // Whatever changed since the last stream was told to nobody.
                    wire.list_gaps.send_modify(|count| *count = count.wrapping_add(1));
                }
                first = false;
                let ended = notices(wire, session, id, stream).await;
                if ended.heard {
                    delays.reset();
                }
                last_id = ended.last_id.filter(|_| !session.server.modern);
                tokio::time::sleep(ended.retry.unwrap_or_default().max(delays.next())).await;
            }
            Ok(_) | Err(Trouble::Status { .. } | Trouble::Protocol(_)) => {
                tracing::debug!(downstream = %wire.downstream, "the server does not tell when its tools change, though it says so");
                return future::pending().await;
            }
            Err(Trouble::SessionLost) => {
                session.end(End::Forgotten);
                return future::pending().await;
            }
            Err(trouble) => {
                if let Some(failure) = trouble.outage() {
                    session.end(End::Outage(failure));
                    return future::pending().await;
                }
                tokio::time::sleep(delays.next()).await;
            }
        }
    }
}

/// Takes notice of notices until the stream ends.
async fn notices(wire: &Arc<Wire>, session: &Session, id: u64, mut stream: Answer) -> Ended {
    let mut parser = Parser::new(wire.message_bytes_max);
    let limit = Deadline::after(STREAM_MAX);
    let mut heard = false;
    loop {
        while let Some(event) = parser.next() {
            heard = true;
            let text = std::str::from_utf8(&event).unwrap_or_default();
            match answer::read(text) {
                Incoming::Batch(messages) if !session.server.modern => {
                    messages.into_iter().for_each(|message| notice(wire, session, id, answer::read(message)));
                }
                message => notice(wire, session, id, message),
            }
        }
        let piece = stream.chunk(limit).await;
        let whole = matches!(&piece, Ok(Some(piece)) if parser.push(piece).is_ok());
        if !whole {
            return Ended { last_id: parser.last_id().map(str::to_owned), retry: parser.retry(), heard };
        }
    }
}

fn notice(wire: &Arc<Wire>, session: &Session, id: u64, message: Incoming<'_>) {
    match message {
        // MCP 2026-07-28, "Subscriptions": every message says which subscription it belongs to.
        Incoming::Notification { method, params }
            if method == "notifications/tools/list_changed"
                && (!session.server.modern || Belonging::of(params).subscription() == Some(id)) =>
        {
            wire.list_changed();
        }
        Incoming::Question { id, method } => answer_question(wire, &session.spoken, id, &method),
        _ => {}
    }
}
