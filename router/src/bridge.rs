//! The bridge for `weir stdio`: MCP on an input and an output, as Claude Desktop speaks it, relayed to a router over streamable HTTP.
//!
//! Every message passes byte for byte: the client's line becomes the body of a POST, the JSON of the answer becomes a line. What the
//! bridge adds lies around the messages: the headers of both eras, the session of a legacy client, another attempt when the router
//! restarts, signs of life while a call is slow, and an error with advice where the router's answer could not be had.

mod annotations;
mod failure;
mod flight;
mod headers;
mod http;
mod keepalive;
mod lines;
mod listener;
mod message;
mod output;
mod relay;
mod relearn;
mod session;
mod stream;
mod subscription;
mod wire;

use std::{
    io,
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use secrecy::SecretString;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{
    annotations::Annotations,
    failure::Failure,
    flight::{Flight, Flights},
    http::Http,
    lines::{Line, Lines},
    message::{Id, Kind, Message},
    output::Output,
    session::Session,
    stream::Stream,
    wire::Wire,
};
pub use self::{
    headers::request_headers,
    http::{Connector, Target, authorization},
};

/// How long the notifications that cancel what is still running may take when the input has ended.
const CANCEL_TIME: Duration = Duration::from_secs(1);

/// Why a bridge does not start, or ends before its input does.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The text is no absolute URL.
    #[error("the URL of the router must be an absolute address such as http://127.0.0.1:8080/mcp")]
    UrlForm,
    /// Only HTTP leads to a router.
    #[error("the URL of the router begins with {0}: — only http: and https: lead to one")]
    UrlScheme(String),
    /// A name or password in the URL.
    #[error("the URL of the router contains a user name or password: take it out, and put the key into WEIR_API_KEY")]
    UrlUserinfo,
    /// The key would travel unencrypted.
    #[error("a key must not travel to {host} over plain http: use https, or leave WEIR_API_KEY unset")]
    KeyInTheOpen {
        /// The router's host.
        host: String,
    },
    /// The key cannot stand in a header.
    #[error("WEIR_API_KEY is empty or contains characters that no key has: set it to a key of `weir keys create`")]
    Key,
    /// No certificates to trust.
    #[error("the certificates that this system trusts cannot be loaded ({0}): install its package of CA certificates")]
    Roots(io::Error),
    /// The input broke.
    #[error("the input cannot be read ({0})")]
    Input(io::Error),
    /// The output broke.
    #[error("the output cannot be written ({0}): has the client gone?")]
    Output(io::Error),
}

