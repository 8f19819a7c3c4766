#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use config::{SecretRef, downstream::Credential};
use http::{Method, Request, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Instant,
};

use super::{Care, HttpClient, HttpError, HttpSettings, Limits};
use crate::{
    CallContext, Caller, Deadline, ErrorClass, Sent,
    credential::{Credentials, Setting, Whose},
    tls::Trust,
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that does `serve` with each connection, which it counts from 0.
async fn server<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(number, stream));
        }
    });
    address
}

/// One whole request; `None` when the connection ends first.
async fn request_on(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

/// Answers every request of every connection with these bytes and then does no more than keep the connection.
async fn answering(answer: impl AsRef<[u8]> + Clone + Send + Sync + 'static) -> SocketAddr {
    server(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            while request_on(&mut stream).await.is_some() {
                stream.write_all(answer.as_ref()).await.unwrap();
            }
        }
    })
    .await
}

static TRUST: Trust = Trust { ca: None, shown: None };

fn settings(url: &str) -> HttpSettings<'_> {
    HttpSettings {
        base_url: url,
        url_key: "url",
        credentials: Credentials::default(),
        trust: &TRUST,
        limits: Limits {
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_millis(300),
            connections_max: 4,
        },
    }
}

fn client(address: SocketAddr) -> HttpClient {
    let url = format!("http://{address}");
    HttpClient::new(settings(&url), &config::Sources::at("."), "downstreams.x").unwrap()
}

fn get(path: &str) -> Request<Bytes> {
    Request::builder().uri(path).body(Bytes::new()).unwrap()
}

