//! What goes wrong, and what the client hears of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Response;
use router::bridge::Settings;
use tokio::{io::AsyncReadExt, net::TcpListener};

use super::script::{Client, Script, settings, soon};

const UNREACHABLE: i64 = -31_001;
const LOST: i64 = -31_002;
const REFUSED: i64 = -31_003;
const UNUSABLE: i64 = -31_004;
const OVERLOADED: i64 = -31_005;

fn call(id: u32) -> String {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t{id}",{meta}}}}}"#)
}

fn list(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{}}}}"#)
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

#[tokio::test]
async fn a_request_waits_for_a_router_that_is_starting() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    client.send(&call(1)).await;
    router.post("t1").await.json(&result(1));
    client.line().await;
    router.kill().await;
    client.send(&call(2)).await;
    client.send(&call(3)).await;
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#).await;
    router.open().await;
    let asked = router.next().await;
    assert_eq!(asked.body, call(2));
    asked.json(&result(2));
    assert_eq!(client.line().await, result(2));
    assert!(client.finish().await.is_empty());
    assert!(router.is_quiet(), "what was cancelled before it was sent is never sent");
}

#[tokio::test]
async fn a_router_that_stays_away_is_named() {
    let mut router = Script::start().await;
    router.kill().await;
    let mut client =
        Client::start_with(router.url(), None, Settings { retry_for: Duration::from_millis(100), ..settings() });
    client.send(&call(1)).await;
    let (id, code, text) = client.error().await;
    assert_eq!((id.as_str(), code), ("1", UNREACHABLE));
    assert!(text.contains("refused") && text.contains("was not sent") && text.contains("weir serve"), "{text}");
    // It is tried again for the next request.
    router.open().await;
    client.send(&call(2)).await;
    router.post("t2").await.json(&result(2));
    assert_eq!(client.line().await, result(2));
}

#[tokio::test]
async fn a_call_that_may_have_been_sent_is_not_repeated() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    client.send(&call(1)).await;
    drop(router.post("t1").await);
    let (id, code, text) = client.error().await;
    assert_eq!((id.as_str(), code), ("1", LOST));
    assert!(text.contains("may have been carried out"), "{text}");

    client.send(&call(2)).await;
    let events = router.post("t2").await.events();
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#).await;
    client.line().await;
    router.kill().await;
    assert_eq!(client.error().await.1, LOST);
    router.open().await;
    client.send(&call(3)).await;
    router.post("t3").await.json(&result(3));
    assert_eq!(client.line().await, result(3));
    assert!(client.finish().await.is_empty());
    assert!(router.is_quiet());
}

#[tokio::test]
async fn a_request_that_changes_nothing_is_repeated() {
    let mut router = Script::start().await;
    let brief = Settings { retry_for: Duration::from_millis(300), ..settings() };
    let mut client = Client::start_with(router.url(), None, brief);
    client.send(&list(1)).await;
    drop(router.post("tools/list").await);
    drop(router.post("tools/list").await.events());
    // A gateway that finds no router behind it.
    router.post("tools/list").await.status(502);
    router.post("tools/list").await.status(503);
    router.post("tools/list").await.json(&result(1));
    assert_eq!(client.line().await, result(1));

    client.send(&list(2)).await;
    let refusing = async {
        loop {
            router.post("tools/list").await.status(503);
        }
    };
    let (id, code, _) = tokio::select! { error = client.error() => error, () = refusing => unreachable!() };
    assert_eq!((id.as_str(), code), ("2", REFUSED), "but not for ever");
}

