//! The same records at a collector, which no call waits for.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use standins::syslog::{Collected, Collector};
use tests::TestRouter;

use super::{call, config, server};
use crate::cli::{
    Folder,
    binary::{Started, command, run},
};

/// How many calls of tools arrived.
fn calls(collected: &Collected) -> usize {
    collected.messages.iter().filter(|message| message.id == "call").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_every_record_over_tcp_and_over_udp() -> Result<()> {
    let (server, stream, datagrams) = (server().await?, Collector::tcp().await?, Collector::udp().await?);
    let audit = json!({ "forward": [
        { "syslog": { "address": stream.addr } }, { "syslog": { "address": datagrams.addr, "transport": "udp" } }
    ] });
    let router = TestRouter::ready(&config(&server, audit).to_string()).await?;
    for tool in ["get_thing", "put_thing", "get_thing"] {
        call(&router, tool).await?;
    }
    let records = router.records().await?;
    let wanted = records.iter().filter(|record| record["kind"] == "call").count();
    for collector in [&stream, &datagrams] {
        collector.wait_until(|collected| calls(collected) >= wanted).await?;
        let collected = collector.collected();
        ensure!(collected.wrong.is_empty() && calls(&collected) == wanted, "{collected:?}");
        for (number, message) in (1..).zip(&collected.messages) {
            ensure!(message.facility == 13 && message.app == "weir" && message.time != "-", "{message:?}");
            ensure!(message.data == format!("[meta sequenceId=\"{number}\"]"), "{message:?}");
            let record: Value = serde_json::from_str(&message.text)?;
            ensure!(record["kind"] == message.id.as_str() && !message.text.contains("ada@example.com"), "{message:?}");
        }
    }
    router.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_up_no_call_and_gets_its_records_later() -> Result<()> {
    let (server, collector) = (server().await?, Collector::tcp().await?);
    let audit = json!({ "forward": [{ "syslog": { "address": collector.addr } }] });
    let router = TestRouter::ready(&config(&server, audit).to_string()).await?;
    call(&router, "get_thing").await?;
    collector.wait_until(|collected| calls(collected) == 1).await?;
    collector.refuse(true).await?;
    for _ in 0..10 {
        call(&router, "put_thing").await?;
    }
    ensure!(calls(&collector.collected()) == 1, "the collector was to be away");
    collector.refuse(false).await?;
    collector.wait_until(|collected| calls(collected) == 11).await?;
    let collected = collector.collected();
    ensure!(collected.wrong.is_empty(), "{collected:?}");
    router.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_has_one_json_line_for_each_record() -> Result<()> {
    let text = "server: { listen: '127.0.0.1:0', admin: '127.0.0.1:0', grace: 0s, drain: 1s }\naudit: { dir: audit, forward: [{ stdout: {} }] }\n";
    let folder = Folder::with_config(text);
    let mut weir = Started::new(&mut command(&["serve", "--config", &folder.config()]));
    let record: Value = serde_json::from_str(&weir.line().await)?;
    ensure!(record["kind"] == "event" && record["event"] == "started", "{record}");
    weir.line_with("serving").await;
    weir.signal("TERM").await;
    let ended = weir.finish().await.with_code(0);
    ensure!(ended.stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{ended:?}");

    // There it is the protocol.
    let refused = run(&["stdio", "--config", &folder.config()]).await.with_code(1);
    ensure!(refused.stdout.is_empty() && refused.stderr.contains("audit.forward"), "{refused:?}");
    Ok(())
}
