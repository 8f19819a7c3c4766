//! Callers that go, take back, or are left without an answer.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{Faults, McpOptions, McpServer},
    proxy::FaultProxy,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, Events, TestRouter, hang_up, open_house};

use super::{Held, calls, cancellations, one_tool};

fn writes(config: &mut Value) {
    config["downstreams"]["raw"]["effects"] = json!([{ "match": "*", "effect": "write" }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_caller_that_goes_takes_its_read_back() -> Result<()> {
    for era in [Era::ModernOnly, Era::LegacyOnly] {
        let scene = Held::new(era, |_| {}).await?;
        let plain = Ask::call("raw__work", json!({}));
        for (index, ask) in [plain.clone(), plain.clone().token("t")].into_iter().enumerate() {
            let stream = scene.router.knock(&ask).await?;
            scene.until_called(index + 1).await?;
            hang_up(stream).await?;
            scene.server.wait_until(|all| cancellations(all).len() == index + 1).await?;
            let record = scene.until_recorded(index + 1, "abandoned").await?;
            ensure!(record["local_name"] == "work", "{record}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_caller_that_goes_in_the_middle_of_a_stream_takes_its_read_back() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![one_tool(message, "work")]),
        Some("tools/call") => {
            let token = message.id.clone()?;
            let progress = format!(r#"{{"progressToken":{token},"progress":1}}"#);
            let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{progress}}}"#);
            Some(vec![Action::Send(text)])
        }
        _ => None,
    })
    .await?;
    let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
    let mut events = Events::of(router.begin(&Ask::call("raw__work", json!({})).token("t")).await?)?;
    let first = events.next().await?.context("no progress")?;
    ensure!(first["params"]["progressToken"] == "t", "{first}");
    drop(events);
    server.wait_until(|all| cancellations(all).len() == 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_caller_that_goes_takes_nothing_back() -> Result<()> {
    let scene = Held::new(Era::ModernOnly, |_| {}).await?;
    let session = scene.router.session(None, "2025-11-25").await?;
    let ask = Ask::legacy_call("raw__work", &json!({}));
    for (index, ask) in [ask.clone(), ask.clone().session(&session), ask.session(&session).token(1)].iter().enumerate()
    {
        let stream = scene.router.knock(ask).await?;
        scene.until_called(index + 1).await?;
        hang_up(stream).await?;
        scene.release(index..index + 1);
        scene.until_recorded(index + 1, "ok").await?;
    }
    ensure!(cancellations(&scene.server.received()).is_empty(), "{:?}", scene.server.received());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_takes_its_own_call_back_and_hears_no_more_of_it() -> Result<()> {
    for era in [Era::ModernOnly, Era::LegacyOnly] {
        for id in [json!(5), json!("5"), json!("quoted \"é\"")] {
            let scene = Held::new(era, |_| {}).await?;
            let session = scene.router.session(None, "2025-06-18").await?;
            let ask = Ask::legacy_call("raw__work", &json!({})).session(&session).id(id.clone());
            let cancel = Ask::notification("notifications/cancelled", &json!({ "requestId": id, "reason": "enough" }));
            let taking_back = async {
                scene.until_called(1).await?;
                scene.router.ask(&cancel.session(&session)).await
            };
            let (answer, taken_back) = tokio::join!(scene.router.ask(&ask), taking_back);
            ensure!(taken_back?.status == 202);
            ensure!(tests::events(&answer?.text)?.is_empty(), "a cancelled call has no answer");
            scene.server.wait_until(|all| cancellations(all).len() == 1).await?;
            scene.until_recorded(1, "cancelled").await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_back_the_call_of_another() -> Result<()> {
    let scene = Held::new(Era::ModernOnly, |_| {}).await?;
    let session = scene.router.session(None, "2025-06-18").await?;
    let other = scene.router.session(None, "2025-06-18").await?;
    let call = Ask::legacy_call("raw__work", &json!({})).id(5).session(&session);
    let cancel = |id: Value| Ask::notification("notifications/cancelled", &json!({ "requestId": id }));
    let attempts = async {
        scene.until_called(1).await?;
        for attempt in [
            cancel(json!(5)).session(&other),
            cancel(json!(5)),
            cancel(json!("5")).session(&session),
            cancel(json!(null)).session(&session),
            cancel(json!(5)).header("mcp-protocol-version", "2026-07-28").session(&session),
        ] {
            ensure!(scene.router.ask(&attempt).await?.status == 202, "{attempt:?}");
        }
        // What was sent before has arrived when this has.
        scene.release(0..2);
        scene.router.ask(&Ask::call("raw__work", json!({}))).await
    };
    let (answer, fence) = tokio::join!(scene.router.begin(&call), attempts);
    ensure!(fence?.result()?["content"][0]["text"] == "done");
    let answer = tests::harness::read(answer?).await?;
    ensure!(answer.result()?["content"][0]["text"] == "done", "{answer:?}");
    ensure!(cancellations(&scene.server.received()).is_empty(), "{:?}", scene.server.received());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_sent_runs_on_when_its_caller_goes_or_takes_it_back() -> Result<()> {
    let scene = Held::new(Era::ModernOnly, writes).await?;
    let session = scene.router.session(None, "2025-06-18").await?;
    let legacy = Ask::legacy_call("raw__work", &json!({})).id(7).session(&session);
    for (index, ask) in [Ask::call("raw__work", json!({})), legacy].iter().enumerate() {
        let stream = scene.router.knock(ask).await?;
        scene.until_called(index + 1).await?;
        let cancel = Ask::notification("notifications/cancelled", &json!({ "requestId": 7 })).session(&session);
        ensure!(scene.router.ask(&cancel).await?.status == 202);
        hang_up(stream).await?;
        scene.release(index..index + 1);
        let record = scene.until_recorded(index + 1, "ok").await?;
        ensure!(record["effect"] == "write", "{record}");
    }
    ensure!(calls(&scene.server.received()) == 2 && cancellations(&scene.server.received()).is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_reported_as_unknown_and_not_done_twice() -> Result<()> {
    let server = McpServer::new(McpOptions::default());
    let running = server.websocket("127.0.0.1:0").await?;
    let proxy = FaultProxy::start(running.addr).await?;
    let mut config = open_house(&[("pay", &format!("ws://{}/mcp", proxy.addr()))]);
    config["downstreams"]["pay"]["effects"] = json!([{ "match": "get_*", "effect": "read" }]);
    let router = TestRouter::ready(&config.to_string()).await?;
    let session = router.session(None, "2025-11-25").await?;
    let mut operations = Vec::new();
    for round in 1..=6 {
        server.faults(Faults::default());
        tests::until("it is reached again", async || {
            let answer = router.ask(&Ask::call("pay__get_merchant", json!({ "merchant_id": "M-0001" }))).await?;
            Ok((answer.result()?["isError"] != true).then_some(()))
        })
        .await?;
        server.faults(Faults { hang: true, ..Faults::default() });
        let arguments = json!({ "transaction_id": "T-0000001", "category": "groceries" });
        let ask = if round % 2 == 0 {
            Ask::call("pay__log_transaction_enrichment", arguments)
        } else {
            Ask::legacy_call("pay__log_transaction_enrichment", &arguments).session(&session)
        };
        let cutting = async {
            server.wait_until(|seen| seen.called("log_transaction_enrichment") == round).await?;
            proxy.reset_connections();
            anyhow::Ok(())
        };
        let (answer, cut) = tokio::join!(router.ask(&ask), cutting);
        cut?;
        let result = answer?.result()?;
        let operation = result["_meta"]["weir/operation_id"].as_str().with_context(|| format!("{result}"))?.to_owned();
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        ensure!(result["isError"] == true && text.contains("unknown") && text.contains(&operation), "{result}");
        operations.push(operation);
    }
    ensure!(server.seen().called("log_transaction_enrichment") == 6, "{:?}", server.seen());
    let records: Vec<_> = router.records().await?.into_iter().filter(|record| record["effect"] == "write").collect();
    ensure!(records.len() == 6 && records.iter().all(|record| record["outcome"] == "outcome_unknown"), "{records:?}");
    for (record, operation) in records.iter().rev().zip(&operations) {
        ensure!(record["request_id"] == operation.as_str(), "{record} is not of {operation}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_answer_is_lost_is_simply_a_failure() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![one_tool(message, "work")]),
        Some("tools/call") => Some(vec![Action::Drop]),
        _ => None,
    })
    .await?;
    let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
    let answer = router.ask(&Ask::call("raw__work", json!({}))).await?;
    let result = answer.result()?;
    ensure!(result["isError"] == true && result.get("_meta").is_none(), "{answer:?}");
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    ensure!(text.contains("raw__work") && !text.contains("unknown") && !text.contains("127.0.0.1"), "{answer:?}");
    ensure!(router.records().await?[0]["outcome"] == "connection_lost");
    Ok(())
}
