//! Requests whose end two servers could see in different places: 400, the end of the connection, and nothing for a downstream.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, PATIENCE, TestRouter, open_house, secure_router, secured, speak};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

/// Heads after the request line, and what follows them. `HOST` and `LENGTH` stand for the right values, `BODY` and `CHUNKS` for a call.
pub(crate) const AMBIGUOUS: [(&str, &str); 17] = [
    ("a length beside chunks", "HOST\r\ncontent-length: LENGTH\r\ntransfer-encoding: chunked\r\n\r\nCHUNKS"),
    ("chunks beside a length", "HOST\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nCHUNKS"),
    ("chunks beside no length", "HOST\r\ntransfer-encoding: chunked\r\nContent-Length: 0\r\n\r\nCHUNKS"),
    ("chunked twice", "HOST\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\nCHUNKS"),
    ("chunked of chunked", "HOST\r\ntransfer-encoding: chunked, chunked\r\n\r\nCHUNKS"),
    ("chunked of identity", "HOST\r\ntransfer-encoding: identity, chunked\r\n\r\nCHUNKS"),
    ("nearly chunked", "HOST\r\ntransfer-encoding: \u{b}chunked\r\n\r\nCHUNKS"),
    ("two equal lengths", "HOST\r\ncontent-length: LENGTH\r\ncontent-length: LENGTH\r\n\r\nBODY"),
    ("two lengths", "HOST\r\ncontent-length: LENGTH\r\nContent-Length: 5\r\n\r\nBODY"),
    ("a list of equal lengths", "HOST\r\ncontent-length: LENGTH, LENGTH\r\n\r\nBODY"),
    ("a bare LF after a field", "HOST\ncontent-length: LENGTH\r\n\r\nBODY"),
    ("a bare LF before the body", "HOST\r\ncontent-length: LENGTH\r\n\nBODY"),
    ("bare LFs alone", "HOST\ncontent-length: LENGTH\n\nBODY"),
    ("a folded field", "HOST\r\nx-a: b\r\n c\r\ncontent-length: LENGTH\r\n\r\nBODY"),
    ("a folded length", "HOST\r\ncontent-length:\r\n LENGTH\r\n\r\nBODY"),
    ("a bare CR", "HOST\rx-a: b\r\ncontent-length: LENGTH\r\n\r\nBODY"),
    ("a bare LF in a trailer", "HOST\r\ntransfer-encoding: chunked\r\n\r\nTRAILED"),
];
/// The rest of a head that has one meaning.
pub(crate) const FINE: &str = "HOST\r\ncontent-length: LENGTH\r\n\r\nBODY";

