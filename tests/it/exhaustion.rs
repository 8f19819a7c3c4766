//! Callers and downstreams that send too much, too slowly, or never read.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, open_house, speak};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_more_than_the_limit_is_read() -> Result<()> {
    let router = TestRouter::start(&open_house(&[]).to_string()).await?;
    let own = router.authority();
    let head = |rest: &str| {
        format!("POST /mcp HTTP/1.1\r\nhost: {own}\r\ncontent-type: application/json\r\n{rest}\r\n").into_bytes()
    };
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x1_0000], b"\r\n"].concat();
    let endless = |chunks: usize| [head("transfer-encoding: chunked\r\n"), chunk.repeat(chunks)].concat();
    // Of what is declared not a byte of the body is sent, so the answer cannot wait for one.
    for (what, bytes, status) in [
        ("100 MiB declared", head("content-length: 104857600\r\n"), 413),
        ("100 MiB declared, and asked first", head("content-length: 104857600\r\nexpect: 100-continue\r\n"), 413),
        ("more than can be counted", head("content-length: 18446744073709551615\r\n"), 431),
        ("one byte too many", head(&format!("content-length: {}\r\n", (4 << 20) + 1)), 413),
        ("endless chunks", endless(65), 413),
        ("crumbs", [head("transfer-encoding: chunked\r\n"), b"1\r\n \r\n".repeat(70_000)].concat(), 413),
        ("a gzip bomb", head("content-encoding: gzip\r\ncontent-length: 104857600\r\n"), 415),
        ("an endless gzip bomb", head("content-encoding: gzip\r\ntransfer-encoding: chunked\r\n"), 415),
    ] {
        let answer = speak(router.running().callers, &bytes).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        ensure!(!answer.contains("100 Continue"), "{what}: {answer}");
    }
    let mut largest = PING.to_owned();
    largest.push_str(&" ".repeat((4 << 20) - PING.len()));
    ensure!(router.ask(&Ask::text(&largest)).await?.status == 200, "the limit itself is allowed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_that_come_too_slowly_are_cut() -> Result<()> {
    let mut config = open_house(&[]);
    config["server"] = json!({ "header_timeout": "200ms", "body_timeout": "200ms" });
    let router = TestRouter::start(&config.to_string()).await?;
    let callers = router.running().callers;
    let whole = Ask::text(PING).wire(&router.authority());
    for (what, bytes, status) in [
        ("nothing", &b""[..], None),
        ("half a line", b"POST /mc", None),
        ("half a head", &whole[..60], None),
        ("a head and no body", &whole[..whole.len() - PING.len()], Some("HTTP/1.1 408 ")),
        ("half a body", &whole[..whole.len() - 10], Some("HTTP/1.1 408 ")),
    ] {
        let answer = speak(callers, bytes).await?;
        let expected = match status {
            Some(status) => answer.starts_with(status),
            None => answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        };
        ensure!(expected && !answer.contains("result"), "{what}: {answer}");
    }
    // A head that comes byte by byte is no faster for that.
    let mut stream = TcpStream::connect(callers).await?;
    let dripping = async {
        for byte in whole.iter().cycle() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            let byte = if *byte == b'\n' { b'x' } else { *byte };
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(tests::PATIENCE, dripping).await.context("the connection stays open")?;
    ensure!(router.ask(&Ask::text(PING)).await?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_end_from_a_downstream_is_cut_and_its_sender_marked() -> Result<()> {
    let first = |message: &Incoming| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{", message.id.as_deref().unwrap_or("0"))
    };
    let endless = RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![one_tool(message)]),
        Some("tools/call") => Some(vec![Action::Endless { first: first(message), filler: b' ' }]),
        _ => None,
    })
    .await?;
    let good = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![one_tool(message)]),
        Some("tools/call") => Some(vec![Action::result(message, "{\"content\":[]}")]),
        _ => None,
    })
    .await?;
    let mut config = open_house(&[("endless", &endless.url), ("good", &good.url)]);
    config["downstreams"]["endless"]["mcp"]["websocket"]["message_bytes_max"] = json!("64KiB");
    let router = TestRouter::ready(&config.to_string()).await?;
    let since = |all: &Value| {
        all.as_array().and_then(|all| all.iter().find(|one| one["name"] == "endless").cloned()).unwrap_or_default()
    };
    let before = since(&router.admin("/admin/downstreams").await?.json()?["downstreams"])["since"].clone();
    for round in 1..=3 {
        let answer = router.ask(&Ask::call("endless__work", json!({}))).await?;
        let text = answer.result()?["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        ensure!(answer.result()?["isError"] == true && text.contains("endless"), "{answer:?}");
        ensure!(router.ask(&Ask::call("good__work", json!({}))).await?.result()?["isError"] != true);
        router.downstreams_until(|all| since(all)["health"] == "up" && since(all)["since"] != before).await?;
        ensure!(endless.received().iter().filter(|message| message.tool().is_some()).count() <= round);
    }
    // The system's own buffers take some more than the router reads.
    ensure!(endless.bytes_sent() < 64 << 20, "{}", endless.bytes_sent());
    let records = router.records().await?;
    ensure!(records.iter().any(|record| record["outcome"] == "too_large"), "{records:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_never_read_their_answers_are_closed() -> Result<()> {
    const CALLERS: usize = 6;
    const BYTES: usize = 10 << 20;
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![one_tool(message)]),
        Some("tools/call") => Some(vec![Action::result(message, &format!("{{\"content\":[{}]}}", " ".repeat(BYTES)))]),
        _ => None,
    })
    .await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["server"] = json!({ "write_timeout": "300ms", "connections_max": CALLERS });
    let router = TestRouter::ready(&config.to_string()).await?;
    let ask = Ask::call("raw__work", json!({})).wire(&router.authority());
    let callers = try_join_all((0..CALLERS).map(|_| deaf(router.running().callers, &ask))).await?;
    // Every place is taken, so that each of these is served only once one of those has been closed.
    let ping = Ask::text(PING).wire(&router.authority());
    let served = try_join_all((0..CALLERS).map(|_| async {
        let mut stream = TcpStream::connect(router.running().callers).await?;
        stream.write_all(&ping).await?;
        let mut start = [0; 12];
        tokio::time::timeout(tests::PATIENCE, stream.read_exact(&mut start)).await.context("not served")??;
        ensure!(&start == b"HTTP/1.1 200");
        Ok(stream)
    }))
    .await?;
    for mut caller in callers {
        let mut got = Vec::new();
        let _ = tokio::time::timeout(tests::PATIENCE, caller.read_to_end(&mut got)).await?;
        ensure!(got.len() < BYTES, "the answer was read whole: {}", got.len());
    }
    drop(served);
    Ok(())
}