/// Times and bounds. The defaults fit Claude Desktop, which gives up a call after 60 s without progress.
#[derive(Debug, Clone)]
pub struct Settings {
    /// After this long without a message for it, a request whose client asked for progress gets a sign of life.
    pub keepalive_every: Duration,
    /// How long a request that was certainly not sent is tried again.
    pub retry_for: Duration,
    /// About the first wait between attempts, and the longest.
    pub retry_first: Duration,
    /// The longest wait between attempts.
    pub retry_longest: Duration,
    /// How long the router may send nothing at all while a request waits for it.
    pub silence_max: Duration,
    /// How long requests may still take when the input has ended.
    pub closing_grace: Duration,
    /// Requests on their way at once; others wait.
    pub in_flight_max: usize,
    /// Requests taken in and not answered, those that wait included; beyond them requests are refused.
    pub waiting_max: usize,
    /// Bytes of all of these together.
    pub waiting_bytes_max: usize,
    /// One line of the input.
    pub line_bytes_max: usize,
    /// One answer, or one event of it.
    pub answer_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keepalive_every: Duration::from_secs(15),
            retry_for: Duration::from_secs(10),
            retry_first: Duration::from_millis(100),
            retry_longest: Duration::from_secs(1),
            silence_max: Duration::from_secs(15 * 60),
            closing_grace: Duration::from_secs(2),
            in_flight_max: 256,
            waiting_max: 1024,
            waiting_bytes_max: 64 * 1024 * 1024,
            line_bytes_max: 8 * 1024 * 1024,
            answer_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// Relays messages until `input` ends, with the default settings.
///
/// # Errors
/// [`BridgeError`] when the bridge cannot start, or when input or output break.
pub async fn run(
    target: Target,
    key: Option<SecretString>,
    input: impl AsyncRead,
    output: impl AsyncWrite,
) -> Result<(), BridgeError> {
    run_with(target, key, Settings::default(), input, output).await
}

/// Relays messages until `input` ends. Dropping the future ends everything at once.
///
/// # Errors
/// [`BridgeError`] when the bridge cannot start, or when input or output break.
pub async fn run_with(
    target: Target,
    key: Option<SecretString>,
    settings: Settings,
    input: impl AsyncRead,
    output: impl AsyncWrite,
) -> Result<(), BridgeError> {
    let http = Http::new(target, key.as_ref())?;
    let (lines_out, queue) = Output::new();
    let (input, output) = (pin!(input), pin!(output));
    let mut writing = pin!(output::write(output, queue));
    let closing_grace = settings.closing_grace;
    let served = {
        let bridge = Arc::new(Bridge::new(http, settings, lines_out));
        let lines = Lines::new(input, bridge.settings.line_bytes_max);
        tokio::select! {
            served = bridge.serve(lines) => served,
            never = bridge.listen() => match never {},
            written = &mut writing => return written.map_err(BridgeError::Output),
        }
    };
    // Nobody is left who could send a line: the writer ends behind the last one, unless the client no longer reads.
    timeout(closing_grace, writing).await.unwrap_or(Ok(())).map_err(BridgeError::Output)?;
    served
}

/// What all messages share.
struct Bridge {
    wire: Wire,
    output: Output,
    session: Session,
    flights: Flights,
    annotations: Annotations,
    slots: Semaphore,
    waiting_bytes: Arc<Semaphore>,
    settings: Settings,
}

/// The messages that are being relayed, in the order in which the client's handshake wants them.
struct Traffic {
    tasks: JoinSet<()>,
    /// Comes when the handshake messages before are done: what follows them must not overtake them on another connection.
    turn: CancellationToken,
}

/// What is left to do for a cancellation.
enum Cancellation {
    Done,
    /// The router must get the message; after that nobody listens to the request any more.
    ToBeTold(Option<Arc<Flight>>),
}

impl Bridge {
    fn new(http: Http, settings: Settings, output: Output) -> Self {
        Self {
            wire: Wire::new(http, settings.clone()),
            output,
            session: Session::new(),
            flights: Flights::default(),
            annotations: Annotations::default(),
            slots: Semaphore::new(settings.in_flight_max),
            waiting_bytes: Arc::new(Semaphore::new(settings.waiting_bytes_max)),
            settings,
        }
    }

    /// Takes in lines until there are no more, then ends what is still running.
    async fn serve<R: AsyncRead + Unpin>(self: &Arc<Self>, mut lines: Lines<R>) -> Result<(), BridgeError> {
        let turn = CancellationToken::new();
        turn.cancel();
        let mut traffic = Traffic { tasks: JoinSet::new(), turn };
        let ended = loop {
            tokio::select! {
                line = lines.next() => match line {
                    Ok(Some(Line::Message(bytes))) => self.take(bytes, &mut traffic),
                    Ok(Some(Line::TooLong)) => self.say(failure::line_too_long(self.settings.line_bytes_max), &mut traffic),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(BridgeError::Input(error)),
                },
                Some(_) = traffic.tasks.join_next() => {}
            }
        };
        self.close(traffic).await;
        ended
    }

    fn take(self: &Arc<Self>, bytes: Bytes, traffic: &mut Traffic) {
        while traffic.tasks.try_join_next().is_some() {}
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(malformed) => return self.say(failure::malformed(&malformed), traffic),
        };
        let mut cancelled = None;
        if let Kind::Notification { cancels: Some(id), .. } = &message.kind {
            match self.cancel(id) {
                Cancellation::Done => return,
                Cancellation::ToBeTold(flight) => cancelled = flight,
            }
        }
        let Some(room) = self.room(&message, traffic) else {
            tracing::warn!("too many messages wait; one is refused");
            for id in message.ids() {
                self.output.line_now(Failure::Overloaded.answer(&id, &self.wire.names));
            }
            return;
        };
        let is_handshake = message.modern.is_none()
            && match &message.kind {
                Kind::Request(request) => request.method == "initialize",
                Kind::Notification { method, .. } => method == "notifications/initialized",
                Kind::Response | Kind::Batch(_) => false,
            };
        let (turn, next_turn) = traffic.turn_of(&message, is_handshake);
        let bridge = Arc::clone(self);
        match message.kind {
            // A batch of nothing but notifications and responses gets no answer.
            Kind::Request(_) | Kind::Batch(_) if !message.ids().is_empty() => {
                let flight = self.flights.begin(&message);
                traffic.tasks.spawn(async move {
                    let rest = bridge.relay_request(message, flight, turn).await;
                    drop((room, next_turn));
                    drain(rest).await;
                });
            }
            Kind::Request(_) | Kind::Batch(_) | Kind::Notification { .. } | Kind::Response => {
                traffic.tasks.spawn(async move {
                    turn.cancelled().await;
                    let rest = bridge.relay_one_way(&message).await;
                    drop((room, next_turn));
                    if let Some(flight) = cancelled {
                        flight.stop();
                    }
                    drain(rest).await;
                });
            }
        }
    }

