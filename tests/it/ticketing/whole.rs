//! The whole router in front of a ticketing service that pages, limits, breaks, and keeps a ledger of what was written.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    mcp::{McpOptions, McpServer, Running, Tools},
    tickets::{LedgerEntry, TICKETS, Tickets, TicketsOptions, Trouble, TroubleKind, What},
};
use tests::{TestRouter, harness};

use super::TOKEN;

/// A ticketing service, another system beside it, and a router in front of both.
struct Scene {
    tickets: Tickets,
    router: TestRouter,
    _beside: (McpServer, Running),
}

impl Scene {
    async fn new(settings: Value, downstream: Value) -> Result<Self> {
        let options = TicketsOptions { token: Some(TOKEN.to_owned()), page_max: 30, ..TicketsOptions::default() };
        let tickets = Tickets::start("127.0.0.1:0", options).await?;
        let server = McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let mut config = tests::open_house(&[("pay", &running.url)]);
        let credential = json!({ "basic": { "user": "bot@example.com", "password": { "file": "token" } } });
        let mut ticketing = json!({ "provider": "jira", "base_url": tickets.url, "credential": credential });
        let mut of_tickets = downstream;
        for (key, value) in settings.as_object().into_iter().flatten() {
            ticketing[key] = value.clone();
        }
        of_tickets["ticketing"] = ticketing;
        config["downstreams"]["tickets"] = of_tickets;
        let dir = tempfile::tempdir()?;
        tests::private_file(dir.path().join("token"), TOKEN)?;
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        let scene = Self { tickets, router, _beside: (server, running) };
        scene.until("up").await?;
        Ok(scene)
    }

    /// Waits until the service is in this state, so that no probe takes the place of what a test asks.
    async fn until(&self, health: &str) -> Result<()> {
        let holds = |all: &Value| {
            all.as_array().into_iter().flatten().any(|one| one["name"] == "tickets" && one["health"] == health)
        };
        self.router.downstreams_until(holds).await.map(drop)
    }

    async fn ask(&self, tool: &str, arguments: Value) -> Result<Value> {
        self.router.call(None, &format!("tickets__{tool}"), arguments).await?.result()
    }

    /// The structured content of a call that went well.
    async fn call(&self, tool: &str, arguments: Value) -> Result<Value> {
        let result = self.ask(tool, arguments).await?;
        ensure!(result["isError"] != true, "{result}");
        Ok(result["structuredContent"].clone())
    }

    /// What is said of a call that failed.
    async fn refused(&self, tool: &str, arguments: Value) -> Result<String> {
        let result = self.ask(tool, arguments).await?;
        ensure!(result["isError"] == true, "{result}");
        Ok(text_of(&result))
    }

    fn ledger(&self) -> Vec<LedgerEntry> {
        self.tickets.seen().ledger
    }
}

