//! More than can be done: at a downstream that bears only so much, at the router's own processor, and beside a downstream that stands still.

mod still;

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use standins::mainframe::{HISTORY_COPYBOOK, Mainframe, MainframeOptions};
use tokio::net::TcpStream;

use crate::{
    Extent,
    judge::Judge,
    load::{Kind, Load, Paced, Target},
    responder::{Responder, answer},
    weir::{Start, Weir},
};

/// How much more is asked than can be done.
const TIMES: f64 = 3.0;
/// Over so many connections.
const CONNECTIONS: usize = 256;
/// An account and an order of the mainframe.
const ACCOUNT: &str = "9007202146917077";
const ORDER: &str = "9007199254740993";
/// The share of the capacity that is a normal load.
const NORMAL: f64 = 0.7;

/// Runs all three.
pub(crate) async fn run(extent: Extent) -> Result<()> {
    let mut judge = Judge::new(extent.is_short);
    at_the_downstream(extent, &mut judge).await?;
    at_the_processor(extent, &mut judge).await?;
    still::run(extent, &mut judge).await?;
    judge.finish()
}

/// The mainframe takes 100 ms and bears sixteen at once; eight more may wait for it, so that nobody waits longer than it takes.
async fn at_the_downstream(extent: Extent, judge: &mut Judge) -> Result<()> {
    println!("a downstream that bears 16 calls of 100 ms at once; 8 more may wait");
    let delay = Duration::from_millis(100);
    let options = MainframeOptions { delay: delay..=delay, concurrency: 16, ..MainframeOptions::default() };
    let mainframe = Mainframe::start("127.0.0.1:0", options).await?;
    let config = json!({
        "mainframe": { "base_url": mainframe.url, "concurrency": 16 },
        "line": { "max": 8 },
        "tools": { "order_status": order_status() },
    });
    let weir = Weir::start(&json!({ "downstreams": { "orders": config } })).await?;
    weir.until_tools(1).await?;
    let target = Target::call(&weir.endpoint, "orders__order_status", &json!({ "order_id": ORDER }), ORDER)?;
    overload(&target, extent, judge).await?;
    let seen = mainframe.seen();
    judge.holds(format!("never more than 16 at once at the downstream: {}", seen.running_max), seen.running_max <= 16);
    Ok(())
}

/// The answer is 500 records, whose fields the router turns from EBCDIC into JSON: its own processor is at its end first. Router and load have a
/// processor each.
async fn at_the_processor(extent: Extent, judge: &mut Judge) -> Result<()> {
    println!("a router with one processor and calls that cost it much");
    let downstream = Responder::start(answer("200 OK", "application/octet-stream", &records(500).await?)).await?;
    let tool = json!({
        "description": "What was booked on an account.",
        "effect": "read",
        "request": { "path": "/cics/hist/{account_number}" },
        "answer": { "fixed_width": { "copybook": HISTORY_COPYBOOK, "many": true } },
        "arguments": { "account_number": { "type": "string" } },
    });
    let config =
        json!({ "mainframe": { "base_url": downstream.url, "concurrency": 512 }, "tools": { "history": tool } });
    let parted = use_processors("1").is_ok();
    judge.bit("router and load have a processor each", parted);
    let start = Start { processor: parted.then_some(0), ..Start::default() };
    let weir = Weir::start_with(&json!({ "downstreams": { "accounts": config } }), start).await?;
    weir.until_tools(1).await?;
    let target = Target::call(&weir.endpoint, "accounts__history", &json!({ "account_number": "1" }), "hist_amount")?;
    let outcome = overload(&target, extent, judge).await;
    if parted {
        use_processors("0-1")?;
    }
    outcome
}

