//! What the head and the body of an answer say of limits.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;
use sfv::{BareItem, List, ListEntry, Parser};
use tests::{Answer, Ask};

use super::{House, ensure_bites, header, refused_by, wait_ms};

/// A name with its parameters, which are whole numbers.
type Named = (String, Vec<(String, i64)>);

/// The items of a header that is a list of Structured Fields.
fn items(answer: &Answer, name: &str) -> Result<Vec<Named>> {
    let list: List = Parser::new(header(answer, name)?).parse().map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    let item = |entry: ListEntry| -> Result<_> {
        let ListEntry::Item(item) = entry else { anyhow::bail!("an inner list") };
        let BareItem::String(text) = item.bare_item else { anyhow::bail!("no string") };
        let parameter = |(key, value): (sfv::Key, BareItem)| -> Result<_> {
            let BareItem::Integer(number) = value else { anyhow::bail!("no whole number") };
            Ok((key.to_string(), i64::from(number)))
        };
        Ok((text.to_string(), item.params.into_iter().map(parameter).collect::<Result<_>>()?))
    };
    list.into_iter().map(item).collect()
}

fn is(answer: &Answer, name: &str, expected: &[(&str, &[(&str, i64)])]) -> Result<()> {
    let own = |&(name, parameters): &(&str, &[(&str, i64)])| {
        (name.to_owned(), parameters.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect::<Vec<_>>())
    };
    let (found, expected) = (items(answer, name)?, expected.iter().map(own).collect::<Vec<_>>());
    ensure!(found == expected, "{name}: {found:?}, not {expected:?}");
    Ok(())
}

async fn plain(house: &House, who: &str) -> Result<Answer> {
    let authorization = format!("Bearer {}", house.key(who));
    let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
    house.router.send(Method::POST, "/v1/tools/call", &headers, json!({ "name": "raw__get" }).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_tells_what_is_left_and_what_was_reached_on_both_surfaces() -> Result<()> {
    let limits = json!([
        { "name": "of-caller", "per": "caller", "rate": "3/d" },
        { "name": "of-tenant", "per": "tenant", "rate": "1000/d", "burst": 50 },
        { "name": "of-raw", "per": "downstream", "rate": "4/d" },
    ]);
    let policy: [(&str, &[(&str, i64)]); 2] =
        [("of-caller", &[("q", 3), ("w", 86_400)]), ("of-tenant", &[("q", 1000), ("w", 86_400), ("burst", 50)])];
    for over_mcp in [true, false] {
        let house = House::with(limits.clone()).await?;
        let call = async |who: &str| if over_mcp { house.call(who, "get").await } else { plain(&house, who).await };
        for left in [2, 1, 0] {
            let answer = call("ann").await?;
            ensure!(answer.status == 200 && !answer.headers.contains_key("retry-after"), "{answer:?}");
            is(&answer, "ratelimit-policy", &policy)?;
            let of_caller = &items(&answer, "ratelimit")?[0];
            ensure!(of_caller.0 == "of-caller" && of_caller.1[0] == ("r".to_owned(), left), "{of_caller:?}");
            // Each that was taken comes back in eight hours.
            let whole = (3 - left) * 28_800;
            let t = of_caller.1[1].1;
            ensure!(of_caller.1[1].0 == "t" && (whole - 60..=whole).contains(&t), "{of_caller:?}");
        }
        let refused = call("ann").await?;
        ensure!(refused.status == if over_mcp { 200 } else { 429 }, "{refused:?}");
        is(&refused, "ratelimit-policy", &policy[..1])?;
        let wait_ms = wait_ms(&refused)?;
        let retry_after: u64 = header(&refused, "retry-after")?.parse()?;
        ensure!(retry_after == wait_ms.div_ceil(1000) && retry_after > 28_000, "{refused:?}");
        let t = i64::try_from(retry_after)?;
        is(&refused, "ratelimit", &[("of-caller", &[("r", 0), ("t", t)])])?;

        // What the downstream's side refuses was charged on the caller's, and says both.
        ensure!(call("bob").await?.status == 200);
        let refused = call("bob").await?;
        let names: Vec<String> = items(&refused, "ratelimit")?.into_iter().map(|(name, _)| name).collect();
        ensure!(names == ["of-caller", "of-tenant", "of-raw"], "{names:?}");
        ensure!(items(&refused, "ratelimit-policy")?.len() == 3 && header(&refused, "retry-after").is_ok());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_limit_is_for_a_call_its_head_says_nothing() -> Result<()> {
    let house = House::with(json!([{ "name": "a", "match": "raw__list", "per": "caller", "rate": "3/d" }])).await?;
    let answer = house.call("ann", "get").await?;
    for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
        ensure!(!answer.headers.contains_key(name), "{answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_the_model_in_every_revision() -> Result<()> {
    let house = House::with(json!([{ "name": "one", "per": "caller", "rate": "1/d" }])).await?;
    ensure!(house.tries("ann", "get").await?.is_none());
    let key = house.key("ann");
    for ask in [Ask::call("raw__get", json!({})), Ask::legacy_call("raw__get", &json!({}))] {
        for accept in ["application/json", "application/json, text/event-stream"] {
            let answer = house.router.ask(&ask.clone().key(key).accept(accept)).await?;
            ensure!(answer.status == 200 && refused_by(&answer)?.as_deref() == Some("one"), "{answer:?}");
            ensure!(answer.headers.contains_key("retry-after"), "{answer:?}");
        }
    }
    ensure!(house.calls() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_long_as_it_is_told_is_let_through() -> Result<()> {
    let house = House::with(json!([{ "name": "quick", "per": "caller", "rate": "20/s", "burst": 1 }])).await?;
    let mut waited = 0;
    for _ in 0..200 {
        let answer = house.call("ann", "get").await?;
        if refused_by(&answer)?.is_none() {
            continue;
        }
        let (wait_ms, retry_after) = (wait_ms(&answer)?, header(&answer, "retry-after")?.parse::<u64>()?);
        ensure!(wait_ms <= 50 && retry_after * 1000 >= wait_ms, "{answer:?}");
        // The very wait is what is tested.
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        ensure!(house.tries("ann", "get").await?.is_none(), "after {wait_ms} ms");
        waited += 1;
    }
    ensure_bites(waited)
}