#[tokio::test(flavor = "multi_thread")]
async fn what_has_two_meanings_ends_the_connection_and_reaches_nobody() -> Result<()> {
    let scene = Scene::new().await?;
    let callers = scene.router.running().callers;
    for (what, rest) in AMBIGUOUS {
        for path in ["/mcp", "/v1/tools/call"] {
            let request = scene.request(path, rest);
            // What stands behind it is never taken for a request, and what stands before it is answered.
            let followed = request.clone() + &scene.fine("/v1/tools/call");
            let answer = speak(callers, followed.as_bytes()).await?;
            ensure!(answer.starts_with("HTTP/1.1 400 ") && statuses(&answer) == [400], "{what}: {answer}");
            ensure!(answer.to_ascii_lowercase().contains("connection: close"), "{what}: {answer}");
            let told = if rest.ends_with("TRAILED") { "is broken" } else { "read in two ways: " };
            ensure!(problem(&answer)?["detail"].as_str().is_some_and(|text| text.contains(told)), "{what}: {answer}");
            ensure!(scene.calls() == 0, "{what} reached the downstream");
        }
    }
    for target in ["http://evil.example", "http://127.0.0.1:1", "https://evil.example:443"] {
        let request = scene.fine("/mcp").replace("POST /mcp", &format!("POST {target}/mcp"));
        let answer = speak(callers, (request + &scene.fine("/mcp")).as_bytes()).await?;
        ensure!(statuses(&answer) == [400] && scene.calls() == 0, "{target}: {answer}");
    }
    let metrics = scene.router.admin("/metrics").await?.text;
    ensure!(metrics.contains("weir_refused_total{reason=\"ambiguous_http\"}"), "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_on_the_operators_listener_and_under_tls() -> Result<()> {
    let scene = Scene::new().await?;
    let admin = scene.router.running().admin;
    let (secure, certificate) = secure_router(open_house(&[])).await?;
    for (what, rest) in AMBIGUOUS {
        let head = scene.request("/healthz", rest).replace("POST", "GET");
        let of_admin = head.replace(&scene.router.authority(), &admin.to_string());
        let followed = of_admin + &format!("GET /readyz HTTP/1.1\r\nhost: {admin}\r\n\r\n");
        let answer = speak(admin, followed.as_bytes()).await?;
        // This listener answers without reading a body, so a broken trailer only ends the connection after that.
        let expected = if rest.ends_with("TRAILED") { 200 } else { 400 };
        ensure!(statuses(&answer) == [expected], "{what}: {answer}");
        ensure!(expected == 200 || problem(&answer).is_ok(), "{what}: {answer}");

        let address = secure.running().callers;
        let own = format!("localhost:{}", address.port());
        let request = scene.request("/mcp", rest).replace(&scene.router.authority(), &own);
        for alpn in [&[b"http/1.1".as_slice()][..], &[]] {
            let answer = exchange(secured(address, &certificate, alpn).await?, request.as_bytes()).await?;
            ensure!(statuses(&answer) == [400] && problem(&answer).is_ok(), "{what}: {answer}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_request_before_a_bad_one_is_answered_however_the_bytes_come() -> Result<()> {
    let scene = Scene::new().await?;
    let callers = scene.router.running().callers;
    for (index, (what, rest)) in AMBIGUOUS.into_iter().enumerate() {
        let all = scene.fine("/mcp") + &scene.fine("/v1/tools/call") + &scene.request("/mcp", rest);
        // In one write, cut in the middle of the bad one, and cut everywhere.
        for piece in [all.len(), all.len() - rest.len() / 2, 7, 1] {
            let answer = in_pieces(callers, all.as_bytes(), piece).await?;
            ensure!(statuses(&answer) == [200, 200, 400] && problem(&answer).is_ok(), "{what}, {piece}: {answer}");
        }
        ensure!(scene.calls() == (index + 1) * 8, "{what}: {}", scene.calls());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_told_so() -> Result<()> {
    let router = TestRouter::start(&open_house(&[]).to_string()).await?;
    for listener in [router.running().callers, router.running().admin] {
        for head in ["GET /v1/tools HTTP/1.1\r\nx: a\0b\r\n\r\n", "GET /v1/tools\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"] {
            let answer = speak(listener, head.as_bytes()).await?;
            let problem = problem(&answer)?;
            ensure!(problem["detail"] == "This is no HTTP request. Mend the client.", "{head:?}: {answer}");
        }
    }
    let metrics = router.admin("/metrics").await?.text;
    ensure!(metrics.contains("weir_refused_total{reason=\"malformed\"}"), "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_may_look_like_anything() -> Result<()> {
    let scene = Scene::new().await?;
    // White space between tokens, and text in a string.
    let body = "{\"name\":\"raw__work\",\r\n\r\n\"arguments\":\n\n{\"text\":\"GET / HTTP/1.1\"}}\r\n\r\n\n\r";
    let length = body.len();
    let by_length = scene.request("/v1/tools/call", &format!("HOST\r\ncontent-length: {length}\r\n\r\n{body}"));
    let chunks: String = body.chars().map(|c| format!("1 ;x=\"y\"\r\n{c}\r\n")).collect();
    let chunked = format!("HOST\r\ntransfer-encoding: Chunked\r\n\r\n{chunks}000\r\nx-t: 1\r\n\r\n");
    let by_chunks = scene.request("/v1/tools/call", &chunked);
    let last = scene.fine("/v1/tools/call").replace("content-length", "connection: close\r\ncontent-length");
    let all = [by_length.as_str(), "\r\n", &by_chunks, &by_length, &last].concat();
    for piece in [all.len(), 13] {
        let answer = in_pieces(scene.router.running().callers, all.as_bytes(), piece).await?;
        ensure!(statuses(&answer) == [200, 200, 200, 200], "{piece}: {answer}");
    }
    ensure!(scene.calls() == 8);
    Ok(())
}

/// A router in front of a server whose one tool, `raw__work`, is counted.
struct Scene {
    router: TestRouter,
    server: RawServer,
}

impl Scene {
    async fn new() -> Result<Self> {
        let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
            Some("tools/list") => {
                let tools = json!({ "tools": [{ "name": "work", "inputSchema": { "type": "object" } }] });
                Some(vec![Action::result(message, &tools.to_string())])
            }
            Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
            _ => None,
        })
        .await?;
        let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
        Ok(Self { router, server })
    }

    fn calls(&self) -> usize {
        self.server.received().iter().filter(|message| message.tool().is_some()).count()
    }

    fn request(&self, path: &str, rest: &str) -> String {
        request(path, &format!("host: {}", self.router.authority()), rest)
    }

    fn fine(&self, path: &str) -> String {
        self.request(path, FINE)
    }
}

/// A request to `path` with these headers and this rest of a head, and the call that belongs to the path.
pub(crate) fn request(path: &str, host: &str, rest: &str) -> String {
    let (headers, body) = call(path);
    let length = body.len();
    let chunks = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let trailed = format!("{length:x}\r\n{body}\r\n0\r\nx-a: b\n\n\r\n\r\n");
    let rest = rest.replacen("HOST", &format!("{headers}{host}"), 1);
    let rest = rest.replace("LENGTH", &length.to_string());
    let rest = rest.replace("BODY", &body).replace("CHUNKS", &chunks).replace("TRAILED", &trailed);
    format!("POST {path} HTTP/1.1\r\n{rest}")
}

/// Headers and body of a call of `raw__work`.
fn call(path: &str) -> (String, String) {
    if path == "/mcp" {
        let wire = String::from_utf8(Ask::call("raw__work", json!({})).wire("x")).expect("text");
        let (head, body) = wire.split_once("\r\n\r\n").expect("a head");
        let of_its_own = |line: &&str| !["POST", "host", "content-length"].iter().any(|start| line.starts_with(start));
        let headers: String = head.lines().filter(of_its_own).map(|line| format!("{line}\r\n")).collect();
        return (headers, body.to_owned());
    }
    ("content-type: application/json\r\n".to_owned(), r#"{"name":"raw__work"}"#.to_owned())
}

/// The body of the last answer, which is as long as it says.
fn problem(answers: &str) -> Result<serde_json::Value> {
    let (head, body) = answers.rsplit_once("\r\n\r\n").context("no head")?;
    let head = head.to_ascii_lowercase();
    ensure!(head.contains("content-type: application/problem+json\r\n") && head.contains("\r\ndate: "), "{answers}");
    ensure!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answers}");
    let problem: serde_json::Value = serde_json::from_str(body)?;
    ensure!(problem["status"] == 400, "{answers}");
    Ok(problem)
}

/// The statuses of all answers.
fn statuses(answers: &str) -> Vec<u16> {
    let after = |start: &str| start.get(..3).and_then(|status| status.parse().ok());
    answers.split("HTTP/1.1 ").skip(1).filter_map(after).collect()
}

async fn in_pieces(address: SocketAddr, bytes: &[u8], piece: usize) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        for piece in bytes.chunks(piece) {
            // Who is refused early cannot send the rest.
            if writer.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer).await;
        answer
    };
    let both = async { tokio::join!(writing, reading).1 };
    let answer = tokio::time::timeout(PATIENCE, both).await.context("the connection stays open")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Result<String> {
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), reading).await.context("the connection stays open")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
