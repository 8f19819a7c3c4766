//! Calls that are refused for what they ask.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{House, ensure_bites, refused_by};

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_for_what_is_not_there_hears_nothing_more_for_a_while() -> Result<()> {
    let house = House::with(json!([])).await?;
    let asked = ["raw__denied", "raw__nobody", "nobody__at_all"];
    let ask = async |tool: &str| house.router.call(Some(house.key("ann")), tool, json!({})).await;
    let mut refused = 0;
    for number in 0..900 {
        let answer = ask(asked[number % asked.len()]).await?;
        if answer.error_code() == Some(-32602) {
            continue;
        }
        ensure!(number >= 300 && refused_by(&answer)?.as_deref() == Some("refused-calls"), "{number}: {answer:?}");
        refused += 1;
        // From outside all names look alike, those of tools that are there too, and the policy is not asked.
        for tool in ["raw__get", "raw__denied", "raw__nobody"] {
            let other = ask(tool).await?;
            ensure!(refused_by(&other)?.as_deref() == Some("refused-calls"), "{tool}: {other:?}");
            let record = &house.router.records().await?[0];
            ensure!(record["rule"].is_null() && record["limited_by"] == "refused-calls", "{record}");
        }
        break;
    }
    ensure_bites(refused)?;
    ensure!(house.calls() == 0 && house.tries("bob", "get").await?.is_none(), "others are not concerned");
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
