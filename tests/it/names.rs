//! Names: every tool of every downstream has one of its own, which clients accept and which stays.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Tools},
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, open_house};

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_could_be_mistaken_for_each_other_are_told_apart() -> Result<()> {
    let downstreams: [(&str, &[&str]); 6] = [
        ("a", &["search", "b__c", "b__search", "__d", "-b__search"]),
        ("b", &["search", "c"]),
        ("a-b", &["search", "c", "_c"]),
        ("ab", &["search", "Search", "SEARCH"]),
        ("a-", &["b__search", "search"]),
        ("weird", &["a__search", "weir__next_page"]),
    ];
    let mut servers = Vec::new();
    for (name, tools) in downstreams {
        servers.push((name, speaker(name, tools.iter().map(|&tool| tool.to_owned()).collect()).await?));
    }
    let urls: Vec<_> = servers.iter().map(|(name, server)| (*name, server.url.as_str())).collect();
    let router = TestRouter::ready(&open_house(&urls).to_string()).await?;
    let names = every_name(&router).await?;
    let expected: BTreeSet<_> = downstreams
        .iter()
        .flat_map(|(name, tools)| {
            tools.iter().map(move |tool| (format!("{name}__{tool}"), (name.to_string(), tool.to_string())))
        })
        .collect();
    ensure!(names == expected.into_iter().collect(), "{names:?}");
    each_answers_for_itself(&router, &names).await?;
    for unknown in [
        "search",
        "a_search",
        "a__search__",
        "A__search",
        "ab__sEARCH",
        "a__",
        "__search",
        "b__b__search",
        "weir__next_page",
    ] {
        let answer = router.ask(&Ask::call(unknown, json!({}))).await?;
        ensure!(answer.error_code() == Some(-32602), "{unknown}: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_get_legal_ones_that_a_restart_keeps() -> Result<()> {
    let server = McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() });
    let running = server.websocket("127.0.0.1:0").await?;
    let config = open_house(&[("pay", &running.url)]).to_string();
    let router = TestRouter::ready(&config).await?;
    let names = every_name(&router).await?;
    for odd in
        ["dots.in.name", "slash/name", "a__b", "__leading", "ünïcode", "CaseTwin", "casetwin", standins::mcp::LONG_NAME]
    {
        let own = ("pay".to_owned(), odd.to_owned());
        let (shown, _) = names.iter().find(|(_, known)| **known == own).with_context(|| format!("{odd}: {names:?}"))?;
        let result = router.ask(&Ask::call(shown, json!({}))).await?.result()?;
        ensure!(result["content"][0]["text"] == odd, "{shown}: {result}");
    }
    router.stop().await;
    let again = TestRouter::ready(&config).await?;
    ensure!(every_name(&again).await? == names);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_guesses_aliases_cannot_make_two_tools_share_a_name() -> Result<()> {
    let mut tools = vec!["a.b".to_owned(), "a/b".to_owned()];
    // What the aliases are called is no secret, so each round takes all of them as legal names of its own.
    for round in 0..4 {
        let server = speaker("evil", tools.clone()).await?;
        let good = speaker("good", vec!["work".to_owned()]).await?;
        let urls = [("evil", &*server.url), ("good", &*good.url)];
        let router = TestRouter::ready(&open_house(&urls).to_string()).await?;
        let names = every_name(&router).await?;
        ensure!(names.len() == tools.len() + 1, "round {round}: {} tools, but {names:?}", tools.len());
        each_answers_for_itself(&router, &names).await?;
        let aliases = names.iter().filter(|(_, (_, local))| local == "a.b" || local == "a/b");
        let guessed: Vec<_> =
            aliases.filter_map(|(shown, _)| shown.strip_prefix("evil__").map(str::to_owned)).collect();
        tools.extend(guessed.into_iter().filter(|guess| !tools.contains(guess)).collect::<Vec<_>>());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_prefix_a_single_downstream_shows_its_own_names() -> Result<()> {
    let tools = ["work", "a__b", "weir__next_page", "weir", "dots.in"].map(str::to_owned).to_vec();
    let server = speaker("raw", tools).await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["names"] = json!({ "prefix": false });
    let router = TestRouter::ready(&config.to_string()).await?;
    let names = every_name(&router).await?;
    for plain in ["work", "a__b", "weir"] {
        ensure!(names.contains_key(plain), "{names:?}");
    }
    ensure!(names.len() == 5 && !names.keys().any(|name| name.starts_with("weir__")), "{names:?}");
    each_answers_for_itself(&router, &names).await
}

#[tokio::test(flavor = "multi_thread")]
async fn names_keep_to_the_length_that_the_config_allows() -> Result<()> {
    let tools: Vec<_> = (1..=70).map(|length| "x".repeat(length)).collect();
    let server = speaker("raw", tools).await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["names"] = json!({ "name_length_max": 40 });
    let router = TestRouter::ready(&config.to_string()).await?;
    let names = every_name(&router).await?;
    ensure!(names.len() == 70 && names.keys().all(|name| name.len() <= 40), "{names:?}");
    each_answers_for_itself(&router, &names).await
}

/// Shown names with downstream and local name; the list that callers get says the same, and clients would accept it.
async fn every_name(router: &TestRouter) -> Result<BTreeMap<String, (String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = router.admin("/admin/tools").await?.json()?;
    let lines = lines["tools"].as_array().context("tools")?;
    let known: BTreeMap<_, _> = lines
        .iter()
        .map(|line| (text(&line["name"]), (text(&line["downstream"]), text(&line["local_name"]))))
        .collect();
    ensure!(known.len() == lines.len(), "a name stands twice: {lines:?}");
    for line in lines {
        let formed = format!("{}__{}", text(&line["downstream"]), text(&line["local_name"]));
        ensure!(
            line["alias"] == true || text(&line["name"]) == formed || !formed.starts_with(&text(&line["name"])),
            "{line}"
        );
    }
    let list = router.ask(&Ask::modern("tools/list", json!({}))).await?.result()?;
    let shown: Vec<_> = list["tools"].as_array().context("tools")?.iter().map(|tool| text(&tool["name"])).collect();
    ensure!(shown.is_sorted() && shown.iter().eq(known.keys()), "{shown:?}");
    let legal = |name: &String| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    ensure!(shown.iter().all(legal), "{shown:?}");
    Ok(known)
}

/// Calls each tool; it answers with its downstream and local name.
async fn each_answers_for_itself(router: &TestRouter, names: &BTreeMap<String, (String, String)>) -> Result<()> {
    for (shown, (downstream, local)) in names {
        let answer = router.ask(&Ask::call(shown, json!({}))).await?;
        ensure!(answer.result()?["content"][0]["text"] == format!("{downstream}: {local}"), "{shown}: {answer:?}");
    }
    Ok(())
}

/// A server whose tools answer with the name of the downstream and their own.
async fn speaker(downstream: &str, tools: Vec<String>) -> Result<RawServer> {
    let downstream = downstream.to_owned();
    RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let tools: Vec<_> = tools.iter().map(|name| json!({ "name": name, "inputSchema": {} })).collect();
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => {
            let text = format!("{downstream}: {}", message.tool()?);
            Some(vec![Action::result(message, &json!({ "content": [{ "type": "text", "text": text }] }).to_string())])
        }
        _ => None,
    })
    .await
}
