//! The tour of `weir demo --faults`: what becomes of calls when the network or a system goes wrong.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use router::audit::Audit;
use serde::Deserialize;
use serde_json::{Value, json};
use standins::proxy::{Chance, Fault, Moment};
use tokio::time::{sleep, timeout};

use super::{
    config::Credentials,
    show::Screen,
    systems::{ACCOUNT, Network, Systems},
    tour::visitor::{Visitor, shown, text},
};
use crate::cli::connection::ToolResult;

/// No step takes longer: what does not come by then is said to be missing.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);
/// More than the mainframe works on and the line takes.
const CROWD: usize = 24;
/// Long enough for all of a crowd to be there at once, whatever the mainframe takes itself.
const SLOW: Duration = Duration::from_secs(1);
/// The first of the orders in the stand-ins; each next one is two more.
const ORDER: u64 = 9_007_199_254_740_993;
/// After the tour.
const PERCENT: u8 = 5;
const SEED: u64 = 42;

/// What the tour goes through.
pub(super) struct Tour<'a> {
    pub(super) screen: &'a mut Screen,
    pub(super) systems: &'a Systems,
    pub(super) network: &'a Network,
    pub(super) audit: &'a Audit,
}

impl Tour<'_> {
    /// Shows the router at work while things go wrong, one after the other.
    pub(super) async fn run(mut self, endpoint: &str, credentials: &Credentials) -> anyhow::Result<()> {
        // Each time anew: an idle connection is closed after ten seconds, and the mainframe takes as long.
        let agent = async || Visitor::arrive("support_agent", endpoint, &credentials.support_agent).await;
        self.cut_a_read(&mut agent().await?).await?;
        self.cut_a_write(&mut agent().await?).await?;
        self.refuse_a_write(&mut agent().await?).await?;
        self.fail_the_mainframe(agent).await?;
        self.crowd_the_mainframe(agent, &mut Visitor::arrive("admin", endpoint, &credentials.admin).await?).await
    }

    async fn cut_a_read(&mut self, agent: &mut Visitor) -> anyhow::Result<()> {
        self.screen.title("1  The connection is reset when the ticketing service answers a search")?;
        let fault = Fault::Reset(Moment::AfterRequest);
        // A connection that is kept may end at any time, and a read on it is sent anew without counting as an attempt.
        self.network.tickets.reset_connections();
        self.network.tickets.set_next(fault, 1)?;
        let name = "tickets__search_tickets";
        let found = agent.attempt(self.screen, name, &json!({ "text": "refund", "limit": 3 })).await?;
        self.show_cuts(fault)?;
        if found.is_error {
            return self.quote(&found);
        }
        let tickets = found.structured.as_ref().and_then(|found| found["tickets"].as_array()).map_or(0, Vec::len);
        self.screen.detail(&format!("{tickets} tickets found all the same"))?;
        self.show_decisions(name)?;
        self.screen.say("A read may be repeated. Weir did so, within the call's own time and a budget of repeats.")?;
        Ok(())
    }

    async fn cut_a_write(&mut self, agent: &mut Visitor) -> anyhow::Result<()> {
        self.screen.title("2  The same befalls a write, and the service cannot be asked about it either")?;
        let fault = Fault::Reset(Moment::AfterRequest);
        let before = self.writes();
        self.network.tickets.set(fault).await?;
        let name = "tickets__create_ticket";
        let ticket = json!({ "title": "Refund for a card payment", "description": "Written while the network fails." });
        let created = agent.attempt(self.screen, name, &ticket).await?;
        self.network.tickets.set(Fault::Pass).await?;
        self.show_cuts(fault)?;
        self.quote(&created)?;
        self.show_decisions(name)?;
        self.screen
            .detail(&format!("writes that the service has carried out meanwhile: {}", self.writes() - before))?;
        let operation = operation_id(&created).context("the answer names no operation")?;
        self.screen.say("The network is fine again. Now the operation can be asked for:")?;
        let asked = agent.attempt(self.screen, "weir__operation_status", &json!({ "operation_id": operation })).await?;
        let told = asked.structured.unwrap_or_default();
        self.screen.detail(&format!("state: {}", text(&told["state"])))?;
        self.screen.say(&format!("To the model it says: “{}”", text(&told["text"])))?;
        Ok(())
    }

    async fn refuse_a_write(&mut self, agent: &mut Visitor) -> anyhow::Result<()> {
        self.screen.title("3  A write meets a service that is switched off")?;
        let before = self.writes();
        self.network.tickets.set(Fault::Refuse).await?;
        self.network.tickets.reset_connections();
        let name = "tickets__create_ticket";
        let ticket = json!({ "title": "Another refund", "description": "Written while the service is off." });
        let refused = agent.attempt(self.screen, name, &ticket).await?;
        self.network.tickets.set(Fault::Pass).await?;
        self.quote(&refused)?;
        self.show_decisions(name)?;
        self.screen
            .detail(&format!("writes that the service has carried out meanwhile: {}", self.writes() - before))?;
        Ok(())
    }

    async fn fail_the_mainframe(&mut self, agent: impl AsyncFn() -> anyhow::Result<Visitor>) -> anyhow::Result<()> {
        self.screen.title("4  The mainframe is gone: its breaker opens")?;
        let (name, account) = ("mainframe__get_account", json!({ "account_number": ACCOUNT }));
        self.screen.say("First an answer that is worth keeping …")?;
        agent().await?.attempt(self.screen, name, &account).await?;
        let mainframe = &self.network.mainframe;
        mainframe.set(Fault::Refuse).await?;
        mainframe.reset_connections();
        self.screen.say("… then nobody answers there any more:")?;
        let mut visitor = agent().await?;
        let left_alone = self.within(async |tour| {
            for number in 1_usize.. {
                let order = order(number);
                let (answer, took) = visitor.attempt_quietly("mainframe__order_status", &order).await?;
                let is_open = tour.last("mainframe__order_status").is_some_and(|last| last.outcome == "left_alone");
                if number == 1 || is_open {
                    tour.screen.done(&shown("mainframe__order_status", &order), took)?;
                    tour.quote(&answer)?;
                }
                if is_open {
                    return Ok(number);
                }
            }
            unreachable!("numbers do not end")
        });
        let calls = left_alone.await.context("the breaker did not open")?;
        self.screen.detail(&format!("that was call {calls}; the ones before it tried in vain"))?;
        self.screen.say("What was read before is still there for those who ask for it:")?;
        let answer = self
            .within(async |tour| {
                loop {
                    let (answer, took) = visitor.ask_quietly(name, &account).await?;
                    if answer.cached.as_ref().is_some_and(|cached| cached.state.starts_with("stale")) {
                        tour.screen.done(&shown(name, &account), took)?;
                        return Ok(answer);
                    }
                    sleep(POLL).await;
                }
            })
            .await
            .context("the answer did not become stale")?;
        self.screen.detail(&answer.origin("the mainframe"))?;
        self.screen.say(&format!("To the model it says: “{}”", answer.last_text))?;
        self.recover(agent).await
    }

    async fn recover(&mut self, agent: impl AsyncFn() -> anyhow::Result<Visitor>) -> anyhow::Result<()> {
        self.network.mainframe.set(Fault::Pass).await?;
        self.screen.say("The mainframe is back. Nobody tells Weir; it tries by itself, one call at a time …")?;
        let (name, order) = ("mainframe__order_status", order(0));
        self.within(async |tour| {
            loop {
                let (answer, took) = agent().await?.attempt_quietly(name, &order).await?;
                if !answer.is_error {
                    tour.screen.done(&shown(name, &order), took)?;
                    return Ok(());
                }
                sleep(POLL).await;
            }
        })
        .await
        .context("the mainframe was not tried again")
    }

    async fn crowd_the_mainframe(
        &mut self,
        agent: impl AsyncFn() -> anyhow::Result<Visitor>,
        admin: &mut Visitor,
    ) -> anyhow::Result<()> {
        self.screen.title("5  One caller asks a slow mainframe too much at once")?;
        self.network.mainframe.set(Fault::Latency(SLOW)).await?;
        let mut crowd = FuturesUnordered::<BoxFuture<'_, anyhow::Result<ToolResult>>>::new();
        for number in 100..100 + CROWD {
            let mut visitor = agent().await?;
            crowd.push(Box::pin(async move {
                Ok(visitor.attempt_quietly("mainframe__order_status", &order(number)).await?.0)
            }));
        }
        let first = timeout(STEP_TIMEOUT, crowd.next()).await.context("nobody was refused")?.context("a crowd")??;
        self.screen.say(&format!(
            "{CROWD} calls at once. The mainframe works on 8, 8 more may wait; the rest learns at once:"
        ))?;
        self.quote(&first)?;
        self.screen.say("Meanwhile somebody else asks for one order, and does not wait behind all of them:")?;
        let (name, order) = ("mainframe__order_status", order(1));
        let mut served = 0;
        let answer = {
            let mut asking = std::pin::pin!(admin.attempt_quietly(name, &order));
            loop {
                tokio::select! {
                    answer = &mut asking => break answer,
                    Some(one) = crowd.next() => served += usize::from(!one?.is_error),
                }
            }
        };
        let (answer, took) = answer?;
        self.screen.done(&shown(name, &order), took)?;
        if answer.is_error {
            self.quote(&answer)?;
        }
        self.show_decisions(name)?;
        self.screen.detail(&format!("by then {served} of the crowd had their answer"))?;
        // Who hangs up is called off at the mainframe too.
        drop(crowd);
        self.network.mainframe.set(Fault::Pass).await
    }

    /// What a step waits for, for so long at most.
    async fn within<T>(&mut self, step: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        timeout(STEP_TIMEOUT, step(self)).await.context("in vain for a minute")?
    }

    fn writes(&self) -> usize {
        self.systems.tickets().seen().ledger.len()
    }

    fn quote(&mut self, result: &ToolResult) -> anyhow::Result<()> {
        Ok(self.screen.say(&format!("To the model it says: “{}”", result.text()))?)
    }

    fn show_cuts(&mut self, fault: Fault) -> anyhow::Result<()> {
        let cut = self.network.tickets.stats().bitten_by(fault);
        Ok(self.screen.detail(&format!("the network has cut {} so far", exchanges(cut)))?)
    }

    /// What the audit record says of the last call of this tool.
    fn show_decisions(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(record) = self.last(name) else { return Ok(()) };
        if let Some(waited_ms) = record.queued_ms {
            self.screen.detail(&format!("audit: waited {waited_ms} ms for its turn"))?;
        }
        for (index, attempt) in record.attempts.iter().enumerate() {
            let Attempt { outcome, sent, took_ms, because } = attempt;
            let because = because.as_ref().map(|because| format!(", because: {because}")).unwrap_or_default();
            let number = index + 1;
            self.screen.detail(&format!("audit: attempt {number}: {outcome}, sent: {sent}, {took_ms} ms{because}"))?;
        }
        if let Some(why) = record.not_repeated {
            self.screen.detail(&format!("audit: not repeated: {why}"))?;
        }
        Ok(())
    }

    fn last(&self, name: &str) -> Option<Record> {
        let records = self.audit.recent(RECORDS_MAX);
        let mut read = records.iter().filter_map(|record| serde_json::from_str::<Record>(record.get()).ok());
        read.find(|record| record.asked == name)
    }
}

