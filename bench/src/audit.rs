//! What the audit log costs a write, whose intent has to be on the disk before it is sent.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, RawServer},
};

use crate::{
    Extent,
    judge::Judge,
    load::{Kind, Paced, Samples, Target},
    weir::Weir,
};

/// Writes in a second.
const RATE: f64 = 200.0;
const CONNECTIONS: usize = 32;
/// What the log may add to half of the writes, and to 99 of 100.
const ADDED_MS_MAX: (f64, f64) = (10.0, 40.0);

/// Writes without a log, then with one in the folder for temporary files.
pub(crate) async fn run(extent: Extent) -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |incoming| match incoming.method.as_deref() {
        Some("tools/list") => {
            let tools = r#"{"tools":[{"name":"set","inputSchema":{"type":"object"}}]}"#;
            Some(vec![Action::result(incoming, tools)])
        }
        Some("tools/call") => Some(vec![Action::result(incoming, r#"{"content":[{"type":"text","text":"made"}]}"#)]),
        _ => None,
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("audit");
    let mut judge = Judge::new(extent.is_short);
    let period = extent.period(300, 5);
    println!("{RATE} writes a second for {} s", period.as_secs());
    let without = load(&server, json!({}), period).await?;
    let with = load(&server, json!({ "dir": dir }), period).await?;
    for (name, samples) in [("without a log", &without), ("with a log", &with)] {
        let (p50, p99) = percentiles_ms(samples);
        println!("{name}: {} writes, p50 {p50:.1} ms, p99 {p99:.1} ms", samples.len());
        let right = samples.count(Kind::Right);
        judge.holds(format!("{name} {right} of {} writes were made", samples.len()), right == samples.len());
    }
    let lines = lines(&dir)?;
    judge.bit(format!("{lines} records are in the log, among them the intent of each write"), lines >= with.len());
    let (before, after) = (percentiles_ms(&without), percentiles_ms(&with));
    let (p50, p99) = (after.0 - before.0, after.1 - before.1);
    judge.in_time(format!("p50 {p50:.1} ms more, at most {}", ADDED_MS_MAX.0), p50 <= ADDED_MS_MAX.0);
    judge.in_time(format!("p99 {p99:.1} ms more, at most {}", ADDED_MS_MAX.1), p99 <= ADDED_MS_MAX.1);
    judge.finish()
}

async fn load(server: &RawServer, audit: Value, period: Duration) -> Result<Samples> {
    let config = json!({
        "downstreams": { "raw": { "mcp": { "websocket": { "url": server.url } }, "effects": [{ "match": "*", "effect": "write" }] } },
        "audit": audit,
    });
    let weir = Weir::start(&config).await?;
    // And Weir's own, which tells what became of a write.
    weir.until_tools(2).await?;
    let arguments = json!({ "id": "C-0001", "note": "called back, wants a quote by Friday" });
    let target = Target::call(&weir.endpoint, "raw__set", &arguments, "made")?;
    Paced { rate: RATE, connections: CONNECTIONS, period }.run(&[target]).await
}

fn percentiles_ms(samples: &Samples) -> (f64, f64) {
    (samples.latency_ms(Kind::Right, 0.5), samples.latency_ms(Kind::Right, 0.99))
}

fn lines(dir: &std::path::Path) -> Result<usize> {
    let mut lines = 0;
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "audit") {
            lines += std::fs::read_to_string(path)?.lines().filter(|line| line.contains("\"record\":")).count();
        }
    }
    Ok(lines)
}
