//! A scripted MCP server over WebSocket that sends exactly the bytes it is told: vendor fields, odd orders of keys,
//! integers that a parser may lose, several messages in one write, messages that never end. No MCP library, and no
//! WebSocket library behind the upgrade.

mod lifecycle;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::Era;
use crate::listener::{Running, listen};
use crate::observed::Observed;
use crate::witness;
use wire::{Event, Opcode};

const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a test that never reads the log can make it grow to.
const RECEIVED_MAX: usize = 200_000;
const ENDLESS_FRAME_BYTES: usize = 64 << 10;

type Handler = dyn Fn(&Incoming) -> Option<Vec<Action>> + Send + Sync;

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Counted from 1.
    pub connection: u64,
    pub text: String,
    pub method: Option<String>,
    /// The JSON of the id; nothing for notifications.
    pub id: Option<String>,
    /// The JSON of the parameters.
    pub params: Option<String>,
}

/// What to do with a message. The actions of one message happen in order, those of different messages independently of
/// each other.
#[derive(Clone, Debug)]
pub enum Action {
    /// One message.
    Send(String),
    /// Several messages in one write.
    SendTogether(Vec<String>),
    /// One message in several frames, each in a write of its own.
    Fragments(Vec<String>),
    /// Wait until somebody notifies.
    Wait(Arc<Notify>),
    /// Answer no ping on this connection from now on.
    IgnorePings,
    /// Say goodbye with this code.
    Close(u16),
    /// Hang up without a word.
    Drop,
    /// A message that begins so, goes on with this byte, and never ends.
    Endless { first: String, filler: u8 },
}

/// The server. Stops on drop.
pub struct RawServer {
    pub url: String,
    shared: Arc<Shared>,
    running: Running,
}

struct Shared {
    era: Era,
    handler: Box<Handler>,
    received: Observed<Vec<Incoming>>,
    heads: Mutex<Vec<String>>,
    bytes_sent: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    connections_total: AtomicU64,
}

struct Connection {
    number: u64,
    shared: Arc<Shared>,
    /// Held for a frame.
    writer: AsyncMutex<OwnedWriteHalf>,
    /// Held for a message: only control frames may come between its frames.
    message: AsyncMutex<()>,
    ignores_pings: AtomicBool,
    hang_up: CancellationToken,
}

impl RawServer {
    /// What the handler returns nothing for is answered as the era wants: `server/discover`, `initialize` and `ping`;
    /// notifications not at all; everything else with "method not found".
    pub async fn start(
        era: Era,
        handler: impl Fn(&Incoming) -> Option<Vec<Action>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            era,
            handler: Box::new(handler),
            received: Observed::default(),
            heads: Mutex::default(),
            bytes_sent: AtomicU64::new(0),
            connections: Mutex::default(),
            connections_total: AtomicU64::new(0),
        });
        let serving = shared.clone();
        let running =
            listen("127.0.0.1:0", "ws", move |stream, hang_up| serving.clone().serve(stream, hang_up)).await?;
        Ok(Self { url: running.url.clone(), shared, running })
    }

    /// Every message, in the order in which they came.
    pub fn received(&self) -> Vec<Incoming> {
        self.shared.received.get()
    }

    /// Waits until the messages that came look like this; an error after ten seconds.
    pub async fn wait_until(&self, mut reached: impl FnMut(&[Incoming]) -> bool) -> Result<()> {
        self.shared.received.wait_until(|received| reached(received)).await
    }

    /// The heads of the upgrades, verbatim.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections are open now.
    pub fn connections_open(&self) -> usize {
        self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What the operating system took from us so far, upgrades left out.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.bytes_sent.load(Ordering::Relaxed)
    }

    /// Does this on every open connection, unasked.
    pub fn push(&self, actions: &[Action]) {
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.values() {
            connection.clone().perform(actions.to_vec());
        }
    }

    /// Hangs up on everybody without a word. Whoever connects again is served.
    pub fn drop_connections(&self) {
        self.running.drop_connections();
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

impl fmt::Debug for RawServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawServer").field("url", &self.url).field("era", &self.shared.era).finish_non_exhaustive()
    }
}

impl Incoming {
    fn parse(connection: u64, text: String) -> Self {
        #[derive(Default, Deserialize)]
        struct Envelope {
            method: Option<String>,
            id: Option<Box<RawValue>>,
            params: Option<Box<RawValue>>,
        }
        let json = |raw: Box<RawValue>| raw.get().to_owned();
        let Envelope { method, id, params } = serde_json::from_str(&text).unwrap_or_default();
        Self { connection, text, method, id: id.map(json), params: params.map(json) }
    }

    /// The tool that a `tools/call` names.
    pub fn tool(&self) -> Option<String> {
        let params: Value = serde_json::from_str(self.params.as_deref()?).ok()?;
        (self.method.as_deref() == Some("tools/call")).then(|| params["name"].as_str().map(str::to_owned))?
    }
}

