//! What has a count of its own, and what a call costs.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::Answer;

use super::{House, refused_by};

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_counts_together_what_it_says_and_nothing_else() -> Result<()> {
    // Once the first has used it up, who else is refused.
    for (per, refused, free) in [
        ("caller", vec![("ann", "get"), ("ann", "list")], vec![("bob", "get"), ("cid", "get"), ("dan", "get")]),
        ("role", vec![("ann", "list"), ("bob", "get")], vec![("eve", "get"), ("cid", "get"), ("dan", "get")]),
        ("tenant", vec![("ann", "list"), ("bob", "get"), ("eve", "get")], vec![("cid", "get"), ("dan", "get")]),
        ("caller_tool", vec![("ann", "get")], vec![("ann", "list"), ("bob", "get"), ("cid", "get")]),
        ("tenant_tool", vec![("bob", "get"), ("eve", "get")], vec![("ann", "list"), ("cid", "get"), ("dan", "get")]),
        ("tool", vec![("ann", "get"), ("cid", "get"), ("dan", "get")], vec![("ann", "list"), ("cid", "export")]),
        ("downstream", vec![("ann", "list"), ("cid", "export"), ("dan", "get")], vec![]),
    ] {
        let mut limit = json!({ "name": "few", "per": per, "rate": "1/d" });
        if per == "role" {
            limit["role"] = json!("support");
        }
        let house = House::with(json!([limit])).await?;
        ensure!(house.tries("ann", "get").await?.is_none(), "{per}");
        for (who, tool) in refused {
            ensure!(house.tries(who, tool).await?.as_deref() == Some("few"), "{per}: {who} {tool}");
        }
        let before = house.calls();
        for (who, tool) in &free {
            ensure!(house.tries(who, tool).await?.is_none(), "{per}: {who} {tool}");
        }
        ensure!(before == 1 && house.calls() == 1 + free.len(), "{per}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_one_limit_takes_nothing_from_the_others() -> Result<()> {
    let limits = json!([
        { "name": "of-caller", "per": "caller", "rate": "100/d" },
        { "name": "of-tenant", "per": "tenant", "rate": "5/d" },
        { "name": "of-export", "match": "raw__export", "per": "caller_tool", "rate": "2/d" },
    ]);
    let house = House::with(limits).await?;
    for _ in 0..2 {
        ensure!(house.tries("ann", "export").await?.is_none());
    }
    for _ in 0..50 {
        ensure!(house.tries("ann", "export").await?.as_deref() == Some("of-export"));
    }
    let left = left(&house, "ann", "export").await?;
    ensure!(left == json!({ "of-caller": 98, "of-tenant": 3, "of-export": 0 }), "{left}");
    for who in ["ann", "bob", "eve"] {
        ensure!(house.tries(who, "get").await?.is_none(), "{who}");
    }
    ensure!(house.tries("bob", "get").await?.as_deref() == Some("of-tenant"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_costs_what_the_config_says() -> Result<()> {
    let house = House::changed(json!([{ "name": "budget", "per": "tenant", "rate": "10/d" }]), |config| {
        config["downstreams"]["raw"]["tools"] = json!({ "export": { "cost": 4 }, "list": { "cost": 0 } });
    })
    .await?;
    for (tool, expected) in
        [("export", None), ("export", None), ("export", Some("budget")), ("get", None), ("get", None)]
    {
        ensure!(house.tries("ann", tool).await?.as_deref() == expected, "{tool}");
    }
    ensure!(house.tries("ann", "get").await?.is_some());
    ensure!(house.tries("ann", "list").await?.is_none(), "what costs nothing is let through");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_answer_counts_for_its_caller_and_not_for_its_downstream() -> Result<()> {
    let limits = json!([
        { "name": "of-caller", "per": "caller", "rate": "5/d" },
        { "name": "of-tool", "per": "tool", "rate": "1/d" },
    ]);
    let house = House::changed(limits, |config| {
        config["downstreams"]["raw"]["tools"] =
            json!({ "get": { "cache": { "fresh_for": "10m", "partition": "shared" } } });
    })
    .await?;
    for who in ["ann", "ann", "eve", "ann", "ann", "ann"] {
        ensure!(house.tries(who, "get").await?.is_none() || who == "eve", "{who}");
    }
    ensure!(house.tries("ann", "get").await?.as_deref() == Some("of-caller"), "a hit is charged");
    ensure!(house.tries("bob", "get").await?.is_none(), "a hit is not refused for the sake of the downstream");
    ensure!(house.calls() == 1, "{}", house.calls());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_leaves_its_limit_in_the_record_and_the_metrics() -> Result<()> {
    let limits = json!([
        { "name": "recorded", "per": "caller", "rate": "1/d" },
        { "name": "wide", "per": "downstream", "rate": "100/d" },
    ]);
    let house = House::with(limits).await?;
    ensure!(house.tries("ann", "get").await?.is_none());
    ensure!(house.tries("ann", "get").await?.is_some());
    let records = house.router.records().await?;
    let (refused, admitted) = (&records[0], &records[1]);
    ensure!(refused["outcome"] == "limited" && refused["limited_by"] == "recorded", "{refused}");
    ensure!(refused["limits"].is_null() && admitted["limited_by"].is_null(), "{refused} {admitted}");
    ensure!(admitted["limits"] == json!(["recorded", "wide"]), "{admitted}");
    let metrics = house.router.admin("/metrics").await?.text;
    ensure!(metrics.contains(r#"weir_limited_total{limit="recorded",reason="over"}"#), "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_what_is_left_without_taking_any() -> Result<()> {
    let limits = json!([
        { "name": "of-caller", "per": "caller", "rate": "10/h" },
        { "name": "of-raw", "per": "downstream", "rate": "100/d", "burst": 7 },
        { "name": "of-admins", "per": "role", "role": "admin", "rate": "1/h" },
    ]);
    let house = House::with(limits).await?;
    ensure!(house.tries("ann", "get").await?.is_none());
    for _ in 0..3 {
        let explained = explained(&house, "ann", "get").await?;
        let [of_caller, of_raw] = &explained.as_array().cloned().unwrap_or_default()[..] else {
            anyhow::bail!("{explained}");
        };
        ensure!(
            of_caller["name"] == "of-caller" && of_caller["left"] == 9 && of_caller["rate"] == "10/h",
            "{of_caller}"
        );
        ensure!(of_raw["side"] == "downstream" && of_raw["left"] == 6 && of_raw["burst"] == 7, "{of_raw}");
    }
    Ok(())
}

async fn explained(house: &House, who: &str, tool: &str) -> Result<Value> {
    let (_, tenant, role) = super::HOLDERS.iter().find(|(name, ..)| *name == who).expect("one of the holders");
    let asked = json!({ "tool": format!("raw__{tool}"), "as": { "subject": who, "tenant": tenant, "roles": [role] } });
    let answer: Answer = house.router.admin_post("/admin/explain", asked).await?;
    Ok(answer.json()?["limits"].clone())
}

/// What is left of each limit, by its name.
async fn left(house: &House, who: &str, tool: &str) -> Result<Value> {
    let explained = explained(house, who, tool).await?;
    let one = |limit: &Value| (limit["name"].as_str().unwrap_or_default().to_owned(), limit["left"].clone());
    Ok(explained.as_array().into_iter().flatten().map(one).collect::<serde_json::Map<_, _>>().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_limit_says_whom_it_counts() -> Result<()> {
    for (per, words) in [
        ("caller", "Not done: you reached the limit `few`."),
        ("tenant", "Not done: your tenant reached the limit `few`."),
        ("caller_tool", "Not done: your calls of raw__get reached the limit `few`."),
        ("tool", "Not done: the calls of raw__get by all callers reached the limit `few`."),
        ("downstream", "Not done: the calls to raw by all callers reached the limit `few`."),
    ] {
        let house = House::with(json!([{ "name": "few", "per": per, "rate": "1/h" }])).await?;
        ensure!(refused_by(&house.call("ann", "get").await?)?.is_none());
        let text = house.call("ann", "get").await?.result()?["content"][0]["text"].clone();
        let text = text.as_str().unwrap_or_default();
        ensure!(text.starts_with(words), "{text}");
        ensure!(text.contains("Nothing was sent. Try again in 3") && text.ends_with(" s."), "{text}");
    }
    Ok(())
}
