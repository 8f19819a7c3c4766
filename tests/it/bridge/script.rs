//! Both ends of a bridge in the hands of a test: the client's lines, and a router that answers what the test says.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use router::bridge::{BridgeError, Settings, Target, run_with};
use secrecy::SecretString;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, duplex},
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// Nothing in these tests takes this long unless it never comes.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for what must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Times short enough for a test, where the default is for people.
pub(crate) fn settings() -> Settings {
    Settings {
        retry_first: Duration::from_millis(5),
        retry_longest: Duration::from_millis(50),
        closing_grace: Duration::from_millis(200),
        ..Settings::default()
    }
}

/// A router that asks the test for every answer.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    door: Arc<mpsc::UnboundedSender<Asked>>,
    serving: Option<JoinHandle<()>>,
}

/// One request that waits for the test's answer.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    answer: oneshot::Sender<Response<Body>>,
}

type Body = BoxBody<Bytes, Infallible>;

/// A stream of events that the test writes.
pub(crate) struct Events(mpsc::Sender<Bytes>);

impl Script {
    pub(crate) async fn start() -> Self {
        let (door, asked) = mpsc::unbounded_channel();
        let mut script = Self { address: ([127, 0, 0, 1], 0).into(), asked, door: Arc::new(door), serving: None };
        script.open().await;
        script
    }

    /// Listens, at the same address as before if there was one.
    pub(crate) async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the address is free");
        self.address = listener.local_addr().expect("it listens");
        let door = Arc::clone(&self.door);
        self.serving = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.expect("accepting works");
                socket.set_nodelay(true).expect("it is a TCP socket");
                connections.spawn(serve(socket, Arc::clone(&door)));
            }
        }));
    }

    /// Ends as a killed process does: no connection is left, and nobody listens.
    pub(crate) async fn kill(&mut self) {
        let serving = self.serving.take().expect("it is open");
        serving.abort();
        _ = serving.await;
    }

    pub(crate) fn url(&self) -> Target {
        format!("http://{}/mcp", self.address).parse().expect("a URL")
    }

    /// Serves one connection in memory.
    pub(crate) fn connector(&self) -> Target {
        let door = Arc::clone(&self.door);
        Target::Memory(Arc::new(move || {
            let (near, far) = duplex(4096);
            tokio::spawn(serve(far, Arc::clone(&door)));
            near
        }))
    }

    /// The next request, whatever it is.
    pub(crate) async fn next(&mut self) -> Asked {
        soon("a request", self.asked.recv()).await.expect("the door is open")
    }

    /// The next POST, whose body must contain `part`.
    pub(crate) async fn post(&mut self, part: &str) -> Asked {
        let asked = self.next().await;
        assert!(
            asked.method == Method::POST && asked.body.contains(part),
            "{} {} instead of {part}",
            asked.method,
            asked.body
        );
        asked
    }

    /// The next request, which must have this method and no body.
    pub(crate) async fn bare(&mut self, method: Method) -> Asked {
        let asked = self.next().await;
        assert!(asked.method == method && asked.body.is_empty(), "{} {} instead of {method}", asked.method, asked.body);
        asked
    }

    /// Whether no request waits.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }

    /// Goes through the handshake of a legacy client, in a session of this id; the server offers no stream of its own.
    pub(crate) async fn handshake(&mut self, client: &mut Client, session: &'static str) {
        client.send(INITIALIZE).await;
        self.post(r#""method":"initialize""#).await.with(&[("mcp-session-id", session)], INITIALIZE_ANSWER);
        assert_eq!(client.line().await, INITIALIZE_ANSWER);
        client.send(INITIALIZED).await;
        self.post("notifications/initialized").await.status(202);
        self.bare(Method::GET).await.status(405);
    }
}

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0", "id":"init-\u0031","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c"}}}"#;
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0",  "method":"notifications/initialized"}"#;
pub(crate) const INITIALIZE_ANSWER: &str = r#"{"jsonrpc":"2.0","id":"init-1","result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s"}}}"#;

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, door: Arc<mpsc::UnboundedSender<Asked>>) {
    let service = service_fn(move |request| ask(request, Arc::clone(&door)));
    _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(io), service).await;
}