fn text_of(result: &Value) -> String {
    result["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

fn once(kind: TroubleKind) -> Trouble {
    Trouble { kind: Some(kind), next: 1, ..Trouble::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_does_its_work_and_every_write_stands_in_the_ledger_once() -> Result<()> {
    let scene = Scene::new(json!({ "projects": ["SUP"] }), json!({})).await?;
    let created = scene
        .call("create_ticket", json!({
            "title": "Zeppelin \"landed\" twice", "description": "It is there:\n\n- once\n- https://a.example/x\n\nTwice.",
            "priority": "High", "labels": ["vip"],
        }))
        .await?;
    let id = created["id"].as_str().context("an id")?;
    ensure!(
        created["status"] == "To Do" && created["status_category"] == "open" && created["type"] == "Task",
        "{created}"
    );
    ensure!(created["url"] == format!("{}/browse/{id}", scene.tickets.url), "{created}");

    let found = scene.call("search_tickets", json!({ "text": "zeppelin (twice)", "status": "open" })).await?;
    ensure!(
        found["tickets"].as_array().is_some_and(|all| all.len() == 1) && found["tickets"][0]["id"] == id,
        "{found}"
    );
    let moved =
        scene.call("update_ticket_status", json!({ "id": id, "status": "in_progress", "comment": "On it." })).await?;
    ensure!(moved["changed"] == true && moved["previous_status"] == "To Do", "{moved}");
    ensure!(moved["status"] == "In Progress" && moved["comment"]["text"] == "On it.", "{moved}");
    let impossible = scene.refused("update_ticket_status", json!({ "id": id, "status": "Closed" })).await?;
    ensure!(impossible.contains("can go to `To Do`, `Done` from there"), "{impossible}");
    let comment = scene.call("add_comment", json!({ "id": id, "text": "1. one\n2. two" })).await?;
    ensure!(comment["id"] == id && comment["comment"]["text"] == "1. one\n2. two", "{comment}");

    let read = scene.call("get_ticket", json!({ "id": id })).await?;
    ensure!(read["description"] == "It is there:\n\n- once\n- https://a.example/x\n\nTwice.", "{read}");
    let texts: Vec<_> =
        read["comments"].as_array().into_iter().flatten().map(|comment| comment["text"].clone()).collect();
    ensure!(texts == ["On it.", "1. one\n2. two"] && read["comments_total"] == 2, "{read}");

    let ledger = scene.ledger();
    let done: Vec<_> = ledger.iter().map(|entry| (entry.key.as_str(), &entry.what)).collect();
    let transition = What::Transitioned { from: "To Do".to_owned(), to: "In Progress".to_owned() };
    ensure!(
        done == [(id, &What::Created), (id, &transition), (id, &What::Commented), (id, &What::Commented)],
        "{ledger:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_can_be_followed_to_its_end() -> Result<()> {
    let scene = Scene::new(json!({}), json!({})).await?;
    for (search, limit) in [(json!({ "updated_since": "2000-01-01" }), 100), (json!({ "project": "OPS" }), 7)] {
        let (mut ids, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
        loop {
            let mut arguments = search.clone();
            arguments["limit"] = json!(limit);
            if let Some(cursor) = cursor {
                arguments["cursor"] = cursor;
            }
            let page = scene.call("search_tickets", arguments).await?;
            let tickets = page["tickets"].as_array().context("tickets")?;
            ensure!(tickets.len() <= limit && (tickets.len() == limit.min(30) || page.get("next_cursor").is_none()));
            for ticket in tickets {
                ensure!(ids.insert(ticket["id"].to_string()), "{} came twice", ticket["id"]);
            }
            pages += 1;
            match page.get("next_cursor") {
                Some(next) => cursor = Some(next.clone()),
                None => break,
            }
        }
        let all_of_ops = ids.iter().all(|id| id.starts_with("\"OPS-"));
        ensure!(
            if limit == 7 { all_of_ops && pages > 3 } else { ids.len() == TICKETS && pages == 7 },
            "{} in {pages}",
            ids.len()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_told_with_its_wait_and_the_call_goes_well_after_it() -> Result<()> {
    let scene = Scene::new(json!({}), json!({})).await?;
    scene.tickets.limit_next(1, 1, "jira-quota-tenant-based");
    let told = scene.refused("create_ticket", json!({ "title": "t", "project": "SUP" })).await?;
    ensure!(
        told.contains("(jira-quota-tenant-based)") && told.contains("Nothing was done; try again in 1 s"),
        "{told}"
    );
    harness::until("the wait is over", async || {
        let result = scene.ask("create_ticket", json!({ "title": "t", "project": "SUP" })).await?;
        Ok((result["isError"] != true).then_some(()))
    })
    .await?;
    let seen = scene.tickets.seen();
    ensure!(seen.limited == 1 && seen.ledger.len() == 1, "{:#?}", seen.ledger);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_was_sent_once_and_is_found_by_its_mark_or_unknown() -> Result<()> {
    for (kind, marks) in [
        (TroubleKind::ResetBeforeAnswer, false),
        (TroubleKind::ResetAfterHead, false),
        (TroubleKind::ResetBeforeAnswer, true),
        (TroubleKind::ResetAfterHead, true),
    ] {
        let scene = Scene::new(json!({ "duplicate_label": marks }), json!({})).await?;
        let id = "SUP-1";
        let before = scene.call("get_ticket", json!({ "id": id })).await?;
        for (tool, arguments, wanted) in [
            ("create_ticket", json!({ "title": "Only once", "project": "SUP" }), What::Created),
            ("add_comment", json!({ "id": id, "text": "Only once" }), What::Commented),
        ] {
            let written = scene.ledger().len();
            scene.tickets.trouble(once(kind));
            let result = scene.ask(tool, arguments).await?;
            let (text, operation) =
                (text_of(&result), result["_meta"]["weir/operation_id"].as_str().unwrap_or_default());
            let in_doubt = text.starts_with(&format!("The outcome of tickets__{tool} is unknown"));
            ensure!((result["isError"] == true && in_doubt) != marks, "{marks}: {result}");
            let ledger = scene.ledger();
            ensure!(ledger.len() == written + 1 && ledger[written].what == wanted, "{ledger:#?}");
            if !marks {
                ensure!(tool != "create_ticket" || text.contains("look for its title"), "{text}");
            } else if tool == "create_ticket" {
                let mark = format!("weir-{operation}");
                ensure!(result["structuredContent"]["labels"] == json!([mark]), "{result}");
                let found = scene.call("search_tickets", json!({ "text": mark })).await?;
                let all = found["tickets"].as_array().context("tickets")?;
                ensure!(
                    all.len() == 1 && all[0]["title"] == "Only once" && all[0]["id"] == ledger[written].key,
                    "{found}"
                );
            }
        }
        let after = scene.call("get_ticket", json!({ "id": id })).await?;
        let total = |ticket: &Value| ticket["comments_total"].as_u64();
        ensure!(total(&after) == total(&before).map(|total| total + 1), "{after}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_service_is_told_as_dead_and_everything_else_answers() -> Result<()> {
    let scene = Scene::new(json!({}), json!({})).await?;
    let names = async || -> Result<BTreeSet<String>> {
        let list = scene.router.modern(None, "tools/list", json!({})).await?.result()?;
        let tools = list["tools"].as_array().context("tools")?;
        Ok(tools.iter().map(|tool| tool["name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    let before = names().await?;
    ensure!(before.iter().filter(|name| name.starts_with("tickets__")).count() == 5, "{before:?}");
    scene.tickets.refuse(true).await?;
    scene.tickets.drop_connections();
    for (tool, arguments) in
        [("get_ticket", json!({ "id": "SUP-1" })), ("add_comment", json!({ "id": "SUP-1", "text": "t" }))]
    {
        let told = scene.refused(tool, arguments).await?;
        ensure!(told.starts_with(&format!("tickets__{tool} gave no result. tickets cannot be reached")), "{told}");
        ensure!(!told.contains("127.0.0.1"), "{told}");
    }
    scene.until("down").await?;
    ensure!(names().await? == before, "a list without its tools");
    let echo = scene.router.call(None, "pay__echo", json!({ "token": "t" })).await?.result()?;
    ensure!(echo["isError"] != true, "{echo}");

    scene.tickets.refuse(false).await?;
    scene.until("up").await?;
    scene.call("get_ticket", json!({ "id": "SUP-1" })).await?;
    ensure!(scene.ledger().is_empty(), "{:#?}", scene.ledger());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_end_well_is_cut() -> Result<()> {
    let settings = json!({ "attempt_timeout": "600ms", "idle_timeout": "200ms", "answer_bytes_max": "256KiB" });
    let scene = Scene::new(settings, json!({ "retries": { "attempts_max": 1 } })).await?;
    for (kind, wanted) in [
        (TroubleKind::StopAfterHead, "no whole answer"),
        (TroubleKind::Trickle, "no whole answer"),
        (TroubleKind::Endless, "too large"),
        (TroubleKind::Garbage, "is not what Jira Cloud answers"),
        (TroubleKind::Status(503), "failed with HTTP 503"),
    ] {
        scene.tickets.trouble(once(kind));
        let started = tokio::time::Instant::now();
        let told = scene.refused("search_tickets", json!({ "project": "SUP" })).await?;
        ensure!(told.contains(wanted), "{kind:?}: {told}");
        ensure!(started.elapsed() < std::time::Duration::from_millis(1_500), "{kind:?}: {:?}", started.elapsed());
        scene
            .call("search_tickets", json!({ "project": "SUP", "limit": 1 }))
            .await
            .with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_jira_refuses_is_told_in_its_words() -> Result<()> {
    let scene = Scene::new(json!({ "projects": ["SUP"] }), json!({})).await?;
    for id in ["SUP-99999", "OPS-1"] {
        let told = scene.refused("get_ticket", json!({ "id": id })).await?;
        ensure!(told.starts_with("tickets has no such ticket"), "{told}");
    }
    let rows = [
        ("create_ticket", json!({ "title": "t", "type": "Zeppelin" }), "type: Specify a valid issue type"),
        (
            "search_tickets",
            json!({ "status": "Zeppelin" }),
            "The value 'Zeppelin' does not exist for the field 'status'",
        ),
        ("search_tickets", json!({ "assignee": "no\"body" }), "The value 'no\"body' does not exist"),
    ];
    for (tool, arguments, wanted) in rows {
        let told = scene.refused(tool, arguments).await?;
        ensure!(told.starts_with(&format!("tickets__{tool} was refused: ")) && told.contains(wanted), "{told}");
    }
    // What the schemas say is judged before anything is asked.
    let asked = scene.tickets.seen().requests.len();
    for (tool, arguments) in [
        ("search_tickets", json!({ "limit": 1000 })),
        ("search_tickets", json!({ "query": "x" })),
        ("create_ticket", json!({ "title": "t", "description": "x".repeat(32_768) })),
        ("create_ticket", json!({ "title": "t", "project": "OPS" })),
        ("add_comment", json!({ "id": "SUP-1" })),
    ] {
        let told = scene.refused(tool, arguments).await?;
        ensure!(told.starts_with(&format!("The arguments do not fit tickets__{tool}.")), "{told}");
    }
    ensure!(scene.tickets.seen().requests.len() == asked && scene.ledger().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_tools_are_chosen_and_described_by_the_config() -> Result<()> {
    let downstream = json!({
        "expose": "listed",
        "tools": { "get_ticket": { "description": "Ours." }, "search_tickets": { "effect": "idempotent_write" } },
    });
    let scene = Scene::new(json!({}), downstream).await?;
    let list = scene.router.modern(None, "tools/list", json!({})).await?.result()?;
    let all = list["tools"].as_array().context("tools")?;
    let ours: Vec<_> =
        all.iter().filter(|tool| tool["name"].as_str().is_some_and(|name| name.starts_with("tickets__"))).collect();
    let [get, search] = ours[..] else { anyhow::bail!("{ours:?}") };
    ensure!(get["description"] == "Ours." && get["annotations"]["readOnlyHint"] == true, "{get}");
    ensure!(
        search["annotations"]["idempotentHint"] == true && search["annotations"]["readOnlyHint"] == false,
        "{search}"
    );
    ensure!(get["inputSchema"]["additionalProperties"] == false && get["outputSchema"]["type"] == "object", "{get}");
    Ok(())
}
