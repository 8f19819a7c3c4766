//! More connections than the process may have open files.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tests::{speak, until};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::Instant};

use super::{House, statuses};

const CONNECTIONS: usize = 1_000;
const FILES_MAX: u32 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_left_it_neither_ends_nor_spins_and_serves_again_afterwards() -> Result<()> {
    let settings = json!({ "header_timeout": "5m" });
    let house = House::start_with(Some(FILES_MAX), 1, TempDir::new()?, settings).await?;
    house.call(0).await?;
    let address = house.fleet.address(0)?;
    let mut crowd = JoinSet::new();
    for _ in 0..CONNECTIONS {
        crowd.spawn(async move {
            // Some never get through: the kernel's queue is full too.
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(b"POST /mcp HT").await?;
            std::future::pending::<std::io::Result<()>>().await
        });
    }
    let is_out = async || Ok(house.fleet.log(0).contains("cannot accept a connection").then_some(()));
    until("there are no descriptors left", is_out).await?;
    // This measures work, and not a wait: a machine that is busy with something else makes it less, never more.
    let (before, since) = (house.fleet.busy_for(0)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (busy, passed) = (house.fleet.busy_for(0)? - before, since.elapsed());
    ensure!(busy < passed / 2, "it was busy for {busy:?} of {passed:?}");
    let tried = house.fleet.log(0).matches("cannot accept a connection").count();
    ensure!(tried > 1, "void: it was over at once");

    // On the connection that it had before, it still serves.
    house.call(0).await?;
    crowd.shutdown().await;
    let host = address.to_string();
    until("it serves new ones again", async || {
        let answer = speak(address, &house.wire(&host, json!({}))).await?;
        Ok((statuses(&answer) == [200]).then_some(()))
    })
    .await
}