/// Gives one request to the test. An error breaks the connection: the body broke off, or the test dropped the request.
async fn ask(request: Request<Incoming>, door: Arc<mpsc::UnboundedSender<Asked>>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let body = String::from_utf8(body.into()).expect("the tests send text");
    let (answer, answered) = oneshot::channel();
    _ = door.send(Asked { method: parts.method, headers: parts.headers, body, answer });
    answered.await.map_err(io::Error::other)
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn respond(self, response: http::response::Builder, body: impl Into<Bytes>) {
        let response = response.body(Full::new(body.into()).boxed()).expect("a response");
        _ = self.answer.send(response);
    }

    /// A JSON answer.
    pub(crate) fn json(self, body: &str) {
        self.with(&[], body);
    }

    /// A JSON answer with headers.
    pub(crate) fn with(self, headers: &[(&str, &str)], body: &str) {
        let builder = Response::builder().header("content-type", "application/json; charset=utf-8");
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        self.respond(builder, body.to_owned());
    }

    /// A status without a body.
    pub(crate) fn status(self, status: u16) {
        self.respond(Response::builder().status(StatusCode::from_u16(status).expect("a status")), "");
    }

    /// An answer that is a stream of events.
    pub(crate) fn events(self) -> Events {
        self.pieces("text/event-stream")
    }

    /// An answer of this type that the test writes piece by piece.
    pub(crate) fn pieces(self, content_type: &str) -> Events {
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let pieces = stream::unfold(receiver, async |mut receiver| {
            let piece = receiver.recv().await?;
            Some((Ok(Frame::data(piece)), receiver))
        });
        let builder = Response::builder().header("content-type", content_type);
        _ = self.answer.send(builder.body(BoxBody::new(StreamBody::new(pieces))).expect("a response"));
        Events(sender)
    }

    /// Waits until the bridge no longer waits for the answer.
    pub(crate) async fn abandoned(&mut self) {
        soon("the end of the request", self.answer.closed()).await;
    }
}

impl Events {
    /// Writes bytes as they are.
    pub(crate) async fn raw(&self, piece: impl Into<Bytes>) {
        soon("room for an event", self.0.send(piece.into())).await.expect("the bridge listens");
    }

    /// Writes one message as one event.
    pub(crate) async fn message(&self, text: &str) {
        self.raw(format!("event: message\ndata: {text}\n\n")).await;
    }

    /// Writes bytes as they are; false when nobody reads any more.
    pub(crate) async fn try_raw(&self, piece: impl Into<Bytes>) -> bool {
        soon("room for an event", self.0.send(piece.into())).await.is_ok()
    }

    /// Waits until the bridge has closed the stream.
    pub(crate) async fn closed(&self) {
        soon("the end of the stream", self.0.closed()).await;
    }
}

/// The client on the other side of the pipes.
pub(crate) struct Client {
    input: Option<DuplexStream>,
    output: BufReader<DuplexStream>,
    bridge: JoinHandle<Result<(), BridgeError>>,
}

impl Client {
    pub(crate) fn start(target: Target) -> Self {
        Self::start_with(target, None, settings())
    }

    pub(crate) fn start_with(target: Target, key: Option<&str>, settings: Settings) -> Self {
        let (input, bridge_input) = duplex(64 * 1024);
        let (bridge_output, output) = duplex(64 * 1024);
        let key = key.map(SecretString::from);
        let bridge = tokio::spawn(run_with(target, key, settings, bridge_input, bridge_output));
        Self { input: Some(input), output: BufReader::new(output), bridge }
    }

    /// Writes one line.
    pub(crate) async fn send(&mut self, line: &str) {
        self.send_raw(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        soon("room for a line", input.write_all(bytes)).await.expect("the bridge reads");
    }

    /// The next line.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        soon("a line", self.output.read_line(&mut line)).await.expect("the bridge writes text");
        assert_eq!(line.pop(), Some('\n'), "the output has ended");
        line
    }

    /// The next line, which must be an error of the bridge itself, as (id, code, message).
    pub(crate) async fn error(&mut self) -> (String, i64, String) {
        let line = self.line().await;
        let message: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let error = &message["error"];
        (
            message["id"].to_string(),
            error["code"].as_i64().unwrap_or_else(|| panic!("{line}")),
            error["message"].as_str().expect("text").into(),
        )
    }

    /// Closes the input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Closes the input and waits for the end of the bridge. Returns what it still wrote.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        self.close();
        soon("the end of the bridge", self.bridge).await.expect("no panic").expect("it ends well");
        let mut lines = Vec::new();
        let mut rest = self.output.lines();
        while let Some(line) = rest.next_line().await.expect("the bridge writes text") {
            lines.push(line);
        }
        lines
    }
}
