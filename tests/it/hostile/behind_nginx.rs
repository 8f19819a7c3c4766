//! Three replicas behind an nginx that is set up as the docs say.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{nginx, speak};

use super::{House, statuses};
use crate::front::framing::{AMBIGUOUS, FINE, request};

#[tokio::test(flavor = "multi_thread")]
async fn what_has_two_meanings_reaches_nobody_through_it() -> Result<()> {
    let house = House::start(3, TempDir::new()?, settings()).await?;
    let nginx = nginx::in_front_of(&house.addresses()?).await?;
    let headers = format!("authorization: Bearer {}\r\nhost: {}", house.key, nginx::PUBLIC_HOST);
    let last = format!("connection: close\r\n{headers}");
    let mut expected_calls = 0;
    for path in ["/mcp", "/v1/tools/call"] {
        // The control: what is fine gets through, twice on one connection.
        let both = request(path, &headers, FINE) + &request(path, &last, FINE);
        let answer = speak(nginx.addr(), both.as_bytes()).await?;
        expected_calls += 2;
        ensure!(statuses(&answer) == [200, 200] && house.calls() == expected_calls, "{answer}\n{}", nginx.log());

        for (what, rest) in AMBIGUOUS {
            let followed = request(path, &headers, rest) + &request(path, &last, FINE);
            let answer = speak(nginx.addr(), followed.as_bytes()).await?;
            // nginx ends such a line itself and writes it anew: two requests came, and two are made of them.
            let mended = what.contains("bare LF");
            let refused = || matches!(statuses(&answer)[..], [400 | 501]) && answer.contains("onnection: close");
            ensure!(if mended { statuses(&answer) == [200, 200] } else { refused() }, "{what}: {answer}");
            expected_calls += if mended { 2 } else { 0 };
            ensure!(house.calls() == expected_calls, "{what}: {} calls", house.calls());
        }
        for target in ["http://evil.example", "http://127.0.0.1:1"] {
            let elsewhere = request(path, &headers, FINE).replace("POST ", &format!("POST {target}"));
            let answer = speak(nginx.addr(), (elsewhere + &request(path, &last, FINE)).as_bytes()).await?;
            ensure!(answer.is_empty() && house.calls() == expected_calls, "{target}: {answer}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_are_called_and_one_that_is_killed_costs_nobody_an_answer() -> Result<()> {
    let mut house = House::start(3, TempDir::new()?, settings()).await?;
    let nginx = nginx::in_front_of(&house.addresses()?).await?;
    let call = house.wire(nginx::PUBLIC_HOST, json!({}));
    let calls = async |times: usize| {
        for _ in 0..times {
            let answer = speak(nginx.addr(), &call).await?;
            ensure!(statuses(&answer) == [200], "{answer}\n{}", nginx.log());
        }
        anyhow::Ok(())
    };
    calls(12).await?;
    for replica in 0..3 {
        let records = house.fleet.admin(replica, http::Method::GET, "/admin/audit?last=100", "").await?.json()?;
        ensure!(records["records"].as_array().is_some_and(|records| records.len() >= 3), "{replica}: {records}");
    }
    house.fleet.kill(0).await?;
    calls(12).await?;
    ensure!(house.calls() == 24, "{} calls", house.calls());
    Ok(())
}

fn settings() -> Value {
    json!({ "public_url": format!("http://{}", nginx::PUBLIC_HOST), "trusted_proxies": ["127.0.0.1"] })
}
