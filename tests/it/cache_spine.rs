//! The cache on the way of a call, in one process without Redis: what callers read of it, what the audit says, what the downstream hears.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Answer, Ask, TestRouter, open_house};
use tokio::sync::Notify;

/// A server that counts its calls in what it answers.
struct Counting {
    server: RawServer,
    /// While this is set it answers what nobody can use.
    breaks: Arc<AtomicBool>,
    /// Lets one call of `slow` go on.
    go_on: Arc<Notify>,
}

impl Counting {
    async fn start() -> Result<Self> {
        let (breaks, go_on) = (Arc::<AtomicBool>::default(), Arc::<Notify>::default());
        let (broken, waits, count) = (breaks.clone(), go_on.clone(), AtomicUsize::new(0));
        let server = RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
            Some("tools/list") => {
                let properties = json!({ "n": { "type": "integer" }, "text": { "type": "string" } });
                let schema = json!({ "type": "object", "properties": properties });
                let names = ["get", "set", "undeclared", "fails", "asks", "slow", "mine", "about"];
                let tools: Vec<_> = names.iter().map(|name| json!({ "name": name, "inputSchema": schema })).collect();
                Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
            }
            Some("tools/call") if broken.load(Ordering::Acquire) => Some(vec![Action::result(message, "5")]),
            Some("tools/call") => {
                let count = count.fetch_add(1, Ordering::AcqRel) + 1;
                let counted = format!(
                    r#"{{"content":[{{"type":"text","text":"{count}"}}],"resultType":"complete", "structuredContent":{{"count":{count} }}}}"#
                );
                Some(match message.tool()?.as_str() {
                    "fails" => vec![Action::result(message, r#"{"content":[],"isError":true}"#)],
                    "asks" => vec![Action::result(
                        message,
                        &json!({ "resultType": "input_required", "requestState": count.to_string() }).to_string(),
                    )],
                    "slow" => vec![Action::Wait(waits.clone()), Action::result(message, &counted)],
                    _ => vec![Action::result(message, &counted)],
                })
            }
            _ => None,
        })
        .await?;
        Ok(Self { server, breaks, go_on })
    }

    fn calls(&self) -> Vec<Value> {
        let calls = self.server.received().into_iter().filter(|message| message.tool().is_some());
        calls.filter_map(|message| serde_json::from_str(message.params.as_deref()?).ok()).collect()
    }

    /// A router in front of it, with these settings of its tools.
    async fn router(&self, tools: Value) -> Result<TestRouter> {
        self.router_with(tools, json!({})).await
    }

    /// The same, with this section `cache`.
    async fn router_with(&self, tools: Value, cache: Value) -> Result<TestRouter> {
        let mut config = open_house(&[("raw", &self.server.url)]);
        config["downstreams"]["raw"]["effects"] =
            json!([{ "match": "set", "effect": "write" }, { "match": "*", "effect": "read" }]);
        config["downstreams"]["raw"]["tools"] = tools;
        config["cache"] = cache;
        TestRouter::ready(&config.to_string()).await
    }
}

/// What the cache was to the calls so far, the oldest first.
async fn outcomes(router: &TestRouter) -> Result<Vec<String>> {
    let mut records = router.records().await?;
    records.reverse();
    Ok(records.iter().map(|record| record["cache"].as_str().unwrap_or_default().to_owned()).collect())
}

fn count(result: &Value) -> Option<u64> {
    result["structuredContent"]["count"].as_u64()
}

