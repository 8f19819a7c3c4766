//! What callers get while the calendar keeps a downstream closed.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{TestRouter, until};

use super::config;
use crate::mainframe::listener::{Heard, Listener, ok};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_closes_a_system_and_callers_get_its_older_answers() -> Result<()> {
    let server = Listener::start(|_: &Heard| ok(r#"{"balance":7}"#)).await?;
    let config = |closed: Value| -> Result<String> {
        let mut config = config("shut", &server.url, &json!({ "closed": closed }))?;
        config["downstreams"]["shut"]["tools"]["get"]["cache"] =
            json!({ "fresh_for": "100ms", "stale_on_error": "1h" });
        Ok(config.to_string())
    };
    let router = TestRouter::ready(&config(json!([]))?).await?;
    let call = async || router.call(None, "shut__get", json!({})).await?.result();
    ensure!(call().await?["isError"] != true);
    let asked = server.heard().len();

    let always = json!([{ "from": "00:00", "to": "00:00", "reason": "an incident" }]);
    router.change(&config(always)?).await.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    let stale = until("its answer is an older one", async || {
        let got = call().await?;
        Ok((got["_meta"]["weir/cache"]["state"] == "stale_on_error").then_some(got))
    })
    .await?;
    ensure!(stale["isError"] != true && stale.to_string().contains("an incident"), "{stale}");
    ensure!(server.heard().len() == asked, "a closed system was asked");
    let uncached = router.call(None, "shut__list", json!({})).await?.result()?;
    ensure!(uncached["isError"] == true && uncached.to_string().contains("an incident"), "{uncached}");
    Ok(())
}
