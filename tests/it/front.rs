//! The door: hosts and origins, ambiguous HTTP, TLS, and which listener serves what.

pub(crate) mod framing;

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{ADMIN_TOKEN, Ask, TestRouter, open_house, secure_router, secured, speak};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn only_our_own_hosts_and_origins_come_in_on_either_listener() -> Result<()> {
    let router = empty().await?;
    for (listener, is_admin) in [(router.running().callers, false), (router.running().admin, true)] {
        let port = listener.port();
        let own = format!("127.0.0.1:{port}");
        let check = async |host: &str, origin: Option<&str>, status: u16| {
            let origin = origin.map(|origin| format!("origin: {origin}\r\n")).unwrap_or_default();
            let answer = speak(listener, &request(is_admin, "", &format!("host: {host}\r\n{origin}"))).await?;
            ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host:?} {origin:?}: {answer}");
            ensure!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
            anyhow::Ok(())
        };
        for host in [&own, &format!("localhost:{port}"), &format!("LocalHost:{port}"), &format!("[::1]:{port}")] {
            check(host, None, 200).await?;
            check(&own, Some(&format!("http://{host}")), 200).await?;
        }
        for host in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            format!("127.0.0.1:{}", port ^ 1),
            format!("localhost.:{port}"),
            format!("127.0.0.1.:{port}"),
            format!("127.0.0.1.nip.io:{port}"),
            format!("127.1:{port}"),
            format!("0x7f.0.0.1:{port}"),
            format!("2130706433:{port}"),
            format!("0.0.0.0:{port}"),
            format!("[::]:{port}"),
            format!("[::ffff:127.0.0.1]:{port}"),
            format!("[::1%lo]:{port}"),
            format!("127.0.0.1:{port}@evil.example"),
            format!("evil.example@127.0.0.1:{port}"),
            format!("127.0.0.1:{port},evil.example"),
            format!("127.0.0.1:{port} evil.example"),
            format!("127.0.0.1:{port}/mcp"),
            format!("{port}"),
            "null".to_owned(),
            String::new(),
        ] {
            check(&host, None, 403).await?;
            if !host.is_empty() {
                check(&own, Some(&format!("http://{host}")), 403).await?;
            }
        }
        for origin in [
            "null".to_owned(),
            "http://evil.example".to_owned(),
            format!("https://evil.example:{port}"),
            format!("file://127.0.0.1:{port}"),
            format!("chrome-extension://127.0.0.1:{port}"),
            format!("127.0.0.1:{port}"),
            format!("//127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port}.evil.example"),
            format!("http://127.0.0.1:{port} http://evil.example"),
            format!("http://evil.example#http://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port}\r\norigin: http://evil.example"),
        ] {
            check(&own, Some(&origin), 403).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_origins_of_the_config_come_in_too() -> Result<()> {
    let mut config = open_house(&[]);
    config["server"] = json!({
        "public_url": "https://weir.example", "hosts": ["inside.example:8443"], "origins": ["https://app.example"],
    });
    let router = TestRouter::start(&config.to_string()).await?;
    for (host, origin, status) in [
        ("weir.example", None, 200),
        ("weir.example:443", Some("https://weir.example"), 200),
        ("WEIR.example", Some("https://app.example"), 200),
        ("inside.example:8443", None, 200),
        ("inside.example:8080", None, 403),
        ("weir.example:8443", None, 403),
        ("app.example", None, 403),
        ("weir.example", Some("http://weir.example"), 403),
        ("weir.example", Some("https://weir.example:444"), 403),
        ("weir.example", Some("https://inside.example:8443"), 403),
        ("weir.example", Some("https://app.example.evil.example"), 403),
        ("weir.example", Some("null"), 403),
    ] {
        let origin = origin.map(|origin| format!("origin: {origin}\r\n")).unwrap_or_default();
        let head = format!("host: {host}\r\n{origin}");
        let answer = speak(router.running().callers, &request(false, "", &head)).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host} {origin}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_two_servers_could_read_differently_are_refused() -> Result<()> {
    let router = empty().await?;
    let own = router.authority();
    let length = PING.len();
    let head = |rest: &str| {
        format!(
            "POST /mcp HTTP/1.1\r\nhost: {own}\r\ncontent-type: application/json\r\n{rest}connection: close\r\n\r\n"
        )
    };
    let chunked = format!("{length:x}\r\n{PING}\r\n0\r\n\r\n");
    let fine = speak(router.running().callers, (head("transfer-encoding: chunked\r\n") + &chunked).as_bytes()).await?;
    ensure!(fine.starts_with("HTTP/1.1 200 "), "{fine}");
    for (what, bytes) in [
        ("no host", format!("POST /mcp HTTP/1.1\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{PING}")),
        ("two hosts", head(&format!("host: {own}\r\ncontent-length: {length}\r\n")) + PING),
        ("another second host", head(&format!("host: evil.example\r\ncontent-length: {length}\r\n")) + PING),
        ("two lengths", head(&format!("content-length: {length}\r\ncontent-length: 5\r\n")) + PING),
        ("a list of lengths", head(&format!("content-length: {length}, 5\r\n")) + PING),
        ("a signed length", head(&format!("content-length: +{length}\r\n")) + PING),
        ("chunked twice", head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n") + &chunked),
        ("chunked of chunked", head("transfer-encoding: chunked, chunked\r\n") + &chunked),
        ("chunked of something", head("transfer-encoding: identity, chunked\r\n") + &chunked),
        ("chunked not last", head("transfer-encoding: chunked, gzip\r\n") + &chunked),
        ("an unknown encoding", head("transfer-encoding: xchunked\r\n") + &chunked),
        ("a folded line", head(&format!("x-a: b\r\n folded: c\r\ncontent-length: {length}\r\n")) + PING),
        ("a space before the colon", head(&format!("x-a : b\r\ncontent-length: {length}\r\n")) + PING),
        ("a NUL", head(&format!("x-a: b\0c\r\ncontent-length: {length}\r\n")) + PING),
        ("a bad chunk size", head("transfer-encoding: chunked\r\n") + &format!("-{chunked}")),
        (
            "a chunk that is too long",
            head("transfer-encoding: chunked\r\n") + &format!("{length:x}\r\n{PING}x\r\n0\r\n\r\n"),
        ),
        (
            "another target",
            head(&format!("content-length: {length}\r\n")).replace("POST /mcp", "POST http://evil.example/mcp") + PING,
        ),
        (
            "another port as target",
            head(&format!("content-length: {length}\r\n")).replace("POST /mcp", "POST http://127.0.0.1:1/mcp") + PING,
        ),
    ] {
        let answer = speak(router.running().callers, bytes.as_bytes()).await?;
        ensure!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{what}: {answer}");
        ensure!(!answer.contains("\"result\""), "{what}: {answer}");
    }
    let absolute =
        head(&format!("content-length: {length}\r\n")).replace("POST /mcp", &format!("POST http://{own}/mcp"));
    let answer = speak(router.running().callers, (absolute + PING).as_bytes()).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_listener_is_another_one_and_asks_for_its_token() -> Result<()> {
    let router = empty().await?;
    let (callers, admin) = (router.running().callers, router.running().admin);
    ensure!(callers.port() != admin.port());
    let ask = async |address: SocketAddr, method: &str, path: &str, more: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{more}connection: close\r\n\r\n");
        speak(address, head.as_bytes()).await
    };
    for path in ["/healthz", "/readyz", "/metrics", "/admin/tools"] {
        ensure!(ask(callers, "GET", path, "").await?.starts_with("HTTP/1.1 404 "), "{path}");
    }
    ensure!(ask(admin, "POST", "/mcp", "").await?.starts_with("HTTP/1.1 405 "));
    ensure!(ask(admin, "GET", "/mcp", "").await?.starts_with("HTTP/1.1 404 "));
    for path in ["/healthz", "/readyz", "/metrics"] {
        ensure!(ask(admin, "GET", path, "").await?.starts_with("HTTP/1.1 200 "), "{path}");
    }
    for path in ["/admin/tools", "/admin/downstreams", "/admin/audit", "/admin/nothing"] {
        for more in [
            String::new(),
            "authorization: Bearer wrong\r\n".to_owned(),
            format!("authorization: Bearer {ADMIN_TOKEN}x\r\n"),
            format!("authorization: Bearer {}\r\n", &ADMIN_TOKEN[1..]),
            format!("authorization: {ADMIN_TOKEN}\r\n"),
            "authorization: Bearer \r\n".to_owned(),
            format!("x-admin-token: {ADMIN_TOKEN}\r\n"),
            format!("authorization: Bearer wrong\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n"),
            format!("authorization: Bearer {ADMIN_TOKEN}\r\nauthorization: Bearer wrong\r\n"),
        ] {
            let answer = ask(admin, "GET", path, &more).await?;
            ensure!(answer.starts_with("HTTP/1.1 401 "), "{path} {more}: {answer}");
            ensure!(answer.to_ascii_lowercase().contains("www-authenticate: bearer"), "{answer}");
        }
        let right = ask(admin, "GET", path, &format!("authorization: Bearer {ADMIN_TOKEN}\r\n")).await?;
        ensure!(
            right.starts_with(if path.ends_with("nothing") { "HTTP/1.1 404 " } else { "HTTP/1.1 200 " }),
            "{right}"
        );
    }
    for query in ["?last=x", "?last=-1", "?last=1e3"] {
        ensure!(router.admin(&format!("/admin/audit{query}")).await?.status == 400, "{query}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_start_does_not() -> Result<()> {
    let occupied = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = occupied.local_addr()?.to_string();
    type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let changes: [(&str, Change<'_>); 6] = [
        ("server.listen", Box::new(|config| config["server"]["listen"] = json!("0.0.0.0:0"))),
        (
            "identity.api_keys",
            Box::new(|config| config["server"] = json!({ "listen": "0.0.0.0:0", "behind_tls_proxy": true })),
        ),
        ("keys.yaml", Box::new(|config| config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } }))),
        (
            "server.tls",
            Box::new(|config| config["server"]["tls"] = json!({ "certificate": "no.pem", "key": "no.pem" })),
        ),
        ("WEIR_NOT_SET", Box::new(|config| config["secrets"] = json!({ "master": { "env": "WEIR_NOT_SET" } }))),
        ("server.listen", Box::new(|config| config["server"]["listen"] = json!(address))),
    ];
    for (named, change) in changes {
        let dir = TempDir::new()?;
        std::fs::write(dir.path().join("keys.yaml"), "keys: []\n")?;
        let for_everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(dir.path().join("keys.yaml"), for_everybody)?;
        let mut config = open_house(&[]);
        config["server"] = json!({ "listen": "127.0.0.1:0", "admin": "127.0.0.1:0" });
        change(&mut config);
        if config["server"]["admin"].is_null() {
            config["server"]["admin"] = json!("127.0.0.1:0");
        }
        let refused =
            start(dir.path(), &config.to_string()).await.err().with_context(|| format!("started: {named}"))?;
        ensure!(refused.to_string().contains(named), "{named}: {refused}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_both_versions_of_http_are_served_and_nothing_in_clear() -> Result<()> {
    let (router, certificate) = secure_router(open_house(&[])).await?;
    let address = router.running().callers;
    let uri = format!("https://localhost:{}/mcp", address.port());

    let stream = secured(address, &certificate, &[b"http/1.1"]).await?;
    ensure!(stream.get_ref().1.alpn_protocol() == Some(&b"http/1.1"[..]));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(ping("/mcp", &format!("localhost:{}", address.port()))?).await?;
    ensure!(answer.status() == 200 && answer.version() == Version::HTTP_11, "{answer:?}");

    let stream = secured(address, &certificate, &[b"h2", b"http/1.1"]).await?;
    ensure!(stream.get_ref().1.alpn_protocol() == Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let many = (0..50).map(|_| {
        let (mut sender, uri) = (sender.clone(), uri.clone());
        async move {
            let answer = sender.send_request(ping(&uri, "")?).await?;
            ensure!(answer.status() == 200 && answer.version() == Version::HTTP_2, "{answer:?}");
            let body: Bytes = answer.into_body().collect().await?.to_bytes();
            ensure!(body.ends_with(b"\"result\":{}}"), "{body:?}");
            Ok(())
        }
    });
    futures_util::future::try_join_all(many).await?;
    let mut evil = sender.clone();
    ensure!(evil.send_request(ping("https://evil.example/mcp", "")?).await?.status() == 403);

    let clear = speak(address, &Ask::text(PING).wire(&address.to_string())).await?;
    ensure!(!clear.contains("HTTP/1.1 2") && !clear.contains("result"), "{clear}");
    Ok(())
}

fn ping(uri: &str, host: &str) -> Result<Request<Full<Bytes>>> {
    let request = Request::post(uri).header("content-type", "application/json");
    let request = if host.is_empty() { request } else { request.header("host", host) };
    Ok(request.body(Full::from(PING))?)
}

async fn start(base: &std::path::Path, yaml: &str) -> Result<router::Running> {
    let loaded = tests::harness::parse(yaml, base)?;
    let surroundings = loaded.surroundings().map_err(|problems| anyhow::anyhow!("{problems}"))?;
    Ok(router::start(loaded, surroundings).await?)
}

async fn empty() -> Result<TestRouter> {
    let mut config = open_house(&[]);
    // Each wrong credential is to be judged here, however many there are.
    config["limits"] = json!([{ "name": "many", "per": "address", "rate": "1000/s" }]);
    TestRouter::start(&config.to_string()).await
}

/// A request that a listener answers with 200 when it is let in.
fn request(is_admin: bool, target: &str, head: &str) -> Vec<u8> {
    if is_admin {
        return format!("GET {target}/healthz HTTP/1.1\r\n{head}connection: close\r\n\r\n").into_bytes();
    }
    let length = PING.len();
    let standard = format!("content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n");
    format!("POST {target}/mcp HTTP/1.1\r\n{head}{standard}\r\n{PING}").into_bytes()
}