/// Measures the capacity and what is normal below it, asks for more, and looks how long that is felt.
async fn overload(target: &Target, extent: Extent, judge: &mut Judge) -> Result<()> {
    let targets = std::slice::from_ref(target);
    let measuring = extent.period(10, 2);
    let load = Load { connections: 32, period: measuring, obedient: false };
    load.during(targets).await?;
    let peak = load.during(targets).await?.count(Kind::Right) as f64 / measuring.as_secs_f64();
    anyhow::ensure!(peak > 0.0, "void: no call was answered");
    let normally = Paced { rate: NORMAL * peak, connections: CONNECTIONS, period: measuring };
    let normal = normally.run(targets).await?;
    let normal_p99 = normal.latency_ms(Kind::Right, 0.99);
    println!("capacity {peak:.0}/s; at {:.0}/s p99 {normal_p99:.1} ms", normally.rate);
    judge.bit("a normal load is answered", normal.count(Kind::Right) * 100 >= normal.len() * 99);

    let period = extent.period(120, 5);
    let over = Paced { rate: TIMES * peak, connections: CONNECTIONS, period }.run(targets).await?;
    let goodput = over.count(Kind::Right) as f64 / period.as_secs_f64();
    let offered = over.len() as f64 / over.took().as_secs_f64();
    let [right, refused, wrong] = [Kind::Right, Kind::Refused, Kind::Wrong].map(|kind| over.count(kind));
    println!("asked {offered:.0}/s for {} s: {right} answered, {refused} refused, {wrong} wrong", period.as_secs());
    judge.bit(
        format!("it was asked for {:.1} times the capacity", offered / peak),
        offered >= 0.8 * TIMES * peak && refused > 0,
    );
    judge.holds(format!("every answer was right or a refusal: {wrong} were not"), wrong == 0);
    let unsaid = over.refused_without_when();
    judge.holds(format!("every refusal said when to come again: {unsaid} did not"), unsaid == 0);
    judge.in_time(
        format!("goodput {goodput:.0}/s, {:.2} of the capacity, at least 0.80", goodput / peak),
        goodput >= 0.8 * peak,
    );
    let refused_p99 = over.latency_ms(Kind::Refused, 0.99);
    judge.in_time(format!("refusals p99 {refused_p99:.1} ms, at most 50"), refused_p99 <= 50.0);
    let admitted_p99 = over.latency_ms(Kind::Right, 0.99);
    judge.in_time(
        format!("admitted p99 {admitted_p99:.1} ms, {:.2} of the normal one, at most 2", admitted_p99 / normal_p99),
        admitted_p99 <= 2.0 * normal_p99,
    );

    let after = Paced { period: extent.period(15, 4), ..normally }.run(targets).await?;
    let settled = after.between(extent.period(15, 4) * 2 / 3, Duration::MAX);
    judge.in_time(
        format!("afterwards nobody is refused: {} of {} were", settled.count(Kind::Refused), settled.len()),
        settled.len() > 0 && settled.count(Kind::Right) == settled.len(),
    );
    let after_p99 = settled.latency_ms(Kind::Right, 0.99);
    judge.in_time(
        format!("p99 afterwards {after_p99:.1} ms, at most twice the normal one"),
        after_p99 <= 2.0 * normal_p99,
    );
    Ok(())
}

fn order_status() -> Value {
    json!({
        "description": "The status of one order.",
        "effect": "read",
        "request": { "path": "/orders/{order_id}/status" },
        "arguments": { "order_id": { "type": "string" } },
    })
}

/// So many records of a mainframe: one account's, again and again.
async fn records(count: usize) -> Result<Vec<u8>> {
    const RECORD_BYTES: usize = 72;
    let mainframe = Mainframe::start("127.0.0.1:0", MainframeOptions::default()).await?;
    let stream = TcpStream::connect(mainframe.addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("/cics/hist/{ACCOUNT}")).header("host", mainframe.addr.to_string());
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let records = answer.into_body().collect().await?.to_bytes();
    anyhow::ensure!(records.len() >= RECORD_BYTES && records.len() % RECORD_BYTES == 0, "no records of an account");
    Ok(records[..RECORD_BYTES].repeat(count))
}

/// Lets this process run on these processors alone.
fn use_processors(list: &str) -> Result<()> {
    let this = std::process::id().to_string();
    let set = Command::new("taskset").args(["-acp", list, &this]).output().context("there is no taskset")?;
    anyhow::ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    Ok(())
}
