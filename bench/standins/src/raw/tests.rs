use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Action, Incoming, RawServer};
use crate::Era;

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(server: &RawServer) -> Socket {
    let mut request = server.url.as_str().into_client_request().expect("a URL");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mcp"));
    tokio_tungstenite::connect_async(request).await.expect("an upgrade").0
}

/// A test that waits for ever says less than one that fails.
async fn next(socket: &mut Socket) -> Option<Result<Message, Error>> {
    tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("in time")
}

async fn text(socket: &mut Socket) -> String {
    match next(socket).await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn ask(socket: &mut Socket, question: &str) -> String {
    socket.send(Message::text(question)).await.expect("sent");
    text(socket).await
}

#[tokio::test]
async fn bytes_come_through_as_they_are() {
    const RESULT: &str = "{ \"z\" : 1,\"a\":18446744073709551615, \"x-vendor\": {\"é\":\"\\u00e9\"}, \"n\": 1.0e0 }";
    let server = RawServer::start(Era::Both, |incoming| match incoming.tool()?.as_str() {
        "odd" => Some(vec![Action::result(incoming, RESULT)]),
        "parts" => Some(vec![Action::Fragments(vec!["one ".into(), "two ".into(), "three".into()])]),
        "together" => Some(vec![Action::SendTogether(vec!["1".into(), "2".into(), "3".into()])]),
        _ => None,
    })
    .await
    .expect("it listens");
    let mut socket = connect(&server).await;
    assert!(server.heads()[0].starts_with("GET /mcp HTTP/1.1\r\n"), "{:?}", server.heads());

    let question = r#"{"jsonrpc":"2.0", "id" : 9007199254740993 ,"method":"tools/call","params":{ "name":"odd" }}"#;
    let answer = ask(&mut socket, question).await;
    assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":9007199254740993,"result":{RESULT}}}"#));
    let [Incoming { text, id, params, connection, .. }] = &server.received()[..] else { panic!("one message") };
    assert_eq!((text.as_str(), id.as_deref()), (question, Some("9007199254740993")));
    assert_eq!((params.as_deref(), *connection), (Some(r#"{ "name":"odd" }"#), 1));

    let call =
        |tool: &str| format!(r#"{{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{{"name":"{tool}"}}}}"#);
    assert_eq!(ask(&mut socket, &call("parts")).await, "one two three");
    assert_eq!(ask(&mut socket, &call("together")).await, "1");
    assert_eq!((self::text(&mut socket).await, self::text(&mut socket).await), ("2".into(), "3".into()));
    let big = format!(r#"{{"id":1,"method":"other","filler":"{}"}}"#, "x".repeat(70_000));
    assert!(ask(&mut socket, &big).await.contains("-32601"), "a long message is read");

    server.push(&[Action::Send("unasked".into())]);
    assert_eq!(self::text(&mut socket).await, "unasked");
}

#[tokio::test]
async fn each_era_has_its_lifecycle() {
    for (era, discovered, initialized) in [
        (Era::Both, r#""supportedVersions":["2026-07-28","2025-11-25""#, r#""protocolVersion":"2025-06-18""#),
        (Era::LegacyOnly, "-32601", r#""protocolVersion":"2025-06-18""#),
        (Era::ModernOnly, r#""supportedVersions":["2026-07-28"]"#, "-32022"),
    ] {
        let server = RawServer::start(era, |_| None).await.expect("it listens");
        let mut socket = connect(&server).await;
        let answer = ask(&mut socket, r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#).await;
        assert!(answer.contains(discovered), "{era:?}: {answer}");
        let initialize = r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#;
        let answer = ask(&mut socket, initialize).await;
        assert!(answer.contains(initialized), "{era:?}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_that_waits_holds_up_nothing_else() {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let server = RawServer::start(Era::Both, move |incoming| {
        let answer = Action::result(incoming, "{}");
        Some(if incoming.tool()? == "held" { vec![Action::Wait(held.clone()), answer] } else { vec![answer] })
    })
    .await
    .expect("it listens");
    let mut socket = connect(&server).await;
    socket.send(Message::text(r#"{"id":1,"method":"tools/call","params":{"name":"held"}}"#)).await.expect("sent");
    let answer = ask(&mut socket, r#"{"id":2,"method":"tools/call","params":{"name":"quick"}}"#).await;
    assert!(answer.contains(r#""id":2"#), "{answer}");
    gate.notify_one();
    assert!(text(&mut socket).await.contains(r#""id":1"#));
}

#[tokio::test]
async fn pings_are_answered_until_it_is_told_not_to() {
    let server = RawServer::start(Era::Both, |_| Some(vec![Action::IgnorePings, Action::Send("deaf".into())])).await;
    let server = server.expect("it listens");
    let mut socket = connect(&server).await;
    socket.send(Message::Ping("1".into())).await.expect("sent");
    assert_eq!(next(&mut socket).await.expect("a frame").expect("a frame"), Message::Pong("1".into()));
    assert_eq!(ask(&mut socket, "{}").await, "deaf");
    socket.send(Message::Ping("2".into())).await.expect("sent");
    assert_eq!(ask(&mut socket, "{}").await, "deaf", "the next frame is no pong");
}

#[tokio::test]
async fn it_can_hang_up_politely_rudely_and_never_end() {
    let server = RawServer::start(Era::Both, |incoming| {
        Some(vec![match incoming.tool()?.as_str() {
            "close" => Action::Close(1012),
            "endless" => Action::Endless { first: "[".into(), filler: b' ' },
            _ => Action::Drop,
        }])
    })
    .await
    .expect("it listens");
    let call = |tool: &str| Message::text(format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#));

    let mut socket = connect(&server).await;
    socket.send(call("close")).await.expect("sent");
    let Some(Ok(Message::Close(Some(frame)))) = next(&mut socket).await else { panic!("a farewell") };
    assert_eq!(u16::from(frame.code), 1012);

    let mut socket = connect(&server).await;
    socket.send(call("drop")).await.expect("sent");
    assert!(!matches!(next(&mut socket).await, Some(Ok(_))), "no farewell");

    let mut socket = connect(&server).await;
    socket.send(call("endless")).await.expect("sent");
    assert!(next(&mut socket).await.expect("the limit of the library").is_err());
    assert!(server.bytes_sent() > 32 << 20, "{}", server.bytes_sent());
    drop(socket);
    server.wait_until(|received| received.len() == 3).await.expect("three messages");
    server.stop().await;
}