fn post(body: &'static str) -> Request<Bytes> {
    Request::builder().method(Method::POST).uri("/write").body(Bytes::from_static(body.as_bytes())).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

fn write_call() -> CallContext {
    CallContext::new(Arc::new(Caller::local(&[])), soon())
}

async fn body_of(client: &HttpClient, bytes_max: usize, limit: Deadline) -> Result<Bytes, HttpError> {
    client.send(get("/"), Whose::Weir, Care::Read, limit).await?.body(bytes_max, limit).await
}

#[tokio::test]
async fn requests_carry_host_path_length_and_credential_over_one_connection() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let address = server(move |number, mut stream| {
        let seen = seen.clone();
        async move {
            while let Some(request) = request_on(&mut stream).await {
                seen.send((number, request)).unwrap();
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let folder = tempfile_with("s3cret");
    let url = format!("http://{address}/base/");
    let bearer = Credential::Bearer(SecretRef::File("token".into()));
    let sources = config::Sources::at(&*folder);
    let setting = Setting { section: "downstreams.x", downstream: "x", sources: &sources, meter: |_, _, _| {} };
    let credentials = Credentials::new(Some(&bearer), setting).unwrap();
    let settings = HttpSettings { credentials, ..settings(&url) };
    let client = HttpClient::new(settings, &sources, "downstreams.x").unwrap();
    for _ in 0..3 {
        let answer = client.send(post("a=1"), Whose::Weir, Care::Read, soon()).await.unwrap();
        assert_eq!(answer.head.status, StatusCode::OK);
        assert_eq!(answer.body(10, soon()).await.unwrap(), "ok");
    }
    for _ in 0..3 {
        let (number, request) = requests.recv().await.unwrap();
        assert_eq!(number, 0, "all go over the first connection");
        let head = request.to_ascii_lowercase();
        assert!(head.starts_with("post /base/write http/1.1\r\n") && request.ends_with("\r\n\r\na=1"), "{request}");
        for line in [format!("host: {address}"), "authorization: bearer s3cret".into(), "content-length: 3".into()] {
            assert_eq!(head.matches(&line).count(), 1, "{request}");
        }
    }
    assert!(!format!("{client:?}").contains("s3cret"));
    std::fs::remove_dir_all(folder).unwrap();
}

fn tempfile_with(secret: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("weir-http-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("token");
    std::fs::write(&path, secret).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_at_the_limit_and_a_silent_one_after_the_idle_time() {
    for (first, then, trickles) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"[..], &b"x"[..], true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", b"", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"", false),
    ] {
        let (gone, mut is_gone) = mpsc::unbounded_channel();
        let address = server(move |_, mut stream| {
            let gone = gone.clone();
            async move {
                request_on(&mut stream).await.unwrap();
                stream.write_all(first).await.unwrap();
                let (mut reader, mut writer) = stream.split();
                tokio::select! {
                    _ = async { while reader.read_u8().await.is_ok() {} } => {}
                    () = async { loop {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        writer.write_all(then).await.unwrap();
                    } } => {}
                }
                gone.send(()).unwrap();
            }
        })
        .await;
        let (started, limit) = (Instant::now(), Deadline::after(Duration::from_millis(1_000)));
        let error = body_of(&client(address), 1_000, limit).await.unwrap_err();
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::Unknown), "{error:?}");
        let waited = started.elapsed();
        let expected = if trickles { 1_000..1_200 } else { 290..700 };
        assert!(expected.contains(&waited.as_millis()), "{waited:?}");
        tokio::time::timeout(Duration::from_secs(1), is_gone.recv()).await.expect("the connection is closed at once");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let address = server(move |_, mut stream| {
        let written = Arc::clone(&counted);
        async move {
            request_on(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n").await.unwrap();
            while stream.write_all(&[b' '; 4096]).await.is_ok() {
                written.fetch_add(4096, Ordering::Relaxed);
            }
        }
    })
    .await;
    let error = body_of(&client(address), 100_000, soon()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::TooLarge);
    // What the sockets hold in between is the kernel's.
    assert!(written.load(Ordering::Relaxed) < 16 << 20);
}

#[tokio::test]
async fn a_stated_length_beyond_the_limit_is_refused_without_reading() {
    let address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n").await;
    let started = Instant::now();
    let error = body_of(&client(address), 1_000_000, soon()).await.unwrap_err();
    assert_eq!((error.class, &*error.told), (ErrorClass::TooLarge, "it is larger than 1000000 bytes"));
    assert!(started.elapsed() < Duration::from_millis(250), "nothing was waited for");
}

#[tokio::test]
async fn a_head_beyond_its_limit_is_refused() {
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let error = body_of(&client(answering(head).await), 100, soon()).await.unwrap_err();
    assert_eq!((error.class, error.sent), (ErrorClass::Protocol, Sent::Unknown), "{error:?}");
}

#[tokio::test]
async fn garbage_is_named_as_such() {
    for garbage in [
        &b"\x00\xff\x13garbage\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    ] {
        let error = body_of(&client(answering(garbage).await), 100, soon()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Protocol, "{error:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let touched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&touched);
    let elsewhere = server(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .await;
    let head = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let answer = client(answering(head).await).send(get("/"), Whose::Weir, Care::Read, soon()).await.unwrap();
    assert_eq!(answer.head.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.body(10, soon()).await.unwrap(), "");
    assert_eq!(touched.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn early_hints_are_skipped() {
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(body_of(&client(answering(answer).await), 100, soon()).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_connection_that_closed_while_idle_is_replaced_even_for_a_write() {
    let address = server(|_, mut stream| async move {
        request_on(&mut stream).await.unwrap();
        stream.write_all(OK).await.unwrap();
    })
    .await;
    let client = client(address);
    let ctx = write_call();
    for _ in 0..3 {
        let answer = client.send(post("x"), Whose::Weir, Care::Write(&ctx), soon()).await.unwrap();
        assert_eq!(answer.body(10, soon()).await.unwrap(), "ok");
        while client.idle.open() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_never_repeated() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let address = server(move |number, mut stream| {
        let seen = seen.clone();
        async move {
            for turn in 0.. {
                let Some(_) = request_on(&mut stream).await else { return };
                seen.send((number, turn)).unwrap();
                if turn == 1 {
                    return stream.set_zero_linger().unwrap();
                }
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let client = client(address);
    let ctx = write_call();
    client.send(post("x"), Whose::Weir, Care::Write(&ctx), soon()).await.unwrap().body(10, soon()).await.unwrap();
    let error = client.send(post("x"), Whose::Weir, Care::Write(&ctx), soon()).await.unwrap_err();
    assert_eq!((error.class, error.sent), (ErrorClass::ConnectionLost, Sent::Unknown));
    // A read in the same place is sent once more, over a new connection.
    client.send(post("x"), Whose::Weir, Care::Read, soon()).await.unwrap().body(10, soon()).await.unwrap();
    client.send(post("x"), Whose::Weir, Care::Read, soon()).await.unwrap().body(10, soon()).await.unwrap();
    let mut all = Vec::new();
    while let Ok(request) = requests.try_recv() {
        all.push(request);
    }
    assert_eq!(all, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]);
}

#[tokio::test]
async fn a_refused_connection_and_a_failed_tls_handshake_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let error = body_of(&client(nobody), 10, soon()).await.unwrap_err();
    assert_eq!((error.class, error.sent, &*error.told), (ErrorClass::Unreachable, Sent::No, "connection refused"));

    let plain = server(|_, mut stream| async move {
        let _ = stream.write_all(b"this is no TLS\r\n").await;
    })
    .await;
    let url = format!("https://localhost:{}", plain.port());
    let client = HttpClient::new(settings(&url), &config::Sources::at("."), "downstreams.x").unwrap();
    let error = body_of(&client, 10, soon()).await.unwrap_err();
    assert_eq!(
        (error.class, error.sent, &*error.told),
        (ErrorClass::Unreachable, Sent::No, "the TLS handshake failed")
    );
}

#[tokio::test]
async fn an_address_that_hands_out_credentials_is_not_even_tried() {
    let client =
        HttpClient::new(settings("http://169.254.169.254/"), &config::Sources::at("."), "downstreams.x").unwrap();
    let error = body_of(&client, 10, soon()).await.unwrap_err();
    assert_eq!((error.class, error.sent), (ErrorClass::Unreachable, Sent::No));
    let told = error.for_call("x", "tool").to_string();
    assert!(told.contains("an address that Weir does not connect to") && !told.contains("169.254"), "{told}");
}

#[tokio::test]
async fn a_write_that_was_withdrawn_sends_no_byte() {
    let (seen, mut read) = mpsc::unbounded_channel();
    let address = server(move |_, mut stream| {
        let seen = seen.clone();
        async move { seen.send(stream.read(&mut [0; 9]).await.unwrap_or(0)).unwrap() }
    })
    .await;
    let ctx = write_call();
    assert!(ctx.gate.withdraw());
    let error = client(address).send(post("x"), Whose::Weir, Care::Write(&ctx), soon()).await.unwrap_err();
    assert_eq!((error.class, error.sent), (ErrorClass::Cancelled, Sent::No));
    assert_eq!(read.recv().await, Some(0));
}

#[tokio::test]
async fn no_more_connections_than_permitted_are_open_and_further_requests_wait() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&open), Arc::clone(&most));
    let address = server(move |_, mut stream| {
        let (open, most) = counts.clone();
        async move {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while request_on(&mut stream).await.is_some() {
                stream.write_all(OK).await.unwrap();
            }
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let client = Arc::new(client(address));
    let requests = (0..64).map(|_| {
        let client = Arc::clone(&client);
        tokio::spawn(async move { body_of(&client, 10, soon()).await })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap().unwrap(), "ok");
    }
    assert!((1..=4).contains(&most.load(Ordering::SeqCst)), "{most:?}");

    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(client.send(get("/"), Whose::Weir, Care::Read, soon()).await.unwrap());
    }
    let error = body_of(&client, 10, Deadline::after(Duration::from_millis(50))).await.unwrap_err();
    assert_eq!((error.class, error.sent), (ErrorClass::Busy, Sent::No));
    // Bodies that nobody read are not read for the next request: their connections go.
    drop(held);
    assert_eq!(body_of(&client, 10, soon()).await.unwrap(), "ok");
    while open.load(Ordering::SeqCst) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_is_closed_when_nobody_has_used_it_for_long_or_the_server_soon_will() {
    for (keep_alive, seconds) in
        [("", 30), ("Keep-Alive: timeout=5, max=100\r\n", 4), ("Keep-Alive: timeout=600\r\n", 30)]
    {
        let (seen, mut closed) = mpsc::unbounded_channel();
        let answer = format!("HTTP/1.1 200 OK\r\n{keep_alive}Content-Length: 2\r\n\r\nok");
        let address = server(move |_, mut stream| {
            let (seen, answer) = (seen.clone(), answer.clone());
            async move {
                while request_on(&mut stream).await.is_some() {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                seen.send(()).unwrap();
            }
        })
        .await;
        let client = client(address);
        body_of(&client, 10, soon()).await.unwrap();
        assert_eq!(client.idle.open(), 1);
        tokio::time::pause();
        let before = Instant::now();
        closed.recv().await.unwrap();
        let waited = before.elapsed().as_secs();
        assert!(waited == seconds || waited + 1 == seconds, "{keep_alive}: closed after {waited} s");
        assert_eq!(client.idle.open(), 0);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection_at_once() {
    let (seen, mut closed) = mpsc::unbounded_channel();
    let address = server(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            request_on(&mut stream).await.unwrap();
            seen.send("asked").unwrap();
            while stream.read(&mut [0; 9]).await.is_ok_and(|count| count > 0) {}
            seen.send("closed").unwrap();
        }
    })
    .await;
    let client = client(address);
    tokio::select! {
        answer = client.send(get("/"), Whose::Weir, Care::Read, soon()) => panic!("{answer:?}"),
        asked = closed.recv() => assert_eq!(asked, Some("asked")),
    }
    let next = tokio::time::timeout(Duration::from_millis(500), closed.recv()).await;
    assert_eq!(next.unwrap(), Some("closed"));
}

#[tokio::test]
async fn the_socket_of_a_dropped_request_is_closed_before_its_place_is_free() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, mut was_asked) = mpsc::unbounded_channel();
    let (closed, was_closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = [0; 1024];
        assert!(std::io::Read::read(&mut stream, &mut read).unwrap() > 0);
        asked.send(()).unwrap();
        closed.send(std::io::Read::read(&mut stream, &mut read).unwrap_or(0)).unwrap();
    });
    let client = client(address);
    tokio::select! {
        answer = client.send(get("/"), Whose::Weir, Care::Read, soon()) => panic!("{answer:?}"),
        asked = was_asked.recv() => assert!(asked.is_some()),
    }
    assert_eq!(client.slots.available_permits(), 4);
    // The one thread of this runtime waits here: no task could close it.
    assert_eq!(was_closed.recv_timeout(Duration::from_secs(5)), Ok(0));
}

#[tokio::test]
async fn nothing_is_sent_when_its_time_has_passed() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let address = server(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            while let Some(request) = request_on(&mut stream).await {
                seen.send(request).unwrap();
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let client = client(address);
    // A connection is there, so nothing has to be waited for.
    body_of(&client, 10, soon()).await.unwrap();
    requests.recv().await.unwrap();
    let ctx = write_call();
    let error =
        client.send(post("late"), Whose::Weir, Care::Write(&ctx), Deadline::after(Duration::ZERO)).await.unwrap_err();
    assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::No));
    assert!(!ctx.gate.passed());
    body_of(&client, 10, soon()).await.unwrap();
    assert!(requests.recv().await.unwrap().starts_with("GET / "));
}