#[tokio::test]
async fn answers_and_cancellations_pass_requests_that_wait() {
    let mut router = Script::start().await;
    let narrow = Settings { in_flight_max: 1, waiting_max: 2, ..settings() };
    let mut client = Client::start_with(router.url(), None, narrow);
    router.handshake(&mut client, "s-1").await;
    client.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t1"}}"#).await;
    let asking = router.post("t1").await.events();
    client.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t2"}}"#).await;
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create"}"#;
    asking.message(question).await;
    assert_eq!(client.line().await, question);
    client.send(r#"{"jsonrpc":"2.0","id":"q","result":{}}"#).await;
    router.post(r#""id":"q""#).await.status(202);
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    router.post("cancelled").await.status(202);
    asking.closed().await;
    router.post("t2").await.json(&result(2));
    assert_eq!(client.line().await, result(2));
}

#[tokio::test]
async fn every_status_says_what_to_do() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    type Row<'a> = (u16, &'a [(&'a str, &'a str)], &'a str);
    let table: &[Row<'_>] = &[
        (401, &[("www-authenticate", "Bearer")], "Set WEIR_API_KEY"),
        (403, &[], "forbidden"),
        (404, &[], "/mcp"),
        (413, &[], "larger than it takes"),
        (429, &[("retry-after", "7")], "in 7 s"),
        (307, &[("location", "https://evil.example/mcp")], "https://evil.example/mcp"),
        (400, &[], "log of Weir"),
        (502, &[], "may have been carried out"),
    ];
    for (number, (status, headers, advice)) in (0..).zip(table) {
        client.send(&call(number)).await;
        let builder = headers
            .iter()
            .fold(Response::builder().status(*status), |builder, (name, value)| builder.header(*name, *value));
        router
            .post("tools/call")
            .await
            .respond(builder.header("content-type", "text/html"), "<html>a page with the word secret</html>");
        let (id, code, text) = client.error().await;
        assert_eq!((id, code), (number.to_string(), REFUSED), "{status}");
        assert!(
            text.contains(advice) && text.contains(&status.to_string()) && !text.contains("secret"),
            "{status}: {text}"
        );
    }
    assert!(client.finish().await.is_empty());

    let mut client = Client::start_with(router.url(), Some("a-key"), settings());
    client.send(&call(1)).await;
    router.post("").await.status(401);
    let text = client.error().await.2;
    assert!(text.contains("WEIR_API_KEY is wrong") && !text.contains("a-key"), "{text}");
    client.send(&call(2)).await;
    let problem = Response::builder().status(403).header("content-type", "application/problem+json");
    router.post("").await.respond(problem, r#"{"status":403,"detail":"This Host is not one of Weir's."}"#);
    let text = client.error().await.2;
    assert!(text.ends_with("It says: This Host is not one of Weir's."), "{text}");
}

#[tokio::test]
async fn what_is_not_mcp_never_reaches_the_output() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    let answers: &[(&str, &str)] = &[
        ("text/html", "<html></html>"),
        ("application/json", "{\"jsonrpc\":\"2.0\",\"id\":1,"),
        ("application/json", "null"),
        ("application/json", "\"text\""),
        ("application/json", ""),
        ("text/event-stream", "data: hello\n\n"),
        ("text/event-stream", "data: {\"id\":1}\n\n"),
    ];
    for (number, (media, body)) in (0..).zip(answers) {
        client.send(&call(number)).await;
        router.post("").await.respond(Response::builder().header("content-type", *media), *body);
        let (id, code, text) = client.error().await;
        assert_eq!((id, code), (number.to_string(), UNUSABLE), "{media} {body}: {text}");
    }
    client.send(&call(90)).await;
    router.post("").await.status(202);
    assert_eq!(client.error().await.1, UNUSABLE);
    // The answer to another request is not the answer to this one.
    client.send(&call(91)).await;
    router.post("").await.json(&result(92));
    assert_eq!(client.error().await.0, "91");
    assert!(client.finish().await.is_empty());
}

#[tokio::test]
async fn bytes_that_are_no_http_are_an_error_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = format!("http://{}/mcp", listener.local_addr().expect("it listens")).parse().expect("a URL");
    let mut client = Client::start(target);
    client.send(&list(1)).await;
    let (mut socket, _) = soon("a connection", listener.accept()).await.expect("it connects");
    let mut some = [0; 64];
    socket.read_exact(&mut some).await.expect("a request");
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"\0\x01\x02 SSH-2.0 hello\r\n\r\n")
        .await
        .expect("the bridge reads");
    assert_eq!(client.error().await.1, UNUSABLE, "and not one that goes away by repetition");
}

