//! What is told of a write is what became of it, and what is told of a site is what it is.

use adapters::{ErrorClass, Reply, Sent};
use anyhow::{Result, ensure};
use serde_json::json;
use tests::contract::context;

use super::{
    PATIENCE, call,
    exact::{adapter, is_write},
    failure, request,
    script::{Say, Script, issue, usual},
};

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
