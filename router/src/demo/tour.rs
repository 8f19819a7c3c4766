//! The tour: what an agent sees through Weir, and what it does not.

pub(super) mod visitor;

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use router::audit::Audit;
use serde::Deserialize;
use serde_json::{Value, json, value::to_raw_value};
use standins::mainframe::Mainframe;

use super::{config::Credentials, show::Screen, systems::ACCOUNT};
use crate::cli::connection::RpcError;
use visitor::{Answer, Visitor, shown, text};

/// The customer that the tour asks for.
const CUSTOMER: &str = "C-00042";
/// How long an answer may take to become stale; `fresh_for` in the config of the demo is a fraction of it.
const STALE_TIMEOUT: Duration = Duration::from_secs(30);
const STALE_POLL: Duration = Duration::from_millis(100);
/// How many audit records are looked through for that of a call which has just ended.
const RECORDS_MAX: usize = 100;

/// What the tour goes through.
pub(super) struct Tour<'a> {
    pub(super) screen: &'a mut Screen,
    pub(super) has_crm: bool,
    pub(super) mainframe_delay: &'a RangeInclusive<Duration>,
    pub(super) mainframe: &'a Mainframe,
    pub(super) audit: &'a Audit,
}

impl Tour<'_> {
    /// Shows the router at work.
    pub(super) async fn run(self, endpoint: &str, credentials: &Credentials) -> anyhow::Result<()> {
        let Self { screen, has_crm, mainframe_delay, mainframe, audit } = self;
        let mut agent = Visitor::arrive("support_agent", endpoint, &credentials.support_agent).await?;
        // Each time anew: an idle connection is closed after ten seconds, and the mainframe takes as long.
        let admin = async || Visitor::arrive("admin", endpoint, &credentials.admin).await;
        list_the_tools(screen, &mut agent).await?;
        let (mut account, mut top_customer) = (ACCOUNT.to_owned(), CUSTOMER.to_owned());
        if has_crm {
            account = ask_for_a_customer(screen, &mut agent).await?;
            top_customer = rank_by_revenue(screen, &mut agent).await?;
        }
        enrich_a_transaction(screen, &mut agent, &mut admin().await?, &top_customer).await?;
        ask_the_mainframe(screen, &mut agent, &account, mainframe_delay).await?;
        ask_it_again(screen, &mut agent, &account, audit).await?;
        let ticket = open_a_ticket(screen, &mut agent).await?;
        comment_on_it(screen, &mut agent, &ticket).await?;
        switch_the_mainframe_off(screen, &mut agent, &account, mainframe).await?;
        be_refused(screen, &mut agent, &mut admin().await?, has_crm).await
    }
}

async fn list_the_tools(screen: &mut Screen, agent: &mut Visitor) -> anyhow::Result<()> {
    screen.title("1  A support agent lists the tools")?;
    let (tools, took) = agent.list().await?;
    screen.done(&format!("tools/list as {}: {} tools", agent.role, tools.len()), took)?;
    let widest = tools.iter().map(|tool| tool.name.len()).max().unwrap_or_default();
    for tool in &tools {
        let about = tool.description.split(['.', ':', ',']).next().unwrap_or_default();
        screen.detail(&format!("{:<widest$}  {about}", tool.name))?;
    }
    Ok(())
}

/// Returns the number of the customer's account.
async fn ask_for_a_customer(screen: &mut Screen, agent: &mut Visitor) -> anyhow::Result<String> {
    screen.title("2  It asks for a customer")?;
    let answer = agent.call(screen, "crm__get_customer", json!({ "customer_id": CUSTOMER })).await?;
    let customer = &answer["rows"][0];
    let of = |key: &str| text(&customer[key]);
    screen.detail(&format!("{}, {}, {} ({})", of("name"), of("email"), of("city"), of("country")))?;
    let limit = money(&customer["credit_limit"]);
    screen.detail(&format!(
        "{} {}, credit limit {limit}, {} points",
        of("status"),
        of("segment"),
        of("loyalty_points")
    ))?;
    Ok(of("account_number"))
}

/// Returns the id of the first.
async fn rank_by_revenue(screen: &mut Screen, agent: &mut Visitor) -> anyhow::Result<String> {
    screen.title("3  It ranks the top ten by revenue")?;
    let answer = agent.call(screen, "crm__top_customers", json!({ "limit": 10 })).await?;
    let rows = answer["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    for row in rows {
        let of = |key: &str| text(&row[key]);
        let (rank, id, name, segment) = (of("rank"), of("id"), of("name"), of("segment"));
        let revenue = money(&row["revenue"]);
        screen.detail(&format!("{rank:>2}  {id}  {name:<26}  {segment:<10}  {revenue:>14} {}", of("currency")))?;
    }
    rows.first().and_then(|row| row["id"].as_str()).map(str::to_owned).context("crm__top_customers gave no rows")
}

