use std::time::Duration;

use bytes::Bytes;
use config::Sources;
use http::{Request, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Outgoing, OutgoingError};

const SOON: Duration = Duration::from_secs(5);

fn outgoing(url: &str) -> Result<Outgoing, OutgoingError> {
    Outgoing::new(url, None, &Sources::default())
}

fn get(uri: &str) -> Request<Bytes> {
    Request::builder().uri(uri).body(Bytes::new()).expect("a request")
}

/// Answers one request on each connection with `answer`.
async fn answering(answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[test]
fn only_https_and_this_machine_as_written_are_asked() {
    for url in ["https://vault.example:8200/v1", "http://127.0.0.1:8200", "http://localhost/x", "http://[::1]:1"] {
        outgoing(url).expect(url);
    }
    for url in ["http://vault.example", "http://127.1", "ftp://x", "https://u:secret@h/", "", "file:///etc/passwd"] {
        let error = outgoing(url).expect_err(url).to_string();
        assert!(!error.contains("secret"), "{error}");
    }
    for url in ["http://127.0.0.1:1/", "http://localhost/"] {
        Outgoing::learned(url, None, &Sources::default()).expect_err("nobody else names this machine");
    }
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    let outgoing = outgoing("https://Keys.example/realms/x").expect("a URL");
    for (url, is_of) in [
        ("https://keys.example/jwks", true),
        ("https://keys.example:443/jwks", true),
        ("https://KEYS.example/", true),
        ("http://keys.example/jwks", false),
        ("https://keys.example:8443/jwks", false),
        ("https://keys.example.evil.example/", false),
        ("https://keys.example@evil.example/", false),
        ("https://user@keys.example/", false),
        ("/jwks", false),
        ("//keys.example/jwks", false),
    ] {
        assert_eq!(outgoing.is_of(url), is_of, "{url}");
    }
}

#[tokio::test]
async fn a_request_goes_to_its_origin_or_nowhere() {
    let port = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()).await;
    let outgoing = outgoing(&format!("http://localhost:{port}/ignored")).expect("a URL");
    let answer = outgoing.send(get(&format!("http://localhost:{port}/keys?x=1")), SOON, 10).await.expect("an answer");
    assert_eq!((answer.status(), &**answer.body()), (StatusCode::OK, &b"ok"[..]));
    let error = outgoing.send(get("http://elsewhere.example/keys"), SOON, 10).await.expect_err("elsewhere");
    assert!(matches!(error, OutgoingError::Elsewhere(_)), "{error}");
    outgoing.send(get("/keys"), SOON, 1).await.expect_err("an answer that is larger than asked for");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nobody_goes_there() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = elsewhere.local_addr().expect("its address").port();
    let redirecting =
        answering(format!("HTTP/1.1 307 x\r\nLocation: http://localhost:{port}/\r\nContent-Length: 0\r\n\r\n")).await;
    let outgoing = outgoing(&format!("http://localhost:{redirecting}")).expect("a URL");
    let answer = outgoing.send(get("/"), SOON, 10).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    let visited = tokio::select! {
        biased;
        _ = elsewhere.accept() => true,
        () = std::future::ready(()) => false,
    };
    assert!(!visited, "the other place was visited");
}

#[tokio::test]
async fn what_a_learned_name_leads_to_is_judged() {
    let outgoing = Outgoing::learned("https://localhost:1/keys", None, &Sources::default()).expect("a URL");
    let error = outgoing.send(get("/keys"), SOON, 10).await.expect_err("this machine");
    assert!(error.to_string().contains("this machine"), "{error}");
}