#[tokio::test]
async fn a_certificate_that_nobody_here_trusts_is_named_at_once() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
        .expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    let target = format!("https://localhost:{port}/mcp").parse().expect("a URL");
    // Were it tried again, the answer would come too late.
    let patient = Settings { retry_for: Duration::from_secs(3600), ..settings() };
    let mut client = Client::start_with(target, Some("a-key"), patient);
    client.send(&call(1)).await;
    let (socket, _) = soon("a connection", listener.accept()).await.expect("it connects");
    let shaken = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(socket).await;
    assert!(shaken.is_err(), "the bridge would have shown its key");
    let (id, code, text) = client.error().await;
    assert_eq!((id.as_str(), code), ("1", UNREACHABLE));
    assert!(text.contains("certificate") && text.contains("SSL_CERT_FILE"), "{text}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let mut router = Script::start().await;
    let mut client = Client::start_with(router.url(), None, Settings { answer_bytes_max: 1024 * 1024, ..settings() });
    client.send(&call(1)).await;
    let events = router.post("t1").await.events();
    let sent = Arc::new(AtomicUsize::new(0));
    let endless = async {
        events.raw("data: ").await;
        loop {
            events.raw(vec![b'x'; 64 * 1024]).await;
            sent.fetch_add(64 * 1024, Ordering::Relaxed);
        }
    };
    let (id, code, text) = tokio::select! { error = client.error() => error, () = endless => unreachable!() };
    assert_eq!((id.as_str(), code), ("1", UNUSABLE));
    assert!(text.contains("larger than the 1 MiB"), "{text}");
    events.closed().await;
    assert!(sent.load(Ordering::Relaxed) < 8 * 1024 * 1024, "it was cut off late");

    client.send(&call(2)).await;
    router.post("t2").await.json(&" ".repeat(2 * 1024 * 1024));
    let (_, code, text) = client.error().await;
    assert!(code == UNUSABLE && text.contains("larger than the 1 MiB"), "{text}");
}

#[tokio::test]
async fn a_router_that_says_nothing_at_all_is_given_up() {
    let mut router = Script::start().await;
    let mut client =
        Client::start_with(router.url(), None, Settings { silence_max: Duration::from_millis(50), ..settings() });
    client.send(&call(1)).await;
    let mut silent = router.post("t1").await;
    assert_eq!(client.error().await.1, LOST);
    silent.abandoned().await;
    client.send(&call(2)).await;
    let events = router.post("t2").await.events();
    assert_eq!(client.error().await.1, LOST);
    events.closed().await;
}

#[tokio::test]
async fn lines_that_are_no_messages_are_answered_and_the_next_one_counts() {
    let mut router = Script::start().await;
    let mut client = Client::start_with(router.url(), None, Settings { line_bytes_max: 1000, ..settings() });
    let table: &[(&[u8], i64)] = &[
        (b"{\"jsonrpc\":\n", -32_700),
        (b"hello\n", -32_700),
        (b"{\"a\":\"\xff\"}\n", -32_700),
        (b"17\n", -32_600),
        (b"{}\n", -32_600),
        (b"[]\n", -32_600),
    ];
    for (line, code) in table {
        client.send_raw(line).await;
        let (id, got, _) = client.error().await;
        assert_eq!((id.as_str(), got), ("null", *code), "{line:?}");
    }
    let endless = vec![b'x'; 10_000_000];
    client.send_raw(&endless).await;
    let (id, code, text) = client.error().await;
    assert_eq!((id.as_str(), code), ("null", -32_600));
    assert!(text.contains("1000 bytes"), "{text}");
    client.send_raw(b"\nagain\n").await;
    let line = client.line().await;
    assert!(!line.contains(r#""id""#), "an id that nobody knows is left out: {line}");
    client.send_raw(b"\n\r\n  \n").await;
    client.send(&format!("{}\r", call(1))).await;
    let asked = router.post("t1").await;
    assert_eq!(asked.body, call(1), "the end of the line is not part of the message");
    asked.json(&result(1));
    assert_eq!(client.line().await, result(1));
    assert!(client.finish().await.is_empty());
}

#[tokio::test]
async fn more_than_can_wait_is_refused_at_once() {
    let mut router = Script::start().await;
    let mut client =
        Client::start_with(router.url(), None, Settings { in_flight_max: 1, waiting_max: 3, ..settings() });
    for id in 1..=5 {
        client.send(&call(id)).await;
    }
    let refused = [client.error().await, client.error().await];
    assert!(refused.iter().all(|(_, code, text)| *code == OVERLOADED && text.contains("not sent")), "{refused:?}");
    for _ in 0..3 {
        let asked = router.post("tools/call").await;
        let id =
            serde_json::from_str::<serde_json::Value>(&asked.body).expect("JSON")["id"].as_u64().expect("a number");
        asked.json(&result(u32::try_from(id).expect("small")));
        client.line().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_ends_nothing_but_its_own_session() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    // Far more than fits into the pipe, and nobody reads.
    for id in 0..20 {
        client.send(&call(id)).await;
        let text = "x".repeat(50_000);
        router.post("tools/call").await.json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"text":"{text}"}}}}"#));
    }
    let lines = client.finish().await;
    assert!(lines.len() < 20, "the bridge has ended although its output was full");
}
