use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{Fault, FaultProxy};

/// A server that says everything back, behind a proxy.
async fn echo_behind_proxy() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = FaultProxy::start(listener.local_addr().expect("an address")).await.expect("a proxy");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    proxy
}

/// A test that waits for ever says less than one that fails.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn exchange(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    soon(stream.read_exact(&mut answer)).await?;
    Ok(String::from_utf8(answer).expect("text"))
}

#[tokio::test]
async fn bytes_and_ends_pass_and_are_counted() {
    let proxy = echo_behind_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    assert_eq!(exchange(&mut stream, "hello").await.expect("an answer"), "hello");
    stream.shutdown().await.expect("our end");
    assert_eq!(soon(stream.read(&mut [0])).await.expect("their end"), 0);
    proxy.wait_until(|stats| stats.open == 0).await.expect("it is over");
    let stats = proxy.stats();
    assert_eq!((stats.accepted, stats.bytes_to_target, stats.bytes_from_target), (1, 5, 5));
}

#[tokio::test]
async fn a_black_hole_keeps_sockets_open_and_lets_nothing_through() {
    let proxy = echo_behind_proxy().await;
    let mut old = TcpStream::connect(proxy.addr()).await.expect("it listens");
    exchange(&mut old, "before").await.expect("an answer");
    proxy.set(Fault::Blackhole).await.expect("set");
    let mut new = TcpStream::connect(proxy.addr()).await.expect("it still accepts");
    old.write_all(b"lost").await.expect("the socket is open");
    new.write_all(b"lost").await.expect("the socket is open");
    for stream in [&mut old, &mut new] {
        let silence = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0])).await;
        assert!(silence.is_err(), "neither bytes nor an end: {silence:?}");
    }
    assert_eq!(proxy.stats().bytes_to_target, 6);

    proxy.set(Fault::Pass).await.expect("set");
    for stream in [&mut old, &mut new] {
        let mut late = [0; 4];
        soon(stream.read_exact(&mut late)).await.expect("what was sent arrives");
        assert_eq!(&late, b"lost");
    }
}

#[tokio::test]
async fn latency_delays_both_ways() {
    let proxy = echo_behind_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    proxy.set(Fault::Latency(Duration::from_millis(100))).await.expect("set");
    let started = Instant::now();
    exchange(&mut stream, "hello").await.expect("an answer");
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
    proxy.set(Fault::Pass).await.expect("set");
    let started = Instant::now();
    exchange(&mut stream, "hello").await.expect("an answer");
    assert!(started.elapsed() < Duration::from_millis(150), "{:?}", started.elapsed());
}

#[tokio::test]
async fn connections_are_reset_and_refused_and_come_back() {
    let proxy = echo_behind_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    exchange(&mut stream, "hello").await.expect("an answer");
    proxy.reset_connections();
    assert_eq!(soon(stream.read(&mut [0])).await.expect_err("no end").kind(), ErrorKind::ConnectionReset);
    proxy.wait_until(|stats| stats.open == 0).await.expect("it is over");

    let mut open = TcpStream::connect(proxy.addr()).await.expect("it listens");
    exchange(&mut open, "hello").await.expect("an answer");
    proxy.set(Fault::Refuse).await.expect("set");
    let refused = TcpStream::connect(proxy.addr()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    exchange(&mut open, "still").await.expect("what is open goes on");

    proxy.set(Fault::Pass).await.expect("set");
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens again");
    exchange(&mut stream, "hello").await.expect("an answer");
    proxy.stop().await;
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_a_reset() {
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = unused.local_addr().expect("an address");
    drop(unused);
    let proxy = FaultProxy::start(target).await.expect("a proxy");
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    assert_eq!(soon(stream.read(&mut [0])).await.expect_err("no end").kind(), ErrorKind::ConnectionReset);
}