async fn plain(router: &TestRouter, tool: &str, arguments: &Value) -> Result<Answer> {
    let body = json!({ "name": tool, "arguments": arguments }).to_string();
    router.send(Method::POST, "/v1/tools/call", &[("content-type", "application/json")], body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_answer_says_so_on_both_surfaces_and_in_both_eras() -> Result<()> {
    let counting = Counting::start().await?;
    let router = counting.router(json!({ "get": { "cache": { "fresh_for": "10m", "tags": ["thing:{n}"] } } })).await?;
    let call = Ask::call("raw__get", json!({ "n": 1 }));
    let first = router.ask(&call).await?.result()?;
    ensure!(count(&first) == Some(1) && first["_meta"].get("weir/cache").is_none(), "{first}");

    let again = router.ask(&Ask::call("raw__get", json!({ "n": 1.0 })).token("mine")).await?.text;
    ensure!(again.contains(r#""resultType":"complete","content""#), "{again}");
    ensure!(again.contains(r#", "structuredContent":{"count":1 }}"#), "its bytes stay: {again}");
    let again = router.ask(&call).await?.result()?;
    let mark = &again["_meta"]["weir/cache"];
    ensure!(mark["state"] == "fresh" && mark["age_ms"].is_u64() && mark["reason"].is_null(), "{again}");
    ensure!(mark["fetched_at"].as_str().context("a time")?.ends_with('Z') && again["content"] == first["content"]);

    let session = router.session(None, "2025-06-18").await?;
    let legacy = Ask::legacy_call("raw__get", &json!({ "n": 1e0 })).session(&session);
    let legacy = router.ask(&legacy).await?.result()?;
    ensure!(legacy.get("resultType").is_none() && legacy["_meta"]["weir/cache"]["state"] == "fresh", "{legacy}");

    let plain = plain(&router, "raw__get", &json!({ "n": 1 })).await?.json()?;
    ensure!(plain["_meta"]["weir/cache"]["state"] == "fresh" && plain["result"].get("_meta").is_none(), "{plain}");
    ensure!(plain["status"] == "ok" && count(&plain["result"]) == Some(1), "{plain}");

    ensure!(counting.calls().len() == 1, "{:?}", counting.calls());
    ensure!(outcomes(&router).await? == ["miss", "hit_local", "hit_local", "hit_local", "hit_local"]);
    let metrics = router.admin("/metrics").await?.text;
    for line in [
        r#"weir_cache_requests_total{tool="raw__get",result="hit_local"} "#,
        "weir_cache_entries ",
        "weir_cache_bytes ",
    ] {
        ensure!(metrics.contains(line), "{line}: {metrics}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_answer_says_in_one_sentence_how_old_it_is_and_why() -> Result<()> {
    let counting = Counting::start().await?;
    let router = counting
        .router(json!({
            "get": { "cache": { "fresh_for": "1ms", "stale_on_error": "10m", "tags": ["thing:{n}"] } },
            "about": { "cache": { "fresh_for": "1ms", "stale_while_refreshing": "10m", "tags": ["thing:{n}"] } },
        }))
        .await?;
    let call = |tool: &str| Ask::call(&format!("raw__{tool}"), json!({ "n": 1 }));
    for tool in ["get", "about"] {
        router.ask(&call(tool)).await?.result()?;
    }
    let refreshed = tests::until("it is no longer fresh", async || {
        let answer = router.ask(&call("about")).await?.result()?;
        Ok((answer["_meta"]["weir/cache"]["state"] == "stale_while_refreshing").then_some(answer))
    })
    .await?;
    let told = refreshed["content"][1]["text"].as_str().context("a second text")?;
    ensure!(told.starts_with("This is from ") && told.ends_with(" old): it is being fetched again."), "{told}");

    counting.breaks.store(true, Ordering::Release);
    let answer = router.ask(&call("get")).await?.result()?;
    let (mark, texts) = (&answer["_meta"]["weir/cache"], &answer["content"]);
    ensure!(mark["state"] == "stale_on_error" && mark["reason"] == "what raw answers now cannot be used", "{answer}");
    ensure!(texts[0]["text"] == "1" && texts.as_array().is_some_and(|texts| texts.len() == 2), "{answer}");
    ensure!(
        texts[1]["text"].as_str().is_some_and(|told| told.ends_with(" old): what raw answers now cannot be used.")),
        "{answer}"
    );
    ensure!(answer["structuredContent"] == json!({ "count": 1 }), "{answer}");
    let plain = plain(&router, "raw__get", &json!({ "n": 1 })).await?.json()?;
    ensure!(plain["result"]["content"][1] == texts[1] || plain["result"]["content"][1]["type"] == "text", "{plain}");
    ensure!(plain["_meta"]["weir/cache"]["state"] == "stale_on_error", "{plain}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_past_the_cache_does_so_by_a_name() -> Result<()> {
    let counting = Counting::start().await?;
    let cache = json!({ "cache": { "fresh_for": "10m", "tags": ["things:all"] } });
    let router = counting
        .router(json!({
            "get": cache, "fails": cache, "asks": cache,
            "set": { "invalidates": ["things:all"] },
            "mine": { "cache": { "fresh_for": "10m", "partition": "token" } },
            "about": { "cache": { "fresh_for": "10m", "tags": ["thing:{n}"] } },
        }))
        .await?;
    let further = Ask::call("raw__get", json!({})).change(|body| body["params"]["requestState"] = json!("s"));
    let rows = [
        (Ask::call("raw__set", json!({})), "bypass_write"),
        (Ask::call("raw__undeclared", json!({})), "bypass_not_declared"),
        (Ask::call("raw__mine", json!({})), "bypass_no_credential"),
        (further, "bypass_further_parameters"),
        (Ask::call("raw__get", json!({ "text": "x".repeat(70_000) })), "bypass_arguments"),
        (Ask::call("raw__about", json!({})), "bypass_tag_unresolved"),
        (Ask::call("raw__fails", json!({})), "miss"),
        (Ask::call("raw__asks", json!({})), "miss"),
    ];
    for (ask, _) in rows.iter().chain(&rows) {
        let answer = router.ask(ask).await?;
        ensure!(!answer.text.contains("weir/cache"), "{}", answer.text);
    }
    let expected: Vec<&str> = rows.iter().chain(&rows).map(|(_, name)| *name).collect();
    ensure!(outcomes(&router).await? == expected, "{:?}", outcomes(&router).await?);
    ensure!(counting.calls().len() == expected.len(), "each of them was asked anew");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_ends_what_it_changes_and_nothing_else() -> Result<()> {
    let counting = Counting::start().await?;
    let router = counting
        .router(json!({
            "get": { "cache": { "fresh_for": "10m", "tags": ["thing:{n}"] } },
            "set": { "invalidates": ["thing:{n}"] },
        }))
        .await?;
    let get = |n: u64| Ask::call("raw__get", json!({ "n": n }));
    for n in [1, 2, 1, 2] {
        router.ask(&get(n)).await?.result()?;
    }
    let before = counting.calls().len();
    router.ask(&Ask::call("raw__set", json!({ "n": 1 }))).await?.result()?;
    let (changed, other) = (router.ask(&get(1)).await?.result()?, router.ask(&get(2)).await?.result()?);
    ensure!(before == 2 && count(&changed) == Some(4) && count(&other) == Some(2), "{changed} {other}");
    counting.breaks.store(true, Ordering::Release);
    let unknown = router.ask(&Ask::call("raw__set", json!({ "n": 2 }))).await?.result()?;
    ensure!(unknown["_meta"]["weir/operation_id"].is_string(), "its outcome is unknown: {unknown}");
    counting.breaks.store(false, Ordering::Release);
    let after = router.ask(&get(2)).await?.result()?;
    ensure!(count(&after) > Some(4), "a write that may have happened ends it too: {after}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_outlives_who_began_it_and_carries_nothing_of_him() -> Result<()> {
    let counting = Counting::start().await?;
    let router = counting.router(json!({ "slow": { "deadline": "20s", "cache": { "fresh_for": "10m" } } })).await?;
    let impatient = Ask::call("raw__slow", json!({ "n": 1 })).change(|body| {
        body["params"]["_meta"]["weir/deadline_ms"] = json!(50);
        body["params"]["_meta"]["com.example/whim"] = json!("canary-5531");
        body["params"]["_meta"]["traceparent"] = json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        body["params"]["_meta"]["tracestate"] = json!("vendor=canary-5531");
    });
    let told = router.ask(&impatient).await?.result()?;
    let text = told["content"][0]["text"].as_str().context("a text")?;
    ensure!(told["isError"] == true && text.contains("It is still being asked"), "{told}");
    let patient = Ask::call("raw__slow", json!({ "n": 1 }));
    let (other, ()) = tokio::join!(router.ask(&patient), async { counting.go_on.notify_one() });
    ensure!(count(&other?.result()?) == Some(1), "the same fetch");
    let later = router.ask(&patient).await?.result()?;
    ensure!(later["_meta"]["weir/cache"]["state"] == "fresh", "{later}");
    let calls = counting.calls();
    ensure!(calls.len() == 1 && !calls[0].to_string().contains("canary"), "{calls:?}");
    ensure!(calls[0].to_string().contains("4bf92f3577b34da6a3ce929d0e0e4736"), "it stands in the trace: {calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_for_a_moment_leaves_answers_as_they_are() -> Result<()> {
    let counting = Counting::start().await?;
    let router = counting.router(json!({ "get": { "cache": { "fresh_for": "10m" } } })).await?;
    let get = Ask::call("raw__get", json!({ "n": 1 }));
    router.ask(&get).await?.result()?;
    let lists = |all: &[Incoming]| all.iter().filter(|message| message.method.as_deref() == Some("tools/list")).count();
    let before = lists(&counting.server.received());
    counting.server.drop_connections();
    counting.server.wait_until(|all| lists(all) > before).await?;
    let answer = router.ask(&get).await?.result()?;
    ensure!(answer["_meta"]["weir/cache"]["state"] == "fresh" && count(&answer) == Some(1), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_fetches_that_may_run_a_call_goes_to_the_downstream_by_itself() -> Result<()> {
    let counting = Counting::start().await?;
    let cached = json!({ "deadline": "20s", "cache": { "fresh_for": "10m" } });
    let router = counting.router_with(json!({ "slow": cached, "get": cached }), json!({ "fetches_max": 1 })).await?;
    let slow = Ask::call("raw__slow", json!({ "n": 1 }));
    let held = async {
        counting.server.wait_until(|all| all.iter().any(|message| message.tool().is_some())).await?;
        let answers = [(); 2].map(|()| Ask::call("raw__get", json!({ "n": 1 })));
        let mut counts = Vec::new();
        for ask in &answers {
            counts.push(count(&router.ask(ask).await?.result()?));
        }
        counting.go_on.notify_one();
        anyhow::Ok(counts)
    };
    let (first, counts) = tokio::join!(router.ask(&slow), held);
    ensure!(count(&first?.result()?) == Some(1) && counts? == [Some(2), Some(3)], "each for itself, and none refused");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_strict_writes_are_refused_and_everything_else_says_what_it_lacks() -> Result<()> {
    let (counting, dir) = (Counting::start().await?, tempfile::tempdir()?);
    tests::private_file(dir.path().join("master"), "k3J9-vQ2x_8Lw0ZrT5yB7nHd6fGs1aPe")?;
    // Nobody listens on the port of a listener that is gone.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    tests::private_file(dir.path().join("redis"), format!("redis://{nobody}"))?;
    let mut config = open_house(&[("raw", &counting.server.url)]);
    config["secrets"] = json!({ "master": { "file": "master" } });
    config["redis"] = json!({ "url": { "file": "redis" } });
    config["cache"] = json!({ "strict": ["thing"] });
    let raw = &mut config["downstreams"]["raw"];
    raw["effects"] = json!([{ "match": "set", "effect": "write" }, { "match": "*", "effect": "read" }]);
    raw["tools"] = json!({
        "get": { "cache": { "fresh_for": "10m", "tags": ["thing:{n}"] } },
        "about": { "cache": { "fresh_for": "10m", "tags": ["other:{n}"] } },
        "set": { "invalidates": ["thing:{n}"] },
    });
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let one = json!({ "n": 1 });
    for tool in ["get", "about"] {
        let answer = router.ask(&Ask::call(&format!("raw__{tool}"), one.clone())).await?.result()?;
        ensure!(answer["isError"] != true && answer["_meta"].get("weir/cache").is_none(), "{answer}");
    }
    let again = router.ask(&Ask::call("raw__about", one.clone())).await?.result()?;
    let mark = &again["_meta"]["weir/cache"];
    ensure!(mark["state"] == "fresh" && mark["reason"].as_str().is_some_and(|why| why.contains("Redis")), "{again}");
    ensure!(again["content"].as_array().is_some_and(|texts| texts.len() == 1), "it is not stale: {again}");

    let before = counting.calls().len();
    let refused = router.ask(&Ask::call("raw__set", one.clone())).await?.result()?;
    let text = refused["content"][0]["text"].as_str().context("a text")?;
    ensure!(refused["isError"] == true && text.contains("Nothing was sent. Try again in 2 s."), "{refused}");
    ensure!(refused["_meta"]["weir/limit"]["retry_after_ms"] == 2000, "{refused}");
    let refused = plain(&router, "raw__set", &one).await?;
    ensure!(refused.status == 503 && refused.headers["retry-after"] == "2", "{refused:?}");
    ensure!(refused.json()?["outcome"] == "unannounced" && counting.calls().len() == before, "{refused:?}");
    let expected = ["bypass_redis_gone_strict", "miss", "hit_local", "bypass_write", "bypass_write"];
    ensure!(outcomes(&router).await? == expected, "{:?}", outcomes(&router).await?);
    Ok(())
}