    /// The client no longer wants the answer to a request.
    fn cancel(&self, id: &Id) -> Cancellation {
        let Some(flight) = self.flights.find(id) else {
            // Answered meanwhile, or never asked. A legacy server may still make something of it; for a modern one there is no such message.
            let is_legacy = self.session.phases().borrow().open;
            return if is_legacy { Cancellation::ToBeTold(None) } else { Cancellation::Done };
        };
        flight.silence();
        if flight.modern || !flight.may_have_been_sent() {
            // On HTTP the end of its stream is what cancels a modern request (MCP 2026-07-28, basic/patterns/cancellation).
            flight.stop();
            return Cancellation::Done;
        }
        Cancellation::ToBeTold(Some(flight))
    }

    /// Room for a message, or `None` when too much waits already.
    fn room(&self, message: &Message, traffic: &Traffic) -> Option<OwnedSemaphorePermit> {
        // What the requests may be waiting for is let in beyond their bound.
        let waiting_max = match message.kind {
            Kind::Request(_) | Kind::Batch(_) => self.settings.waiting_max,
            Kind::Notification { .. } | Kind::Response => 2 * self.settings.waiting_max,
        };
        if traffic.tasks.len() >= waiting_max {
            return None;
        }
        let bytes = u32::try_from(message.bytes.len()).ok()?;
        Arc::clone(&self.waiting_bytes).try_acquire_many_owned(bytes).ok()
    }

    /// Writes an answer of the bridge's own without waiting for a client that does not read.
    fn say(self: &Arc<Self>, line: Bytes, traffic: &mut Traffic) {
        if traffic.tasks.len() < self.settings.waiting_max {
            let output = self.output.clone();
            traffic.tasks.spawn(async move { output.line(line).await });
        } else if !self.output.line_now(line) {
            tracing::warn!("the client reads too slowly; an error for a line that was no message is left out");
        }
    }

    /// The input has ended: what runs may end, is then cancelled, and the session is closed.
    async fn close(self: &Arc<Self>, mut traffic: Traffic) {
        self.flights.all().iter().filter(|flight| flight.is_listen()).for_each(|flight| flight.stop());
        let all_done = async { while traffic.tasks.join_next().await.is_some() {} };
        if timeout(self.settings.closing_grace, all_done).await.is_err() {
            let running = self.flights.all();
            running.iter().for_each(|flight| flight.silence());
            let cancelling = running
                .iter()
                .filter(|flight| !flight.modern && flight.may_have_been_sent() && flight.method != "initialize");
            let told = futures_util::future::join_all(cancelling.map(|flight| self.tell_cancelled(flight)));
            _ = timeout(CANCEL_TIME, told).await;
            traffic.tasks.shutdown().await;
        }
        self.session.end(&self.wire).await;
    }

    async fn tell_cancelled(&self, flight: &Flight) {
        for id in &flight.ids {
            let params = format!(r#"{{"requestId":{},"reason":"the client has closed its input"}}"#, id.text());
            let message = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#);
            if let Err(failure) =
                self.wire.post(self.session.headers().0, message.into(), false, &AtomicBool::new(false)).await
            {
                tracing::debug!("{}", failure.text(&self.wire.names));
            }
        }
    }
}

impl Traffic {
    /// When a message may go, and what lets the messages behind it go. Modern messages know no handshake and never wait.
    fn turn_of(
        &mut self,
        message: &Message,
        is_handshake: bool,
    ) -> (CancellationToken, Option<tokio_util::sync::DropGuard>) {
        if message.modern.is_some() {
            let now = CancellationToken::new();
            now.cancel();
            return (now, None);
        }
        if !is_handshake {
            return (self.turn.clone(), None);
        }
        let next = CancellationToken::new();
        (std::mem::replace(&mut self.turn, next.clone()), Some(next.drop_guard()))
    }
}

/// Reads the rest behind an answer, so that its connection can be used again.
async fn drain(rest: Option<Stream>) {
    if let Some(stream) = rest {
        stream.drain().await;
    }
}
