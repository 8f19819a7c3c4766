//! MCP messages over a WebSocket: one JSON-RPC message in each text frame (docs/websocket.md).

mod heard;
mod opening;

use std::{sync::Arc, time::Duration};

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Bytes, Message,
        error::{CapacityError, ProtocolError},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    failure::Failure,
    peer::{Outbox, Peer},
};
use crate::ErrorClass;
use heard::LastHeard;

pub(super) use opening::Endpoint;

/// How many messages go into one flush.
const BATCH_MAX: usize = 64;
/// How much is read at once. An answer keeps alive the piece of the buffer that it lies in.
const READ_BUFFER_BYTES: usize = 32 * 1024;
/// How long a connection that takes nothing any more is still read from.
const LAST_ANSWERS: Duration = Duration::from_millis(100);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// An open WebSocket.
pub(super) struct Socket {
    stream: Stream,
    heard: LastHeard,
    ping_every: Duration,
    message_bytes_max: usize,
}

impl Socket {
    async fn new(upgraded: Upgraded, heard: LastHeard, ping_every: Duration, message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let role = tungstenite::protocol::Role::Client;
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), role, Some(config)).await;
        Self { stream, heard, ping_every, message_bytes_max }
    }

    /// Carries messages until the connection ends or `stop` fires. Reading and writing go on side by side, so that a server
    /// which does not read while it writes cannot bring both to a halt.
    pub(super) async fn run(self, peer: Arc<Peer>, mut outbox: Outbox, stop: CancellationToken) {
        let (mut sink, mut stream) = self.stream.split();
        let pings = Notify::new();
        let ended = tokio::select! {
            failure = read(&mut stream, &peer, self.message_bytes_max) => failure,
            failure = write(&mut sink, &mut outbox, &pings) => {
                // Answers may have come before the connection broke: they are not lost with what could not be written.
                let _ = tokio::time::timeout(LAST_ANSWERS, read(&mut stream, &peer, self.message_bytes_max)).await;
                failure
            }
            failure = keep_alive(&self.heard, self.ping_every, &pings) => failure,
            () = stop.cancelled() => Failure::lost("Weir closed the connection"),
        };
        let code = match ended.class {
            ErrorClass::Protocol => CloseCode::Protocol,
            ErrorClass::TooLarge => CloseCode::Size,
            _ => CloseCode::Normal,
        };
        peer.end(ended);
        // Where the socket no longer takes anything this runs into its time limit, and the socket is dropped.
        let _ = tokio::time::timeout(GOODBYE, say_goodbye(sink, outbox, code)).await;
    }
}

async fn read(stream: &mut SplitStream<Stream>, peer: &Peer, message_bytes_max: usize) -> Failure {
    loop {
        let received = match stream.next().await {
            Some(Ok(Message::Text(text))) => peer.receive(text.as_ref()),
            Some(Ok(Message::Binary(_))) => peer.receive(&Bytes::new()),
            Some(Ok(Message::Close(frame))) => return closed_by_server(frame.as_ref()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
            Some(Err(error)) => return broken(&error, message_bytes_max),
            None => return Failure::lost("the server closed the connection"),
        };
        if let Err(failure) = received {
            return failure;
        }
    }
}

/// Writes what is there, several messages to a flush.
async fn write(sink: &mut SplitSink<Stream, Message>, outbox: &mut Outbox, pings: &Notify) -> Failure {
    loop {
        let first = tokio::select! {
            biased;
            () = pings.notified() => Message::Ping(Bytes::new()),
            text = outbox.next() => Message::text(text),
        };
        if let Err(failure) = write_batch(sink, first, outbox).await {
            return failure;
        }
    }
}

async fn write_batch(
    sink: &mut SplitSink<Stream, Message>,
    first: Message,
    outbox: &mut Outbox,
) -> Result<(), Failure> {
    let not_written = |error: tungstenite::Error| Failure::lost("the connection broke").because(error);
    sink.feed(first).await.map_err(not_written)?;
    for _ in 1..BATCH_MAX {
        let Some(text) = outbox.try_next() else { break };
        sink.feed(Message::text(text)).await.map_err(not_written)?;
    }
    sink.flush().await.map_err(not_written)
}

/// Asks a silent server for a sign of life and ends when none comes: twice `ping_every` after the last one at the latest.
async fn keep_alive(heard: &LastHeard, ping_every: Duration, pings: &Notify) -> Failure {
    loop {
        let silent_for = heard.elapsed();
        if silent_for < ping_every {
            tokio::time::sleep(ping_every.saturating_sub(silent_for)).await;
            continue;
        }
        let before = heard.at();
        pings.notify_one();
        tokio::time::sleep(ping_every).await;
        if heard.at() == before {
            let told = format!("no answer to ping for {} ms", ping_every.as_millis());
            return Failure::new(ErrorClass::Timeout, told);
        }
    }
}

/// What nobody waits for is still written: a cancellation may be among it.
async fn say_goodbye(
    mut sink: SplitSink<Stream, Message>,
    mut outbox: Outbox,
    code: CloseCode,
) -> Result<(), tungstenite::Error> {
    while let Some(aside) = outbox.try_next_aside() {
        sink.feed(Message::text(aside)).await?;
    }
    sink.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await?;
    sink.close().await
}

fn closed_by_server(frame: Option<&CloseFrame>) -> Failure {
    match frame {
        Some(frame) => Failure::lost(format!("the server closed the connection ({})", u16::from(frame.code))),
        None => Failure::lost("the server closed the connection"),
    }
}

fn broken(error: &tungstenite::Error, message_bytes_max: usize) -> Failure {
    match error {
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            let told = format!("the server sent a message of more than {message_bytes_max} bytes");
            Failure::new(ErrorClass::TooLarge, told)
        }
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed => Failure::lost("the server closed the connection"),
        tungstenite::Error::Io(error) => Failure::lost("the connection broke").because(error),
        other => Failure::protocol("the server does not keep to the WebSocket protocol").because(other),
    }
}
