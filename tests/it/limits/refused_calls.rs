//! Calls that are refused for what they ask.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::until;

use super::{House, ensure_bites, refused_by};

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_for_what_is_not_there_hears_nothing_more_for_a_while() -> Result<()> {
    let house = House::with(json!([])).await?;
    let asked = ["raw__denied", "raw__nobody", "nobody__at_all"];
    let ask = async |tool: &str| house.router.call(Some(house.key("ann")), tool, json!({})).await;
    for number in 0..300 {
        let answer = ask(asked[number % asked.len()]).await?;
        ensure!(answer.error_code() == Some(-32602), "{number}: {answer:?}");
    }
    // From outside all names look alike, those of tools that are there too.
    for tool in ["raw__get", "raw__denied", "raw__nobody"] {
        until("the name is not looked at", async || {
            // What was forgotten meanwhile is used up again.
            ask("nobody__at_all").await?;
            let answer = ask(tool).await?;
            let refused = answer.error_code().is_none() && refused_by(&answer)?.as_deref() == Some("refused-calls");
            Ok(refused.then_some(()))
        })
        .await?;
        let records = house.router.records().await?;
        let is_it = |record: &&Value| record["asked"] == tool && record["limited_by"] == "refused-calls";
        let record = records.iter().find(is_it).context("no record")?;
        ensure!(record["rule"].is_null() && record["outcome"] == "limited", "the policy was asked: {record}");
    }
    let before = house.calls();
    ensure!(house.tries("bob", "get").await?.is_none() && house.calls() == before + 1, "others are not concerned");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_do_not_fit_count_and_calls_that_are_made_do_not() -> Result<()> {
    let house = House::with(json!([])).await?;
    for _ in 0..320 {
        ensure!(house.tries("ann", "get").await?.is_none());
    }
    let mut refused = 0;
    for _ in 0..900 {
        let answer = house.router.call(Some(house.key("ann")), "raw__get", json!({ "n": "x" })).await?;
        let text = answer.result()?["content"][0]["text"].clone();
        if text.as_str().is_some_and(|text| text.contains("refused-calls")) {
            refused += 1;
            break;
        }
    }
    ensure_bites(refused)
}
