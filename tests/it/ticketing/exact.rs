//! The adapter against a Jira of exact answers.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use adapters::{Adapter, AdapterEvent, ErrorClass, Health, Rejection, Reply, Sent};
use anyhow::{Context as _, Result, ensure};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::{
    contract::{context, until_state},
    harness,
};

use super::{
    PATIENCE, build, call, failure, request,
    script::{Heard, Say, Script, issue, usual},
};

pub(super) fn adapter(script: &Script, more: &Value) -> Result<Arc<dyn Adapter>> {
    build(&script.url, more, Path::new("."))
}

pub(super) fn is_write(heard: &Heard, what: &str) -> bool {
    heard.method == "POST" && heard.target.ends_with(what)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_caller_writes_gets_into_a_path() -> Result<()> {
    let script = Script::start(usual).await?;
    let adapter = adapter(&script, &json!({}))?;
    let hostile = [
        "../../admin",
        "%2e%2e%2f",
        "SUP-1?x=1",
        "SUP-1#",
        "SUP-1\r\nX-Y: z",
        "..;/",
        "\u{ff0e}\u{ff0e}/",
        "..",
        "SUP-1/transitions",
    ];
    for id in hostile {
        for (tool, more) in [
            ("get_ticket", json!({})),
            ("update_ticket_status", json!({ "status": "Done" })),
            ("add_comment", json!({ "text": "t" })),
        ] {
            let mut arguments = more;
            arguments["id"] = json!(id);
            let error = failure(&*adapter, &context(PATIENCE), tool, &arguments).await?;
            ensure!((error.class, error.sent) == (ErrorClass::InvalidArguments, Sent::No), "{id}: {error:?}");
        }
    }
    ensure!(script.asked().is_empty(), "{:?}", script.asked());
    call(&*adapter, "get_ticket", &json!({ "id": "sup-1" })).await?;
    ensure!(
        script.asked().iter().all(|asked| asked.starts_with("GET /rest/api/3/issue/SUP-1")),
        "{:?}",
        script.asked()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_has_the_same_shape_as_everywhere() -> Result<()> {
    let script = Script::start(|heard| match heard.target.as_str() {
        target if target.contains("/comment") => Say::Json(200, json!({ "total": 70, "comments": [
            { "id": "2", "author": { "displayName": "Ben" }, "created": "2026-11-22T09:00:00.000+0000",
              "body": { "type": "doc", "version": 1, "content": [{ "type": "paragraph", "content": [{ "type": "text", "text": "later" }] }] } },
            { "id": "1", "author": null, "created": "2026-11-22T08:00:00.000+0000", "body": null },
        ] })),
        _ => usual(heard),
    })
    .await?;
    let adapter = adapter(&script, &json!({ "site_url": "https://site.example/" }))?;
    let ticket = call(&*adapter, "get_ticket", &json!({ "id": "SUP-1" })).await?;
    let wanted = json!({
        "id": "SUP-1", "title": "Card declined", "status": "To Do", "status_category": "open", "type": "Task", "priority": "High",
        "assignee": null, "reporter": "Ann", "labels": ["cards"], "project": "SUP", "created_at": "2026-11-20T08:00:00Z",
        "updated_at": "2026-11-21T08:00:00Z", "url": "https://site.example/browse/SUP-1", "description": "It was declined.",
        "comments": [
            { "id": "1", "author": null, "text": "", "created_at": "2026-11-22T08:00:00Z" },
            { "id": "2", "author": "Ben", "text": "later", "created_at": "2026-11-22T09:00:00Z" },
        ],
        "comments_total": 70,
    });
    ensure!(ticket == wanted, "{ticket:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn long_comments_do_not_hide_their_ticket() -> Result<()> {
    let script = Script::start(|heard| match heard.target.as_str() {
        target if target.ends_with("maxResults=50") => {
            Say::Json(200, json!({ "comments": [], "x": "x".repeat(20 << 10) }))
        }
        target if target.ends_with("maxResults=5") => Say::Json(200, json!({ "comments": [], "total": 50 })),
        _ => usual(heard),
    })
    .await?;
    let adapter = adapter(&script, &json!({ "answer_bytes_max": "16KiB" }))?;
    let ticket = call(&*adapter, "get_ticket", &json!({ "id": "SUP-1" })).await?;
    ensure!(ticket["title"] == "Card declined" && ticket["comments_total"] == 50, "{ticket}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_outside_of_the_projects_is_not_there_even_under_a_key_inside() -> Result<()> {
    // The key of an issue that was moved leads to where it is now.
    let script = Script::start(|heard| match heard.target.as_str() {
        target if target.contains("/comment") || target.contains("/transitions") => usual(heard),
        target if target.contains("/issue/") => Say::Json(200, issue("SECRET-7", "SECRET")),
        target if target.ends_with("/jql") => {
            Say::Json(200, json!({ "issues": [issue("SECRET-7", "SECRET"), issue("SUP-2", "SUP")], "isLast": true }))
        }
        _ => usual(heard),
    })
    .await?;
    let adapter = adapter(&script, &json!({ "projects": ["SUP"] }))?;
    for (tool, arguments) in [
        ("get_ticket", json!({ "id": "SUP-7" })),
        ("update_ticket_status", json!({ "id": "SUP-7", "status": "Done" })),
        ("add_comment", json!({ "id": "SUP-7", "text": "t" })),
    ] {
        let reply = adapter.call(&context(PATIENCE), request(tool, &arguments)).await?;
        let Reply::NotFound(said) = reply else { anyhow::bail!("{tool}: {reply:?}") };
        ensure!(!String::from_utf8_lossy(&said).contains("SECRET"), "{tool}: {said:?}");
    }
    ensure!(script.writes() == 0, "{:?}", script.asked());
    let found = call(&*adapter, "search_tickets", &json!({ "status": "open" })).await?;
    ensure!(
        found["tickets"].as_array().is_some_and(|all| all.len() == 1) && found["tickets"][0]["id"] == "SUP-2",
        "{found}"
    );
    let error =
        failure(&*adapter, &context(PATIENCE), "create_ticket", &json!({ "title": "t", "project": "SECRET" })).await?;
    ensure!(error.class == ErrorClass::InvalidArguments && script.writes() == 0, "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ticket_carries_its_operation_and_is_shown_even_if_it_cannot_be_read_again() -> Result<()> {
    let script = Script::start(|heard| match heard.method.as_str() {
        "GET" if heard.target.contains("/issue/") => Say::Json(503, Value::Null),
        _ => usual(heard),
    })
    .await?;
    let (marked, plain) =
        (json!({ "default_project": "SUP" }), json!({ "projects": ["SUP"], "duplicate_label": false }));
    for settings in [&marked, &plain] {
        let adapter = adapter(&script, settings)?;
        let ctx = context(PATIENCE);
        let arguments = json!({ "title": "Card", "description": "one\n\n- two", "priority": "High", "labels": ["cards"], "type": "Bug" });
        let reply = adapter.call(&ctx, request("create_ticket", &arguments)).await?;
        let Reply::Complete(bytes) = reply else { anyhow::bail!("{reply:?}") };
        let ticket = serde_json::from_slice::<Value>(&bytes)?["structuredContent"].clone();
        let sent = script.seen().requests.iter().rfind(|heard| is_write(heard, "/issue")).context("a write")?.clone();
        let fields = &sent.body["fields"];
        let mut labels = vec!["cards".to_owned()];
        if settings == &marked {
            labels.push(format!("weir-{}", ctx.request_id));
        }
        ensure!(fields["labels"] == json!(labels) && ticket["labels"] == json!(labels), "{fields} {ticket}");
        ensure!(fields["project"]["key"] == "SUP" && fields["issuetype"]["name"] == "Bug", "{fields}");
        ensure!(fields["priority"]["name"] == "High" && fields["summary"] == "Card", "{fields}");
        ensure!(fields["description"]["content"][1]["type"] == "bulletList", "{fields}");
        ensure!(
            ticket["id"] == "SUP-1" && ticket["status"].is_null() && ticket["description"] == "one\n\n- two",
            "{ticket}"
        );
    }
    ensure!(script.writes() == 2, "{:?}", script.asked());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_of_a_write_is_told_with_what_to_do() -> Result<()> {
    let rows = [
        ("create_ticket", "/issue", json!({ "title": "t" }), "weir-"),
        ("add_comment", "/comment", json!({ "id": "SUP-1", "text": "t" }), "get_ticket before"),
        (
            "update_ticket_status",
            "/transitions",
            json!({ "id": "SUP-1", "status": "Done", "comment": "c" }),
            "no comment was added",
        ),
        (
            "update_ticket_status",
            "/comment",
            json!({ "id": "SUP-1", "status": "Done", "comment": "c" }),
            "`Done` now, which is certain",
        ),
    ];
    for say in [|| Say::Close, || Say::Json(500, Value::Null)] {
        for (tool, broken, arguments, wanted) in &rows {
            let broken = *broken;
            let script = Script::start(move |heard| if is_write(heard, broken) { say() } else { usual(heard) }).await?;
            let adapter = adapter(&script, &json!({ "projects": ["SUP"] }))?;
            let ctx = context(PATIENCE);
            let error = failure(&*adapter, &ctx, tool, arguments).await?;
            ensure!(error.sent == Sent::Unknown && error.message.contains(wanted), "{tool}: {error:?}");
            if *tool == "create_ticket" {
                ensure!(error.message.contains(&format!("weir-{}", ctx.request_id)), "{error}");
            }
            let writes = if broken == "/comment" && *tool == "update_ticket_status" { 2 } else { 1 };
            ensure!(script.writes() == writes, "{tool}: {:?}", script.asked());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_comment_leaves_the_new_status_and_says_so() -> Result<()> {
    let script = Script::start(|heard| {
        let refusal = json!({ "errorMessages": [], "errors": { "comment": "Comment body is not valid!" } });
        if is_write(heard, "/comment") { Say::Json(400, refusal) } else { usual(heard) }
    })
    .await?;
    let adapter = adapter(&script, &json!({}))?;
    let arguments = json!({ "id": "SUP-1", "status": "done", "comment": "c" });
    let Reply::Complete(bytes) = adapter.call(&context(PATIENCE), request("update_ticket_status", &arguments)).await?
    else {
        anyhow::bail!("no answer")
    };
    let result: Value = serde_json::from_slice(&bytes)?;
    let text = result["content"][0]["text"].as_str().context("a text")?;
    ensure!(result["isError"] == true && text.starts_with("Half done. The status of SUP-1 is `Done` now"), "{text}");
    ensure!(text.contains("comment: Comment body is not valid!") && text.contains("do not repeat"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_there_already_or_out_of_reach_writes_nothing() -> Result<()> {
    let script = Script::start(usual).await?;
    let adapter = adapter(&script, &json!({}))?;
    let same =
        call(&*adapter, "update_ticket_status", &json!({ "id": "SUP-1", "status": "to do", "comment": "c" })).await?;
    ensure!(
        same["changed"] == false && same["note"].as_str().is_some_and(|note| note.contains("use add_comment")),
        "{same}"
    );
    let error =
        failure(&*adapter, &context(PATIENCE), "update_ticket_status", &json!({ "id": "SUP-1", "status": "Closed" }))
            .await?;
    let Some(Rejection::Text(text)) = &error.rejection else { anyhow::bail!("{error:?}") };
    ensure!(
        text == "SUP-1 is in `To Do` and can go to `In Progress`, `Done` from there. Nothing was written.",
        "{text}"
    );
    ensure!(script.writes() == 0, "{:?}", script.asked());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_goes_on_where_its_own_search_ended_and_nowhere_else() -> Result<()> {
    let script = Script::start(|heard| match heard.body["nextPageToken"].as_str() {
        None if heard.target.ends_with("/jql") => {
            Say::Json(200, json!({ "issues": [issue("SUP-1", "SUP")], "nextPageToken": "tök&en", "isLast": false }))
        }
        Some("tök&en") => {
            Say::Json(200, json!({ "issues": [], "nextPageToken": "not the last word", "isLast": true }))
        }
        _ => usual(heard),
    })
    .await?;
    let adapter = adapter(&script, &json!({}))?;
    let first = call(&*adapter, "search_tickets", &json!({ "text": "card" })).await?;
    let cursor = &first["next_cursor"];
    ensure!(cursor.as_str().is_some_and(|cursor| !cursor.contains("en")), "{first}");
    let second = call(&*adapter, "search_tickets", &json!({ "text": "card", "cursor": cursor, "limit": 5 })).await?;
    ensure!(second == json!({ "tickets": [] }), "{second}");
    let asked = script.seen().requests.len();
    let error =
        failure(&*adapter, &context(PATIENCE), "search_tickets", &json!({ "text": "cards", "cursor": cursor })).await?;
    ensure!(error.class == ErrorClass::InvalidArguments && error.message.contains("another search"), "{error:?}");
    ensure!(script.seen().requests.len() == asked, "it was asked all the same");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_keeps_everybody_away_without_asking_again() -> Result<()> {
    let turn = Arc::new(AtomicUsize::new(0));
    let script = Script::start(move |heard| {
        let limited = || "retry-after: 1\r\nratelimit-reason: jira-quota-tenant-based\r\n".to_owned();
        let first = heard.target.ends_with("/jql") && turn.fetch_add(1, Ordering::Relaxed) == 0;
        if first { Say::With(429, limited(), Value::Null) } else { usual(heard) }
    })
    .await?;
    let adapter = adapter(&script, &json!({}))?;
    let search = json!({ "status": "open" });
    let error = failure(&*adapter, &context(PATIENCE), "search_tickets", &search).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Busy, Sent::Yes), "{error:?}");
    ensure!(error.retry_after == Some(Duration::from_secs(1)), "{error:?}");
    ensure!(error.message.contains("(jira-quota-tenant-based)"), "{error}");

    let error = failure(&*adapter, &context(PATIENCE), "get_ticket", &json!({ "id": "SUP-1" })).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Busy, Sent::No) && script.asked().len() == 1, "{error:?}");
    ensure!(error.retry_after.is_some_and(|wait| wait <= Duration::from_secs(1)), "{error:?}");
    harness::until("the wait is over", async || Ok(call(&*adapter, "search_tickets", &search).await.ok())).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_not_accepted_is_the_state_of_the_system() -> Result<()> {
    for say in [
        || Say::Json(401, Value::Null),
        || {
            Say::With(
                404,
                "x-seraph-loginreason: AUTHENTICATED_FAILED\r\n".to_owned(),
                json!({ "errorMessages": ["Issue does not exist"] }),
            )
        },
    ] {
        let script = Script::start(move |_| say()).await?;
        let adapter = adapter(&script, &json!({}))?;
        let reason = until_state(&*adapter, Health::Down).await?.context("a reason")?;
        ensure!(reason.starts_with("it does not accept Weir's credential"), "{reason}");
        let error = failure(&*adapter, &context(PATIENCE), "get_ticket", &json!({ "id": "SUP-1" })).await?;
        ensure!(error.class == ErrorClass::Unauthorized, "{error:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_scope_is_told_as_such_and_good_for_the_rest() -> Result<()> {
    let script = Script::start(|heard| {
        let refusal = json!({ "code": 401, "message": "Unauthorized; scope does not match" });
        if heard.method == "POST" || heard.target.ends_with("/myself") { Say::Json(401, refusal) } else { usual(heard) }
    })
    .await?;
    let adapter = adapter(&script, &json!({}))?;
    until_state(&*adapter, Health::Up).await?;
    let error = failure(&*adapter, &context(PATIENCE), "add_comment", &json!({ "id": "SUP-1", "text": "t" })).await?;
    ensure!(error.class == ErrorClass::Unauthorized && error.message.contains("scope does not match"), "{error:?}");
    call(&*adapter, "get_ticket", &json!({ "id": "SUP-1" })).await?;
    let state = adapter.events().next().now_or_never().flatten();
    ensure!(matches!(&state, Some(AdapterEvent::State(state)) if state.health == Health::Up), "{state:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_jira_does_not_take_is_told_to_be_weirs_own() -> Result<()> {
    let script = Script::start(|heard| {
        let refusal = json!({ "errors": { "labels": "Field 'labels' cannot be set." } });
        if is_write(heard, "/issue") { Say::Json(400, refusal) } else { usual(heard) }
    })
    .await?;
    let adapter = adapter(&script, &json!({ "projects": ["SUP"] }))?;
    for (labels, is_weirs) in [(json!([]), true), (json!(["vip"]), false)] {
        let arguments = json!({ "title": "t", "labels": labels });
        let error = failure(&*adapter, &context(PATIENCE), "create_ticket", &arguments).await?;
        let Some(Rejection::Text(text)) = &error.rejection else { anyhow::bail!("{error:?}") };
        ensure!(text.contains("duplicate_label: false") == is_weirs, "{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_up_by_itself_once_the_system_answers() -> Result<()> {
    let script = Script::start(usual).await?;
    let address = script.url.strip_prefix("http://").context("a URL")?.to_owned();
    drop(script);
    let adapter = build(&format!("http://{address}"), &json!({}), Path::new("."))?;
    // A list ends after the first probe, so that whoever asked for it knows the state as well.
    let offer = adapter.list(&context(PATIENCE)).await?;
    ensure!(offer.tools.len() == 5, "{offer:?}");
    let state = adapter.events().next().now_or_never().flatten();
    ensure!(matches!(&state, Some(AdapterEvent::State(state)) if state.health == Health::Down), "{state:?}");
    let _script = Script::start_at(&address, usual).await?;
    until_state(&*adapter, Health::Up).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jira_never_answers_is_told_as_such() -> Result<()> {
    let rows = [
        (Say::Json as fn(u16, Value) -> Say, 200, json!("x"), ErrorClass::Protocol),
        (Say::Json, 302, Value::Null, ErrorClass::Protocol),
        (Say::Json, 410, json!({ "errorMessages": ["The requested API has been removed."] }), ErrorClass::Protocol),
        (
            Say::Json,
            403,
            json!({ "errorMessages": ["You do not have the permission to see the specified issue."] }),
            ErrorClass::Unauthorized,
        ),
        (Say::Json, 503, Value::Null, ErrorClass::Unreachable),
    ];
    for (say, status, body, class) in rows {
        let script = Script::start(move |_| say(status, body.clone())).await?;
        let adapter = adapter(&script, &json!({}))?;
        let error = failure(&*adapter, &context(PATIENCE), "get_ticket", &json!({ "id": "SUP-1" })).await?;
        ensure!(error.class == class && error.sent == Sent::Yes, "{status}: {error:?}");
    }
    Ok(())
}