/// A connection on which something was asked, with little room for what comes back.
async fn deaf(address: SocketAddr, ask: &[u8]) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(ask).await?;
    // The head of the answer has come, so the rest is on its way.
    let mut start = [0; 12];
    tokio::time::timeout(tests::PATIENCE, stream.read_exact(&mut start)).await.context("no answer")??;
    ensure!(&start == b"HTTP/1.1 200", "{start:?}");
    Ok(stream)
}

fn one_tool(message: &Incoming) -> Action {
    Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_bodies_of_unknown_length_need_no_room_and_large_ones_are_bounded_together() -> Result<()> {
    const AT_ONCE: usize = 64;
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![one_tool(message)]),
        // Calls are never answered.
        Some("tools/call") => Some(Vec::new()),
        _ => None,
    })
    .await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["server"] = json!({ "body_bytes_max": "128KiB" });
    let router = TestRouter::ready(&config.to_string()).await?;
    let callers = router.running().callers;
    let head = |rest: &str| {
        let own = router.authority();
        format!("POST /v1/tools/call HTTP/1.1\r\nhost: {own}\r\ncontent-type: application/json\r\n{rest}\r\n")
    };
    let body = r#"{"name":"raw__work"}"#;
    let chunked = |body: &str| head("transfer-encoding: chunked\r\n") + &format!("{:x}\r\n{body}\r\n", body.len());
    let calling = try_join_all((0..=AT_ONCE).map(|_| async {
        let mut stream = TcpStream::connect(callers).await?;
        stream.write_all((chunked(body) + "0\r\n\r\n").as_bytes()).await?;
        anyhow::Ok(stream)
    }))
    .await?;
    let asked = |all: &[Incoming]| all.iter().filter(|message| message.tool().is_some()).count();
    server.wait_until(|all| asked(all) == AT_ONCE + 1).await?;

    // Two thirds of the largest size and no end: each of these may become as large as any.
    let upload = async || {
        let mut stream = TcpStream::connect(callers).await?;
        stream.write_all(chunked(&" ".repeat(80 << 10)).as_bytes()).await?;
        anyhow::Ok(stream)
    };
    let uploading = tokio::sync::Mutex::new(try_join_all((0..AT_ONCE).map(|_| upload())).await?);
    // Who asks first learns without sending it whether a large one is taken.
    let large = head("content-length: 131072\r\nexpect: 100-continue\r\n");
    let told = async || {
        let mut stream = TcpStream::connect(callers).await?;
        stream.write_all(large.as_bytes()).await?;
        let mut answer = vec![0; 1024];
        let length = tokio::time::timeout(tests::PATIENCE, stream.read(&mut answer)).await.context("no answer")??;
        anyhow::Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    let refused = tests::until("there is no room", async || {
        let answer = told().await?;
        if !answer.starts_with("HTTP/1.1 100 ") {
            return Ok(Some(answer));
        }
        // The asking itself may have taken the room of one of them, which was refused then.
        uploading.lock().await.push(upload().await?);
        Ok(None)
    })
    .await?;
    ensure!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    ensure!(router.ask(&Ask::text(PING)).await?.status == 200, "a small one needs no room");
    drop(uploading);
    // Who goes gives the room back.
    tests::until("there is room again", async || Ok(told().await?.starts_with("HTTP/1.1 100 ").then_some(()))).await?;
    drop(calling);
    Ok(())
}