async fn enrich_a_transaction(
    screen: &mut Screen,
    agent: &mut Visitor,
    admin: &mut Visitor,
    customer_id: &str,
) -> anyhow::Result<()> {
    screen.title("4  A card payment is looked into, through another MCP server")?;
    let history = json!({ "customer_id": customer_id, "limit": 1 });
    let history = agent.call(screen, "enrich__get_customer_history", history).await?;
    let payment = &history["payments"][0];
    let of = |key: &str| text(&payment[key]);
    let (transaction_id, merchant_id) = (of("transaction_id"), of("merchant_id"));
    screen.detail(&format!("{transaction_id}: {} {}, {}", of("amount"), text(&history["currency"]), of("status")))?;
    let merchant = agent.call(screen, "enrich__get_merchant", json!({ "merchant_id": merchant_id })).await?;
    let about = |key: &str| text(&merchant[key]);
    screen.detail(&format!("{}, {}, risk {}", about("name"), about("category"), about("risk")))?;
    let pattern = json!({ "customer_id": customer_id, "transaction_id": transaction_id });
    let fraud = agent.call(screen, "enrich__check_fraud_patterns", pattern).await?;
    screen.detail(&format!("{}, score {}", text(&fraud["verdict"]), fraud["score"]))?;
    screen.say(&format!("The {} may write, so it keeps what was found:", admin.role))?;
    let entry = json!({ "transaction_id": transaction_id, "category": merchant["category"], "note": "Looked into on the tour." });
    let entry = admin.call(screen, "enrich__log_transaction_enrichment", entry).await?;
    screen.detail(&format!("kept as {}", text(&entry["entry"])))?;
    Ok(())
}

async fn ask_the_mainframe(
    screen: &mut Screen,
    agent: &mut Visitor,
    account: &str,
    delay: &RangeInclusive<Duration>,
) -> anyhow::Result<()> {
    screen.title("5  It asks the mainframe for the account, which is an EBCDIC record there")?;
    let (least, most) = (delay.start().as_secs_f64(), delay.end().as_secs_f64());
    if most > 0.0 {
        screen.say(&format!("The mainframe takes {least} to {most} s for an answer; Weir waits for it …"))?;
    }
    let answer = agent.call(screen, "mainframe__get_account", json!({ "account_number": account })).await?;
    let of = |key: &str| text(&answer[key]);
    let address = &answer["acct_address"];
    let city = format!("{} ({})", text(&address["acct_city"]), text(&address["acct_country"]));
    screen.detail(&format!(
        "{}, {city}, status {}, since {}",
        of("acct_name"),
        of("acct_status"),
        of("acct_opened")
    ))?;
    let (balance, limit) = (money(&answer["acct_balance"]), money(&answer["acct_credit_limit"]));
    screen.detail(&format!("balance {balance} {}, credit limit {limit}", of("acct_currency")))?;
    Ok(())
}

async fn ask_it_again(screen: &mut Screen, agent: &mut Visitor, account: &str, audit: &Audit) -> anyhow::Result<()> {
    screen.say("The same again; this tool is cached:")?;
    let name = "mainframe__get_account";
    let answer = agent.ask(screen, name, &json!({ "account_number": account })).await?;
    screen.detail(&answer.origin("the mainframe"))?;
    if let Some(took_ms) = took_in_router(audit, name) {
        screen.detail(&format!("{took_ms} ms of that in the router; the rest is the way there and back"))?;
    }
    Ok(())
}

/// What the last call of the tool took in the router, by its audit record.
fn took_in_router(audit: &Audit, name: &str) -> Option<f64> {
    #[derive(Deserialize)]
    struct Record {
        asked: String,
        took_ms: f64,
    }
    let records = audit.recent(RECORDS_MAX);
    let read = records.iter().filter_map(|record| serde_json::from_str::<Record>(record.get()).ok());
    read.into_iter().find(|record| record.asked == name).map(|record| record.took_ms)
}

