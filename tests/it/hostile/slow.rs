//! Crowds of callers that send and read too slowly.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use tempfile::TempDir;
use tests::{PATIENCE, speak, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::timeout,
};

use super::{House, statuses};

/// Of each kind. A thousand are as many as the check asks for by hand.
const CROWD: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn crowds_of_slow_callers_are_closed_and_others_are_served_meanwhile() -> Result<()> {
    let settings = json!({ "header_timeout": "1s", "body_timeout": "1s", "write_timeout": "1s" });
    let house = House::start(1, TempDir::new()?, settings).await?;
    let (address, host) = (house.fleet.address(0)?, house.fleet.address(0)?.to_string());
    let call = String::from_utf8(house.wire(&host, json!({})))?;
    let (head, body) = call.split_once("\r\n\r\n").context("a head")?;
    let (head, body) = (format!("{head}\r\n\r\n"), body.to_owned());
    let much = house.wire(&host, json!({ "much": true }));

    let (over, is_over) = watch::channel(false);
    let crowds = async {
        let heads = try_join_all((0..CROWD).map(|_| drip(address, &head[..20], b"x")));
        let bodies = try_join_all((0..CROWD).map(|_| drip(address, &head, b" ")));
        let part = body.len() / 2;
        let halves = format!("{head}{}", &body[..part]);
        let stalled = try_join_all((0..CROWD).map(|_| drip(address, &halves, b"")));
        let readers = try_join_all((0..CROWD / 10).map(|_| read_nothing(address, &much)));
        let ended = tokio::try_join!(heads, bodies, stalled, readers);
        over.send_replace(true);
        ended.map(drop)
    };
    let others = async {
        let mut served = 0;
        while !*is_over.borrow() {
            let answer = speak(address, &house.wire(&host, json!({}))).await?;
            ensure!(statuses(&answer) == [200], "{answer}");
            // On a machine that is busy with much else, some are told to come again.
            served += usize::from(!answer.contains("retry-after: "));
        }
        anyhow::Ok(served)
    };
    let ((), served) = tokio::try_join!(crowds, others)?;
    ensure!(served > 2, "only {served} were served meanwhile");
    until("it is quiet again", async || Ok(house.call(0).await.ok())).await?;
    // Ranges are nothing to a router: the request is one like another.
    let ranges: Vec<_> = (0..1_000).map(|start| format!("{start}-")).collect();
    let ranged = call.replacen("\r\n", &format!("\r\nrange: bytes={}\r\n", ranges.join(",")), 1);
    ensure!(statuses(&speak(address, ranged.as_bytes()).await?) == [200]);
    Ok(())
}

/// Begins so and goes on with this, bit by bit, until the connection is closed.
async fn drip(address: SocketAddr, begin: &str, more: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(begin.as_bytes()).await?;
    let (mut reader, mut writer) = stream.split();
    let dripping = async {
        while writer.write_all(more).await.is_ok() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    let told = async {
        let mut answer = Vec::new();
        // A reset says the same.
        let _ = reader.read_to_end(&mut answer).await;
        answer
    };
    let closed = async {
        tokio::select! {
            answer = told => answer,
            () = dripping => Vec::new(),
        }
    };
    let answer = timeout(PATIENCE, closed).await.context("a slow caller is not closed")?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    ensure!(matches!(statuses(&answer)[..], [] | [408]), "{answer}");
    Ok(())
}

/// Asks for much with little room for it, and does not read until the connection is over.
async fn read_nothing(address: SocketAddr, ask: &[u8]) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(ask).await?;
    let mut start = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut start)).await.context("no answer")??;
    ensure!(&start == b"HTTP/1.1 200", "{start:?}");
    // Nothing can be written any more once it is closed, and until then what is written waits.
    let closed = async {
        while stream.write_all(b"\r\n").await.is_ok() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    timeout(PATIENCE, closed).await.context("a caller that does not read is not closed")
}
