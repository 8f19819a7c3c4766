//! A credential that is refused is not shown again and again: that locks accounts.

use anyhow::{Result, ensure};
use serde_json::json;
use standins::tickets::{Tickets, TicketsOptions};
use tests::{TestRouter, private_file};

use super::condition;

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_refused_the_credential_is_left_to_its_probe() -> Result<()> {
    let options = TicketsOptions { token: Some("the right one".to_owned()), ..TicketsOptions::default() };
    let tickets = Tickets::start("127.0.0.1:0", options).await?;
    let dir = tempfile::tempdir()?;
    private_file(dir.path().join("token"), "the wrong one")?;
    let credential = json!({ "basic": { "user": "bot@example.com", "password": { "file": "token" } } });
    let mut config = tests::open_house(&[]);
    config["downstreams"]["tickets"] =
        json!({ "ticketing": { "provider": "jira", "base_url": tickets.url, "credential": credential } });
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    router.downstreams_until(|all| all[0]["health"] == "down").await?;
    let before = tickets.seen().requests.len();
    ensure!(before > 0, "void: nobody asked");
    for _ in 0..20 {
        let answer = router.call(None, "tickets__get_ticket", json!({ "id": "SUP-1" })).await?;
        ensure!(answer.text.contains("does not accept Weir's credential. Nothing was sent"), "{}", answer.text);
    }
    let record = &router.records().await?[0];
    ensure!(record["attempts"][0]["sent"] == "no" && record["not_repeated"] == "known_down", "{record}");
    ensure!(tickets.seen().requests.len() == before, "it was asked again");
    let told = condition(&router).await?;
    ensure!(told["reason"].as_str().is_some_and(|reason| reason.contains("credential")), "{told}");
    Ok(())
}
