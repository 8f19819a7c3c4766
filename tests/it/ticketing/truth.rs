//! What is told of a write is what became of it, and what is told of a site is what it is.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use adapters::{ErrorClass, Health, Reply, Sent};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::contract::{context, until_state};

use super::{
    PATIENCE, TOKEN, build, call,
    exact::{adapter, is_write},
    failure, request,
    script::{Say, Script, issue, usual},
};
use crate::cli::{Folder, binary::run};

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_lost_before_the_write_leaves_no_doubt() -> Result<()> {
    let (update, comment) = (json!({ "id": "SUP-1", "status": "Done" }), json!({ "id": "SUP-1", "text": "t" }));
    let rows = [
        ("update_ticket_status", &update, "/issue/SUP-1?"),
        ("update_ticket_status", &update, "/transitions"),
        ("add_comment", &comment, "/issue/SUP-1?"),
    ];
    for (say, class) in
        [((|| Say::Close) as fn() -> Say, ErrorClass::ConnectionLost), (|| Say::Hang, ErrorClass::Timeout)]
    {
        for (tool, arguments, lost) in rows {
            let script =
                Script::start(
                    move |heard| {
                        if heard.method == "GET" && heard.target.contains(lost) { say() } else { usual(heard) }
                    },
                )
                .await?;
            let adapter = adapter(&script, &json!({ "projects": ["SUP"], "attempt_timeout": "300ms" }))?;
            let error = failure(&*adapter, &context(PATIENCE), tool, arguments).await?;
            ensure!((error.class, error.sent) == (class, Sent::No), "{tool} without {lost}: {error:?}");
            ensure!(error.message.ends_with("Nothing was written."), "{error}");
            ensure!(script.writes() == 0, "{:?}", script.asked());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_whose_receipt_cannot_be_read_may_be_there() -> Result<()> {
    let script = Script::start(|heard| {
        if is_write(heard, "/comment") { Say::Json(201, json!({ "created": true })) } else { usual(heard) }
    })
    .await?;
    let adapter = adapter(&script, &json!({}))?;
    let rows = [
        ("add_comment", json!({ "id": "SUP-1", "text": "t" }), "Read the ticket with get_ticket before"),
        (
            "update_ticket_status",
            json!({ "id": "SUP-1", "status": "Done", "comment": "c" }),
            "only of the comment it is not known",
        ),
    ];
    for (tool, arguments, wanted) in rows {
        let error = failure(&*adapter, &context(PATIENCE), tool, &arguments).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Protocol, Sent::Unknown), "{tool}: {error:?}");
        ensure!(error.message.contains(wanted), "{tool}: {error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jira_shows_to_nobody_in_particular_is_no_answer() -> Result<()> {
    let nameless = || "x-seraph-loginreason: AUTHENTICATED_FAILED\r\n".to_owned();
    let script = Script::start(move |heard| match usual(heard) {
        Say::Json(status, _) if heard.target.ends_with("/jql") => {
            Say::With(status, nameless(), json!({ "issues": [], "isLast": true }))
        }
        Say::Json(status, body) if is_write(heard, "/comment") => Say::With(status, nameless(), body),
        said => said,
    })
    .await?;
    let adapter = adapter(&script, &json!({}))?;
    let error = failure(&*adapter, &context(PATIENCE), "search_tickets", &json!({ "status": "open" })).await?;
    ensure!(error.class == ErrorClass::Unauthorized, "{error:?}");
    // A look at the account shows that the credential is good for it.
    until_state(&*adapter, Health::Up).await?;
    // What was written is written, under whatever name.
    call(&*adapter, "add_comment", &json!({ "id": "SUP-1", "text": "t" })).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_no_jira_is_told_as_such_and_not_as_a_missing_ticket() -> Result<()> {
    for (status, body) in [
        (404, Value::Null),
        (404, json!("Your site is not available.")),
        (404, json!({ "status": 404, "message": "No message available" })),
        (302, Value::Null),
        (200, json!("Welcome")),
    ] {
        let script = Script::start(move |_| Say::Json(status, body.clone())).await?;
        let adapter = adapter(&script, &json!({}))?;
        let reason = until_state(&*adapter, Health::Down).await?.context("a reason")?;
        ensure!(reason.contains("`base_url`"), "{status}: {reason}");
        for (tool, arguments) in [
            ("get_ticket", json!({ "id": "SUP-1" })),
            ("search_tickets", json!({ "status": "open" })),
            ("create_ticket", json!({ "title": "t", "project": "SUP" })),
        ] {
            let error = failure(&*adapter, &context(PATIENCE), tool, &arguments).await?;
            ensure!(error.class == ErrorClass::Protocol, "{status} {tool}: {error:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_ticket_looks_like_none_whatever_becomes_of_its_comments() -> Result<()> {
    let script = Script::start(|heard| match heard.target.as_str() {
        target if target.contains("/comment") => Say::Json(400, json!({ "errorMessages": ["Not these comments."] })),
        target if target.contains("/issue/") => {
            let mut hidden = issue("SECRET-7", "SECRET");
            // So that the comments are there first.
            hidden["more"] = json!("x".repeat(3 << 20));
            Say::Json(200, hidden)
        }
        _ => usual(heard),
    })
    .await?;
    let adapter = adapter(&script, &json!({ "projects": ["SUP"] }))?;
    let reply = adapter.call(&context(PATIENCE), request("get_ticket", &json!({ "id": "SECRET-7" }))).await?;
    ensure!(matches!(reply, Reply::NotFound(_)), "{reply:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_of_one_second_keep_their_order() -> Result<()> {
    let script = Script::start(|heard| {
        let comment =
            |id: &str, at: &str| json!({ "id": id, "created": format!("2026-11-22T08:00:00.{at}+0000"), "body": null });
        let comments = [comment("3", "124"), comment("2", "120"), comment("1", "000")];
        if heard.target.contains("/comment") {
            Say::Json(200, json!({ "total": 3, "comments": comments }))
        } else {
            usual(heard)
        }
    })
    .await?;
    let ticket = call(&*adapter(&script, &json!({}))?, "get_ticket", &json!({ "id": "SUP-1" })).await?;
    let ids: Vec<_> = ticket["comments"].as_array().into_iter().flatten().map(|comment| &comment["id"]).collect();
    ensure!(ids == ["1", "2", "3"], "{ticket}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_short_pause_does_not_end_a_long_one() -> Result<()> {
    let ((second, heard_second), (first_ended, end_of_first)) = (mpsc::channel(), mpsc::channel());
    let (heard_second, end_of_first) = (Mutex::new(heard_second), Mutex::new(end_of_first));
    let wait = |of: &Mutex<mpsc::Receiver<()>>| {
        tokio::task::block_in_place(|| _ = of.lock().expect("nobody panics").recv_timeout(PATIENCE));
    };
    let script = Script::start(move |heard| match heard.target.as_str() {
        // Both calls are under way when the first answer comes, and the second comes after it.
        target if target.contains("/SUP-1?") => {
            wait(&heard_second);
            Say::With(429, "retry-after: 60\r\n".to_owned(), Value::Null)
        }
        target if target.contains("/SUP-2?") => {
            _ = second.send(());
            wait(&end_of_first);
            Say::With(429, "retry-after: 1\r\n".to_owned(), Value::Null)
        }
        _ => usual(heard),
    })
    .await?;
    let adapter = adapter(&script, &json!({ "attempt_timeout": "1m" }))?;
    let ctx = context(PATIENCE);
    let read = async |id: &str| failure(&*adapter, &ctx, "get_ticket", &json!({ "id": id })).await;
    let long = async {
        let long = read("SUP-1").await;
        first_ended.send(())?;
        long
    };
    let (long, short) = tokio::join!(long, read("SUP-2"));
    let both = [long?, short?];
    ensure!(both.iter().all(|error| error.sent == Sent::Yes), "not both were asked: {both:?}");
    let error = read("SUP-1").await?;
    ensure!(error.sent == Sent::No && error.retry_after > Some(Duration::from_secs(30)), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_of_another_operation_is_not_copied() -> Result<()> {
    let script = Script::start(usual).await?;
    let adapter = adapter(&script, &json!({ "projects": ["SUP"] }))?;
    let create = |label: &str| json!({ "title": "t", "labels": ["vip", label] });
    let mark = "weir-01a20454-2615-74c8-83b1-c327b19eda3a";
    let error = failure(&*adapter, &context(PATIENCE), "create_ticket", &create(mark)).await?;
    ensure!((error.class, error.sent) == (ErrorClass::InvalidArguments, Sent::No), "{error:?}");
    ensure!(error.message.contains(mark) && script.writes() == 0, "{error}");
    call(&*adapter, "create_ticket", &create("weir-project")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_the_write_says_what_to_do() -> Result<()> {
    for (status, body) in [(500, Value::Null), (503, Value::Null), (200, json!("Welcome"))] {
        let script = Script::start(move |heard| {
            if heard.target.contains("/transitions") { Say::Json(status, body.clone()) } else { usual(heard) }
        })
        .await?;
        let adapter = adapter(&script, &json!({}))?;
        let update = json!({ "id": "SUP-1", "status": "Done" });
        let error = failure(&*adapter, &context(PATIENCE), "update_ticket_status", &update).await?;
        ensure!(error.sent == Sent::Yes && script.writes() == 0, "{error:?}");
        ensure!(error.message.contains("tell the operator. Nothing was written."), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_hangs_hides_no_tools_and_is_still_told_by_weir_check() -> Result<()> {
    // So long does the router wait for the first lists.
    const FIRST_LISTS: Duration = Duration::from_secs(2);
    let script = Script::start(|_| Say::Hang).await?;
    let hanging = adapter(&script, &json!({}))?;
    let offer = tokio::time::timeout(FIRST_LISTS, hanging.list(&context(PATIENCE))).await.context("no list")??;
    ensure!(offer.tools.len() == 5, "{offer:?}");

    let folder = Folder::with_config(&format!(
        "policy: {{ roles: {{ all: {{ allow: ['*'] }} }} }}\n\
         downstreams: {{ tickets: {{ ticketing: {{ provider: jira, base_url: '{}', attempt_timeout: 1500ms }} }} }}\n",
        script.url
    ));
    let told = run(&["check", "--config", &folder.config(), "--connect"]).await.with_code(4);
    ensure!(told.stdout.contains("tickets: cannot be used. no answer in time"), "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jira_repeats_of_the_credential_is_not_passed_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    tests::private_file(folder.path().join("token"), TOKEN)?;
    let credential = json!({ "credential": { "bearer": { "file": "token" } } });
    for status in [400, 401, 403, 500] {
        // The words are cut in the middle of it.
        let words = format!("{}Bearer {TOKEN} is no good.", "x".repeat(980));
        let script = Script::start(move |heard| {
            if heard.target.ends_with("/myself") {
                usual(heard)
            } else {
                Say::Json(status, json!({ "message": words }))
            }
        })
        .await?;
        let adapter = build(&script.url, &credential, folder.path())?;
        let error = failure(&*adapter, &context(PATIENCE), "search_tickets", &json!({ "status": "open" })).await?;
        let told = format!("{error:?}");
        ensure!(told.contains("Bearer") && !told.contains(&TOKEN[..6]), "{status}: {told}");
    }
    Ok(())
}
