use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{Chance, Fault, FaultProxy, Moment};
use crate::postgres::{PgOptions, PrivatePg};

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

const REQUEST: &[u8] = b"what is the answer?\n";
const ANSWER: &[u8] = b"forty-two, as ever.\n";

/// A server that answers each line once it is whole, what it was sent, and a proxy before it.
async fn oracle_behind_proxy() -> (FaultProxy, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = FaultProxy::start(listener.local_addr().expect("an address")).await.expect("a proxy");
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let hears = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let hears = hears.clone();
            tokio::spawn(async move {
                while let Ok(byte) = stream.read_u8().await {
                    hears.lock().expect("nobody panicked").push(byte);
                    if byte == b'\n' && stream.write_all(ANSWER).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (proxy, heard)
}

/// Asks on a connection of its own and gives what came back, and how the connection ended.
async fn ask(proxy: &FaultProxy) -> (Vec<u8>, std::io::Result<()>) {
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    stream.write_all(REQUEST).await.expect("the socket is open");
    let mut answer = Vec::new();
    let ended = loop {
        let mut piece = [0; 1024];
        match soon(stream.read(&mut piece)).await {
            Ok(0) => break Ok(()),
            Ok(length) => answer.extend(&piece[..length]),
            Err(error) => break Err(error),
        }
        if answer.len() == ANSWER.len() {
            break Ok(());
        }
    };
    (answer, ended)
}

#[tokio::test]
async fn an_exchange_is_cut_at_its_moment() {
    for (moment, reaches_target, comes_back) in [
        (Moment::BeforeRequest, 0, 0),
        (Moment::WithinRequest, REQUEST.len() / 2, 0),
        (Moment::AfterRequest, REQUEST.len(), 0),
        (Moment::WithinAnswer, REQUEST.len(), ANSWER.len() / 2),
    ] {
        let (proxy, heard) = oracle_behind_proxy().await;
        let fault = Fault::Reset(moment);
        proxy.set_next(fault, 2).expect("set");
        for _ in 0..2 {
            let (answer, ended) = ask(&proxy).await;
            assert_eq!(answer, ANSWER[..comes_back], "{moment:?}");
            assert_eq!(ended.expect_err("no end").kind(), ErrorKind::ConnectionReset, "{moment:?}");
        }
        proxy.wait_until(|stats| stats.open == 0).await.expect("both are over");
        assert_eq!(ask(&proxy).await.0, ANSWER, "{moment:?}: two times are over");
        let heard = heard.lock().expect("nobody panicked").len();
        assert_eq!(heard, 2 * reaches_target + REQUEST.len(), "{moment:?}");
        assert_eq!(proxy.stats().bitten_by(fault), 2);
    }
}

#[tokio::test]
async fn a_connection_that_is_kept_is_cut_at_a_later_exchange() {
    let (proxy, heard) = oracle_behind_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    let mut answer = [0; ANSWER.len()];
    for _ in 0..3 {
        stream.write_all(REQUEST).await.expect("the socket is open");
        soon(stream.read_exact(&mut answer)).await.expect("an answer");
    }
    proxy.set(Fault::Reset(Moment::AfterRequest)).await.expect("set");
    stream.write_all(REQUEST).await.expect("the socket is open");
    let ended = soon(stream.read_exact(&mut answer)).await.expect_err("no answer");
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
    assert_eq!(heard.lock().expect("nobody panicked").len(), 4 * REQUEST.len());
}

#[tokio::test]
async fn an_answer_is_left_out_or_spoilt() {
    let (proxy, _heard) = oracle_behind_proxy().await;
    proxy.set(Fault::HalfClose).await.expect("set");
    let (answer, ended) = ask(&proxy).await;
    assert!(answer.is_empty() && ended.is_ok(), "an end and no reset: {answer:?}");

    proxy.set(Fault::Garbage).await.expect("set");
    let (answer, _) = ask(&proxy).await;
    assert!(!answer.is_empty() && answer.iter().all(|byte| !byte.is_ascii()), "{answer:?}");

    proxy.set(Fault::GarbageWithin).await.expect("set");
    let (answer, ended) = ask(&proxy).await;
    let (good, bad) = answer.split_at(ANSWER.len() / 2);
    assert_eq!(good, &ANSWER[..ANSWER.len() / 2]);
    assert!(ended.is_ok() && answer.len() == ANSWER.len() && bad.iter().all(|byte| !byte.is_ascii()), "{answer:?}");
    assert_eq!(proxy.stats().bites.values().copied().collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn after_a_half_close_what_the_caller_sends_still_arrives() {
    let (proxy, heard) = oracle_behind_proxy().await;
    proxy.set(Fault::HalfClose).await.expect("set");
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    for times in 1..=2 {
        stream.write_all(REQUEST).await.expect("this side is open");
        assert_eq!(soon(stream.read(&mut [0])).await.expect("an end"), 0);
        proxy.wait_until(|stats| stats.bytes_to_target == (times * REQUEST.len()) as u64).await.expect("it arrives");
    }
    drop(stream);
    proxy.wait_until(|stats| stats.open == 0).await.expect("it is over");
    assert_eq!(heard.lock().expect("nobody panicked").len(), 2 * REQUEST.len());
}

#[tokio::test]
async fn what_passes_slowly_is_whole() {
    let (proxy, _heard) = oracle_behind_proxy().await;
    for (fault, at_least) in [
        (Fault::Trickle { every: Duration::from_millis(5) }, Duration::from_millis(95)),
        (Fault::Slices { bytes: 7 }, Duration::from_millis(3)),
        (Fault::Bandwidth { bytes_per_s: 200 }, Duration::from_millis(95)),
    ] {
        proxy.set(fault).await.expect("set");
        let started = Instant::now();
        assert_eq!(ask(&proxy).await.0, ANSWER, "{fault}");
        assert!(started.elapsed() >= at_least, "{fault}: {:?}", started.elapsed());
        assert!(proxy.stats().bitten_by(fault) > 0, "{fault}");
    }
}

#[tokio::test]
async fn a_trickle_ends_when_it_is_told_to() {
    let (proxy, _heard) = oracle_behind_proxy().await;
    let fault = Fault::Trickle { every: Duration::from_secs(3600) };
    proxy.set(fault).await.expect("set");
    let (answer, _) = tokio::join!(ask(&proxy), async {
        proxy.wait_until(|stats| stats.bytes_from_target == 1).await.expect("a byte");
        proxy.set(Fault::Pass).await.expect("set");
    });
    assert_eq!(answer.0, ANSWER);
}

#[tokio::test]
async fn the_dice_are_the_same_for_the_same_seed() {
    let (proxy, _heard) = oracle_behind_proxy().await;
    let faults = vec![Fault::Reset(Moment::AfterRequest), Fault::GarbageWithin, Fault::HalfClose];
    let mut histories = Vec::new();
    for seed in [1, 1, 2] {
        proxy.set_chance(Chance { faults: faults.clone(), percent: 30, seed }).expect("set");
        let mut history = Vec::new();
        for _ in 0..60 {
            history.push(ask(&proxy).await.0);
        }
        histories.push(history);
    }
    assert_eq!(histories[0], histories[1]);
    assert_ne!(histories[0], histories[2]);
    let stats = proxy.stats();
    assert!(faults.iter().all(|fault| stats.bitten_by(*fault) > 5), "{stats:?}");
    assert!((30..90).contains(&stats.bitten()), "{stats:?}");
    let whole = histories.iter().flatten().filter(|answer| *answer == ANSWER).count();
    assert_eq!(whole as u64, 180 - stats.bitten());
}

#[tokio::test]
async fn faults_that_last_have_no_number_and_nobody_is_refused_by_the_dice() {
    let (proxy, _heard) = oracle_behind_proxy().await;
    proxy.set_next(Fault::Blackhole, 1).expect_err("it lasts");
    proxy.set_chance(Chance { faults: vec![Fault::Refuse], percent: 5, seed: 1 }).expect_err("all or nobody");
    assert_eq!(ask(&proxy).await.0, ANSWER);
}

#[test]
fn faults_are_written_as_they_are_read() {
    let others = ["pass", "latency:200ms", "bandwidth:10000", "trickle:1000ms", "blackhole", "refuse"];
    let all = Fault::EXCHANGE.iter().map(ToString::to_string).chain(others.map(str::to_owned));
    for text in all {
        let fault: Fault = text.parse().expect("a fault");
        assert_eq!(fault.to_string(), text);
    }
    "reset".parse::<Fault>().expect_err("when?");
}

#[tokio::test]
async fn postgres_has_done_what_it_was_cut_after() {
    let pg = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await.expect("a Postgres");
    let proxy = FaultProxy::start(pg.tcp_addr().expect("a port")).await.expect("a proxy");
    let connect = async || {
        let url = pg.url_at("postgres", proxy.addr());
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    };
    let client = connect().await;
    client.batch_execute("CREATE TABLE kept (name text)").await.expect("a table");
    for (moment, kept) in [(Moment::WithinRequest, 0), (Moment::AfterRequest, 1), (Moment::WithinAnswer, 2)] {
        let client = connect().await;
        proxy.set_next(Fault::Reset(moment), 1).expect("set");
        client.batch_execute("INSERT INTO kept VALUES ('one')").await.expect_err("it was cut");
        let rows = connect().await.query_one("SELECT count(*) FROM kept", &[]).await.expect("rows");
        assert_eq!(rows.get::<_, i64>(0), kept, "{moment:?}");
        assert_eq!(proxy.stats().bitten_by(Fault::Reset(moment)), 1);
    }
}