impl Action {
    /// An answer with exactly this text as its result.
    pub fn result(to: &Incoming, result: &str) -> Self {
        let id = to.id.as_deref().unwrap_or("null");
        Self::Send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
    }

    pub fn error(to: &Incoming, code: i32, message: &str) -> Self {
        let id = to.id.as_deref().unwrap_or("null");
        let error = json!({ "code": code, "message": message });
        Self::Send(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut stream: TcpStream, hang_up: CancellationToken) {
        let head = match tokio::time::timeout(UPGRADE_TIMEOUT, wire::upgrade(&mut stream)).await {
            Ok(Ok(head)) => head,
            failed => return tracing::debug!(?failed, "no WebSocket came of a connection"),
        };
        witness::came("a WebSocket server", head.as_bytes());
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        let number = self.connections_total.fetch_add(1, Ordering::Relaxed) + 1;
        let (reader, writer) = stream.into_split();
        let connection = Arc::new(Connection {
            number,
            shared: self.clone(),
            writer: AsyncMutex::new(writer),
            message: AsyncMutex::new(()),
            ignores_pings: AtomicBool::new(false),
            hang_up: hang_up.clone(),
        });
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).insert(number, connection.clone());
        let served = hang_up.run_until_cancelled(connection.read(BufReader::new(reader))).await;
        if let Some(Err(error)) = served
            && !wire::is_gone(&error)
        {
            tracing::warn!(%error, "a caller's WebSocket is broken");
        }
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        // Ends the actions that still run.
        hang_up.cancel();
    }
}

impl Connection {
    async fn read(self: &Arc<Self>, mut reader: BufReader<tokio::net::tcp::OwnedReadHalf>) -> Result<()> {
        loop {
            match wire::read(&mut reader).await? {
                Event::Text(text) => {
                    witness::came("a WebSocket server", text.as_bytes());
                    let incoming = Incoming::parse(self.number, text);
                    let actions = (self.shared.handler)(&incoming)
                        .unwrap_or_else(|| lifecycle::answer(self.shared.era, &incoming));
                    self.shared.received.update(|received| {
                        if received.len() < RECEIVED_MAX {
                            received.push(incoming);
                        }
                    });
                    self.clone().perform(actions);
                }
                Event::Ping(payload) if !self.ignores_pings.load(Ordering::Relaxed) => {
                    self.write(&[(Opcode::Pong, true, &payload)]).await?;
                }
                Event::Ping(_) => {}
                Event::Close => {
                    // Whether it answers ours or wants ours: after it nothing more is read.
                    return self.write(&[(Opcode::Close, true, &1000_u16.to_be_bytes())]).await;
                }
            }
        }
    }

    fn perform(self: Arc<Self>, actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        let hang_up = self.hang_up.clone();
        tokio::spawn(hang_up.run_until_cancelled_owned(async move {
            for action in actions {
                if let Err(error) = self.act(action).await {
                    return tracing::debug!(%error, "the caller is gone");
                }
            }
        }));
    }

    async fn act(&self, action: Action) -> Result<()> {
        match action {
            Action::Send(text) => self.send(&[(Opcode::Text, true, text.as_bytes())]).await,
            Action::SendTogether(texts) => {
                let frames: Vec<_> = texts.iter().map(|text| (Opcode::Text, true, text.as_bytes())).collect();
                self.send(&frames).await
            }
            Action::Fragments(parts) => {
                let _message = self.message.lock().await;
                for (index, part) in parts.iter().enumerate() {
                    let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
                    self.write(&[(opcode, index + 1 == parts.len(), part.as_bytes())]).await?;
                }
                Ok(())
            }
            Action::Wait(until) => {
                until.notified().await;
                Ok(())
            }
            Action::IgnorePings => {
                self.ignores_pings.store(true, Ordering::Relaxed);
                Ok(())
            }
            Action::Close(code) => self.send(&[(Opcode::Close, true, &code.to_be_bytes())]).await,
            Action::Drop => {
                self.hang_up.cancel();
                Ok(())
            }
            Action::Endless { first, filler } => {
                let _message = self.message.lock().await;
                self.write(&[(Opcode::Text, false, first.as_bytes())]).await?;
                let filler = vec![filler; ENDLESS_FRAME_BYTES];
                loop {
                    self.write(&[(Opcode::Continuation, false, &filler)]).await?;
                }
            }
        }
    }

    /// Whole messages, not between the frames of another one.
    async fn send(&self, frames: &[(Opcode, bool, &[u8])]) -> Result<()> {
        let _message = self.message.lock().await;
        self.write(frames).await
    }

    /// Frames in one write.
    async fn write(&self, frames: &[(Opcode, bool, &[u8])]) -> Result<()> {
        let mut bytes = Vec::new();
        for (opcode, last, payload) in frames {
            wire::frame(&mut bytes, *opcode, *last, payload);
        }
        self.writer.lock().await.write_all(&bytes).await?;
        self.shared.bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
