//! How long a caller waits, in its own words; and callers that go.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    raw::{Incoming, RawServer},
    tickets::{Tickets, TicketsOptions},
};
use tests::{Ask, TestRouter, hang_up, open_house};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{config, post, server};

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_word_shortens_and_lengthens_the_deadline_within_what_is_allowed() -> Result<()> {
    let server = server().await?;
    let mut config = config(&server);
    config["deadlines"] = json!({ "default": "2s", "max": "3s" });
    config["downstreams"]["raw"]["deadline"] = json!("1s");
    let router = TestRouter::ready(&config.to_string()).await?;
    for (said, left) in
        [(None, 500..=1000), (Some(700), 200..=700), (Some(2500), 2000..=2500), (Some(99_000), 2500..=3000)]
    {
        let body = json!({ "name": "raw__fine", "arguments": {}, "timeout_ms": said });
        let body = body.as_object().context("an object")?.iter().filter(|(_, value)| !value.is_null());
        let plain: serde_json::Map<_, _> = body.map(|(key, value)| (key.clone(), value.clone())).collect();
        ensure!(post(&router, None, Value::Object(plain).to_string()).await?.status == 200);
        let modern = Ask::call("raw__fine", json!({}));
        let legacy = Ask::legacy_call("raw__fine", &json!({}));
        for ask in [modern, legacy] {
            let ask = ask.change(|body| {
                if let Some(said) = said {
                    body["params"]["_meta"]["weir/deadline_ms"] = json!(said);
                }
            });
            ensure!(router.ask(&ask).await?.result()?["isError"] != true);
        }
        let told: Vec<u64> = calls(&server).iter().rev().take(3).filter_map(deadline_ms).collect();
        ensure!(told.len() == 3 && told.iter().all(|told| left.contains(told)), "{said:?}: {told:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_a_caller_shortened_is_kept_and_explained() -> Result<()> {
    let server = server().await?;
    let router = TestRouter::ready(&config(&server).to_string()).await?;
    let plain = post(&router, None, r#"{"name":"raw__hang","timeout_ms":60}"#).await?;
    ensure!(plain.status == 504 && plain.json()?["outcome"] == "timeout", "{plain:?}");
    let ask = Ask::call("raw__hang", json!({})).change(|body| body["params"]["_meta"]["weir/deadline_ms"] = json!(60));
    let over_mcp = router.ask(&ask).await?.result()?;
    ensure!(over_mcp["isError"] == true, "{over_mcp}");
    let write = post(&router, None, r#"{"name":"raw__hang_write","timeout_ms":60}"#).await?;
    let problem = write.json()?;
    ensure!(write.status == 502 && problem["outcome"] == "outcome_unknown", "{write:?}");
    ensure!(problem["detail"].as_str().is_some_and(|text| text.contains("Do not simply repeat it")), "{problem}");
    ensure!(problem["_meta"]["weir/operation_id"] == router.records().await?[0]["request_id"], "{problem}");
    for said in [json!(0), json!(-5), json!(1.5), json!("60"), json!(null), json!({})] {
        let told = "a whole number of milliseconds, 1 or more";
        let body = json!({ "name": "raw__fine", "timeout_ms": said });
        let plain = post(&router, None, body.to_string()).await?;
        ensure!(plain.status == 400 && plain.text.contains(told), "{said}: {plain:?}");
        let ask = |ask: Ask| ask.change(|body| body["params"]["_meta"]["weir/deadline_ms"] = said.clone());
        for ask in [ask(Ask::call("raw__fine", json!({}))), ask(Ask::legacy_call("raw__fine", &json!({})))] {
            let answer = router.ask(&ask).await?;
            ensure!(answer.error_code() == Some(-32602) && answer.text.contains(told), "{said}: {answer:?}");
        }
    }
    ensure!(calls(&server).iter().all(|call| call.tool().as_deref() != Some("fine")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_takes_its_read_back_but_not_a_write_that_has_left() -> Result<()> {
    let server = server().await?;
    let mut config = config(&server);
    config["downstreams"]["raw"]["tools"]["hang_write"] = json!({ "deadline": "1s" });
    let router = TestRouter::ready(&config.to_string()).await?;
    for (index, (tool, outcome)) in [("hang", "abandoned"), ("hang_write", "outcome_unknown")].into_iter().enumerate() {
        let body = json!({ "name": format!("raw__{tool}") }).to_string();
        let head = format!("POST /v1/tools/call HTTP/1.1\r\nhost: {}\r\n", router.authority());
        let fields = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(router.running().callers).await?;
        stream.write_all((head + &fields + &body).as_bytes()).await?;
        server.wait_until(|all| all.iter().filter(|message| message.tool().is_some()).count() == index + 1).await?;
        hang_up(stream).await?;
        let record = tests::until("there is a record", async || {
            let records = router.records().await?;
            Ok((records.len() > index).then(|| records[0].clone()))
        })
        .await?;
        ensure!(record["outcome"] == outcome && record["local_name"] == tool, "{record}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downstream_that_asks_to_be_left_alone_is_heard_on_both_surfaces() -> Result<()> {
    let tickets = Tickets::start("127.0.0.1:0", TicketsOptions { token: None, ..TicketsOptions::default() }).await?;
    let mut config = open_house(&[]);
    config["downstreams"]["tickets"] = json!({ "ticketing": { "provider": "jira", "base_url": tickets.url } });
    let router = TestRouter::ready(&config.to_string()).await?;
    router.downstreams_until(|all| all[0]["health"] == "up").await?;
    tickets.limit_next(100, 7, "jira-burst-based");
    let body = json!({ "name": "tickets__get_ticket", "arguments": { "id": "SUP-1" } }).to_string();
    let plain = post(&router, None, body).await?;
    let problem = plain.json()?;
    ensure!(plain.status == 503 && plain.headers["retry-after"] == "7" && problem["outcome"] == "busy", "{plain:?}");
    let limit = json!({ "name": "tickets", "retry_after_ms": 7000 });
    ensure!(problem["_meta"]["weir/limit"] == limit, "{problem}");
    let over_mcp = router.ask(&Ask::call("tickets__get_ticket", json!({ "id": "SUP-1" }))).await?.result()?;
    // By now it is left alone.
    let limit = &over_mcp["_meta"]["weir/limit"];
    let wait_ms = limit["retry_after_ms"].as_u64().context("a wait")?;
    ensure!(
        over_mcp["isError"] == true && limit["name"] == "tickets" && (6001..=7000).contains(&wait_ms),
        "{over_mcp}"
    );
    for text in [&problem["detail"], &over_mcp["content"][0]["text"]] {
        ensure!(text.as_str().is_some_and(|text| text.matches("7 s").count() == 1), "{text}");
    }
    Ok(())
}

fn calls(server: &RawServer) -> Vec<Incoming> {
    server.received().into_iter().filter(|message| message.tool().is_some()).collect()
}

fn deadline_ms(call: &Incoming) -> Option<u64> {
    let params: Value = serde_json::from_str(call.params.as_deref()?).ok()?;
    params["_meta"]["weir/deadline_ms"].as_u64()
}