/// How many audit records are looked through for that of a call which has just ended.
const RECORDS_MAX: usize = 100;

/// What is read of an audit record.
#[derive(Deserialize)]
struct Record {
    asked: String,
    outcome: String,
    queued_ms: Option<u64>,
    #[serde(default)]
    attempts: Vec<Attempt>,
    not_repeated: Option<String>,
}

#[derive(Deserialize)]
struct Attempt {
    outcome: String,
    sent: String,
    took_ms: u64,
    because: Option<String>,
}

/// From now on some exchanges go wrong by the dice, until the demo ends. Says so.
pub(super) fn go_on(screen: &mut Screen, network: &Network) -> anyhow::Result<()> {
    for (proxy, seed) in [(&network.mainframe, SEED), (&network.tickets, SEED + 1)] {
        proxy.set_chance(Chance { faults: Fault::EXCHANGE.to_vec(), percent: PERCENT, seed })?;
    }
    screen.blank()?;
    screen.say(&format!(
        "From now on {PERCENT} of 100 exchanges with the mainframe and the ticketing service go wrong: cut at some moment, \
         half an answer, garbage (seeds {SEED} and {}).",
        SEED + 1
    ))?;
    Ok(())
}

fn order(number: usize) -> Value {
    json!({ "order_id": (ORDER + 2 * number as u64).to_string() })
}

fn operation_id(result: &ToolResult) -> Option<String> {
    let raw: Value = serde_json::from_str(result.raw.get()).ok()?;
    raw["_meta"]["weir/operation_id"].as_str().map(str::to_owned)
}

fn exchanges(count: u64) -> String {
    if count == 1 { "1 exchange".to_owned() } else { format!("{count} exchanges") }
}
