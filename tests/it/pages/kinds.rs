//! Long answers of real systems.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use standins::{
    postgres::{PgOptions, PrivatePg},
    tickets::{Tickets, TicketsOptions},
};
use tests::TestRouter;

use super::{Surface, next, texts};

const TOKEN: &str = "s3cret-token-of-the-bot";

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_database_and_tickets_come_in_parts_that_keep_their_schema() -> Result<()> {
    let postgres = PrivatePg::start(PgOptions::default()).await?;
    let options = TicketsOptions { token: Some(TOKEN.to_owned()), ..TicketsOptions::default() };
    let tickets = Tickets::start("127.0.0.1:0", options).await?;
    let dir = tempfile::tempdir()?;
    tests::private_file(dir.path().join("url"), postgres.url())?;
    tests::private_file(dir.path().join("token"), TOKEN)?;
    let rows = "SELECT n, 'Zoë «' || n || '»' AS name FROM generate_series(1, 400) AS n";
    let credential = json!({ "basic": { "user": "bot@example.com", "password": { "file": "token" } } });
    let config = json!({
        "identity": { "local": { "roles": ["all"] } },
        "policy": { "roles": { "all": { "allow": ["*"] } } },
        "downstreams": {
            "crm": {
                "postgres": { "url": { "file": "url" } },
                "tools": { "list": { "effect": "read", "sql": rows, "answer_characters_max": 2000 } },
            },
            "tickets": {
                "ticketing": { "provider": "jira", "base_url": tickets.url, "credential": credential },
                "tools": { "search_tickets": { "answer_characters_max": 4000 } },
            },
        },
    });
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let schema_of = async |tool: &str| -> Result<jsonschema::Validator> {
        let list = router.modern(None, "tools/list", json!({})).await?.result()?;
        let tool = list["tools"].as_array().into_iter().flatten().find(|listed| listed["name"] == tool).cloned();
        Ok(jsonschema::validator_for(&tool.unwrap_or_default()["outputSchema"])?)
    };
    // The schema of a statement is known once the database was reached.
    router
        .downstreams_until(|all| all.as_array().is_some_and(|all| all.iter().all(|one| one["health"] == "up")))
        .await?;
    let whole = json!((1..=400).map(|n| json!({ "n": n, "name": format!("Zoë «{n}»") })).collect::<Vec<_>>());
    for (tool, arguments, member, least) in [
        ("crm__list", json!({}), "rows", 5),
        ("tickets__search_tickets", json!({ "status": "open", "limit": 40 }), "tickets", 2),
    ] {
        let schema = schema_of(tool).await?;
        let parts = Surface::Modern.all(&router, None, tool, arguments).await?;
        ensure!(parts.len() > least, "{} parts of {tool}: {}", parts.len(), parts[0]);
        let mut all: Vec<Value> = Vec::new();
        for part in &parts {
            let structured = &part["structuredContent"];
            let mistakes: Vec<_> = schema.iter_errors(structured).map(|mistake| mistake.to_string()).collect();
            ensure!(mistakes.is_empty(), "{tool}: {mistakes:?} in {structured}");
            ensure!(serde_json::from_str::<Value>(texts(part)[0])? == *structured, "{part}");
            let items = structured[member].as_array().cloned().unwrap_or_default();
            if tool == "crm__list" {
                ensure!(structured["row_count"] == items.len(), "{structured}");
                ensure!(structured["truncated"] == next(part).is_some(), "{structured}");
            }
            all.extend(items);
        }
        match tool {
            "crm__list" => ensure!(json!(all) == whole, "{} rows", all.len()),
            _ => {
                let mut ids: Vec<String> = all.iter().map(|ticket| ticket["id"].to_string()).collect();
                ids.sort();
                ids.dedup();
                ensure!(ids.len() == 40, "each ticket once: {ids:?}");
            }
        }
    }
    Ok(())
}