/// Returns the id of the new one.
async fn open_a_ticket(screen: &mut Screen, agent: &mut Visitor) -> anyhow::Result<String> {
    screen.title("6  It looks for tickets about the customer, and opens one")?;
    let search = json!({ "text": CUSTOMER, "limit": 3 });
    let found = agent.call(screen, "tickets__search_tickets", search).await?;
    let tickets = found["tickets"].as_array().map(Vec::as_slice).unwrap_or_default();
    if tickets.is_empty() {
        screen.detail("no ticket yet")?;
    }
    for ticket in tickets {
        screen.detail(&format!("{}  {}  {}", text(&ticket["id"]), text(&ticket["status"]), text(&ticket["title"])))?;
    }
    let ticket = json!({
        "title": format!("Credit limit to be reviewed ({CUSTOMER})"),
        "description": "The customer asked for a higher credit limit.\n\n- Balance and limit: see the mainframe\n- No misuse found",
    });
    let ticket = agent.call(screen, "tickets__create_ticket", ticket).await?;
    let of = |key: &str| text(&ticket[key]);
    screen.detail(&format!("{} is {}: {}", of("id"), of("status"), of("title")))?;
    Ok(of("id"))
}

async fn comment_on_it(screen: &mut Screen, agent: &mut Visitor, ticket: &str) -> anyhow::Result<()> {
    screen.title("7  It reads the ticket, twice; a comment makes the next read a fresh one")?;
    let (name, id) = ("tickets__get_ticket", json!({ "id": ticket }));
    let read = async |screen: &mut Screen, agent: &mut Visitor| {
        let answer = agent.ask(screen, name, &id).await?;
        let comments = answer.says["comments"].as_array().map(Vec::len).unwrap_or_default();
        screen
            .detail(&format!("comments: {comments}, {}", answer.origin("the ticketing service")))
            .map_err(anyhow::Error::from)
    };
    read(screen, agent).await?;
    read(screen, agent).await?;
    let comment = json!({ "id": ticket, "text": "The limit was raised before, in March." });
    agent.call(screen, "tickets__add_comment", comment).await?;
    read(screen, agent).await
}

async fn switch_the_mainframe_off(
    screen: &mut Screen,
    agent: &mut Visitor,
    account: &str,
    mainframe: &Mainframe,
) -> anyhow::Result<()> {
    screen.title("8  The mainframe is switched off")?;
    screen.say("What it said of the account is fresh for four seconds in this demo. Then it is asked again …")?;
    mainframe.refuse(true).await?;
    mainframe.drop_connections();
    let stale = tokio::time::timeout(STALE_TIMEOUT, ask_until_stale(screen, agent, account)).await;
    mainframe.refuse(false).await?;
    let answer = stale.context("the answer did not become stale")??;
    screen.detail(&answer.origin("the mainframe"))?;
    screen.say(&format!("To the model it says: “{}”", answer.last_text))?;
    screen.say("The mainframe is switched on again.")?;
    Ok(())
}

/// Waits for what the answer says of itself, not for a time.
async fn ask_until_stale(screen: &mut Screen, agent: &mut Visitor, account: &str) -> anyhow::Result<Answer> {
    let (name, arguments) = ("mainframe__get_account", json!({ "account_number": account }));
    loop {
        let (answer, took) = agent.ask_quietly(name, &arguments).await?;
        if answer.cached.as_ref().is_some_and(|cached| cached.state.starts_with("stale")) {
            screen.done(&shown(name, &arguments), took)?;
            return Ok(answer);
        }
        tokio::time::sleep(STALE_POLL).await;
    }
}

async fn be_refused(
    screen: &mut Screen,
    agent: &mut Visitor,
    admin: &mut Visitor,
    has_crm: bool,
) -> anyhow::Result<()> {
    screen.title("9  The support agent tries what it may not do")?;
    let (name, arguments) = match has_crm {
        true => ("crm__delete_customer", json!({ "customer_id": CUSTOMER })),
        false => ("enrich__log_transaction_enrichment", json!({ "transaction_id": "T-0000001", "category": "none" })),
    };
    let start = Instant::now();
    let refused = agent.connection.call_tool(name, &to_raw_value(&arguments)?, None).await;
    screen.done(&shown(name, &arguments), start.elapsed())?;
    let error = refused.err().with_context(|| format!("{name} was not refused"))?;
    let RpcError { code, message } = error.downcast_ref().with_context(|| format!("{error:#}"))?;
    screen.detail(&format!("error {code}: {message}"))?;
    let (tools, _) = admin.list().await?;
    screen.say(&format!(
        "To the agent the tool does not exist; the {} sees {} tools, this one among them. The audit log has the truth.",
        admin.role,
        tools.len()
    ))?;
    Ok(())
}

/// An amount as people write it: 1234.50. On the wire it keeps all its digits, which is more than a double can.
fn money(value: &Value) -> String {
    value.as_f64().map_or_else(|| text(value), |amount| format!("{amount:.2}"))
}
