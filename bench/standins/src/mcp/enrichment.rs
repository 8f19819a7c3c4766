//! The four tools of a payment enrichment service.

use jiff::Timestamp;
use rmcp::model::{Tool, ToolAnnotations};
use serde::Deserialize;
use serde_json::{Value, json};

use super::handler::{arguments, tool};
use super::payments::{History, MERCHANTS, Payment, Payments, Risk};
use super::{McpServer, WRITES_MAX, Write};
use crate::customers::{CUSTOMERS, decimal};

const HISTORY_LIMIT_DEFAULT: usize = 20;
const HISTORY_LIMIT_MAX: usize = 100;
const BURST_MICROSECONDS: i64 = 600_000_000;

/// What a tool found, or why it did not, in words for the caller's model.
type Outcome = Result<Value, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MerchantArguments {
    merchant_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryArguments {
    customer_id: String,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FraudArguments {
    customer_id: String,
    transaction_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogArguments {
    transaction_id: String,
    category: String,
    #[serde(default)]
    labels: Vec<String>,
    note: Option<String>,
}

pub(super) fn tools() -> Vec<Tool> {
    let merchant_id = json!({ "type": "string", "description": "For example M-0042.", "pattern": "^M-[0-9]{4}$" });
    let customer_id = json!({ "type": "string", "description": "For example C-00042.", "pattern": "^C-[0-9]{5}$" });
    let transaction_id =
        json!({ "type": "string", "description": "For example T-0000042.", "pattern": "^T-[0-9]{7}$" });
    let read_only = || ToolAnnotations::new().read_only(true);
    vec![
        tool(
            "get_merchant",
            "Looks up a merchant: its name, category, place, and how risky it is to be paid through it.",
            json!({ "merchant_id": merchant_id }),
            &["merchant_id"],
        )
        .with_annotations(read_only()),
        tool(
            "get_customer_history",
            "Lists a customer's card payments, newest first, with sums over all of them.",
            json!({
                "customer_id": customer_id,
                "limit": { "type": "integer", "minimum": 1, "maximum": HISTORY_LIMIT_MAX, "default": HISTORY_LIMIT_DEFAULT },
            }),
            &["customer_id"],
        )
        .with_annotations(read_only()),
        tool(
            "check_fraud_patterns",
            "Searches a customer's payments for the patterns of a stolen card. With a transaction, only for those that it is part of.",
            json!({ "customer_id": customer_id, "transaction_id": transaction_id }),
            &["customer_id"],
        )
        .with_annotations(read_only()),
        tool(
            "log_transaction_enrichment",
            "Keeps what was found out about a payment. Every call adds an entry.",
            json!({
                "transaction_id": transaction_id,
                "category": { "type": "string", "description": "What the payment was for.", "maxLength": 100 },
                "labels": { "type": "array", "items": { "type": "string" }, "maxItems": 20 },
                "note": { "type": "string", "maxLength": 2000 },
            }),
            &["transaction_id", "category"],
        )
        .with_annotations(ToolAnnotations::new().read_only(false).destructive(false).idempotent(false)),
    ]
}

pub(super) fn get_merchant(server: &McpServer, value: Value) -> Outcome {
    let MerchantArguments { merchant_id } = arguments(value)?;
    let found = server.0.payments.merchant(&merchant_id).map(|merchant| json!(merchant));
    found.ok_or_else(|| format!("There is no merchant {merchant_id}. The ids run from M-0001 to M-{MERCHANTS:04}."))
}

pub(super) fn get_customer_history(server: &McpServer, value: Value) -> Outcome {
    let HistoryArguments { customer_id, limit } = arguments(value)?;
    let limit = limit.unwrap_or(HISTORY_LIMIT_DEFAULT);
    if !(1..=HISTORY_LIMIT_MAX).contains(&limit) {
        return Err(format!("The limit {limit} is not between 1 and {HISTORY_LIMIT_MAX}."));
    }
    let payments = &server.0.payments;
    let history = payments.history(&customer_id).ok_or_else(|| no_customer(&customer_id))?;
    let settled = || history.payments.iter().filter(|payment| !payment.declined);
    Ok(json!({
        "customer_id": customer_id,
        "currency": history.currency,
        "payments_total": history.payments.len(),
        "spent_total": decimal(settled().map(|payment| payment.amount_cents).sum()),
        "declined_total": history.payments.len() - settled().count(),
        "payments": history.payments.iter().rev().take(limit).map(|payment| shown(payment, payments)).collect::<Vec<_>>(),
    }))
}

pub(super) fn check_fraud_patterns(server: &McpServer, value: Value) -> Outcome {
    let FraudArguments { customer_id, transaction_id } = arguments(value)?;
    let payments = &server.0.payments;
    let history = payments.history(&customer_id).ok_or_else(|| no_customer(&customer_id))?;
    if let Some(transaction_id) = &transaction_id
        && payments.owner(transaction_id) != Some(&customer_id)
    {
        return Err(format!(
            "{customer_id} has no transaction {transaction_id}. Ask get_customer_history for the ids."
        ));
    }
    let mut found = patterns(history, payments);
    if let Some(transaction_id) = &transaction_id {
        found.retain(|pattern| pattern.part_of.iter().any(|payment| payment.id == *transaction_id));
    }
    let score = found.iter().map(|pattern| pattern.weight).sum::<u32>().min(100);
    let verdict = match score {
        0..30 => "clear",
        30..70 => "review",
        _ => "block",
    };
    let found: Vec<Value> = found
        .into_iter()
        .map(|pattern| {
            let ids: Vec<&str> = pattern.part_of.iter().map(|payment| payment.id.as_str()).collect();
            json!({ "pattern": pattern.name, "weight": pattern.weight, "transaction_ids": ids })
        })
        .collect();
    Ok(json!({ "customer_id": customer_id, "score": score, "verdict": verdict, "patterns": found }))
}

pub(super) fn log(
    server: &McpServer,
    value: Value,
    client: Option<String>,
    authorization: Option<String>,
    meta: Value,
) -> Outcome {
    let LogArguments { transaction_id, category, labels, note } = arguments(value.clone())?;
    let customer_id = server.0.payments.owner(&transaction_id);
    let customer_id = customer_id
        .ok_or_else(|| format!("There is no transaction {transaction_id}. Ask get_customer_history for the ids."))?;
    if category.is_empty() || labels.len() > 20 || note.is_some_and(|note| note.len() > 8_000) {
        return Err("The category is empty, or there are more than 20 labels, or the note is too long.".into());
    }
    let number = server.0.observed.update(|seen| {
        if seen.writes.len() >= WRITES_MAX {
            return None;
        }
        seen.writes.push(Write { client, authorization, arguments: value, meta });
        Some(seen.writes.len())
    });
    let number = number.ok_or("The log is full.")?;
    let entry = format!("E-{number:06}");
    Ok(json!({ "entry": entry, "transaction_id": transaction_id, "customer_id": customer_id }))
}

/// Something that stolen cards do, and the payments that did it.
struct Pattern<'a> {
    name: &'static str,
    weight: u32,
    part_of: Vec<&'a Payment>,
}

fn patterns<'a>(history: &'a History, payments: &Payments) -> Vec<Pattern<'a>> {
    let all = &history.payments;
    let merchant = |payment: &Payment| &payments.merchants[payment.merchant];
    let elapsed = |from: Timestamp, to: Timestamp| to.as_microsecond() - from.as_microsecond();
    let mut amounts: Vec<i64> = all.iter().map(|payment| payment.amount_cents).collect();
    amounts.sort_unstable();
    let median_cents = amounts.get(amounts.len() / 2).copied().unwrap_or_default();

    let burst = all.windows(4).filter(|burst| elapsed(burst[0].at, burst[3].at) <= BURST_MICROSECONDS).flatten();
    let tested = all.windows(3).filter(|run| {
        let [first, second, third] = run else { unreachable!("windows of three") };
        first.amount_cents < 200
            && second.amount_cents < 200
            && third.amount_cents > 10_000
            && elapsed(first.at, third.at) <= 3 * BURST_MICROSECONDS
    });
    let outlier = all.iter().filter(|payment| payment.amount_cents > 10_000.max(6 * median_cents));
    let risky = all.iter().filter(|payment| merchant(payment).risk == Risk::High && payment.amount_cents > 10_000);
    let abroad =
        all.iter().filter(|payment| merchant(payment).country != history.country && payment.amount_cents > 50_000);

    let mut patterns = vec![
        Pattern { name: "many payments within ten minutes", weight: 40, part_of: burst.collect() },
        Pattern { name: "tried with small amounts, then used", weight: 50, part_of: tested.flatten().collect() },
        Pattern { name: "far above the usual amount", weight: 15, part_of: outlier.collect() },
        Pattern { name: "large payment to a risky merchant", weight: 20, part_of: risky.collect() },
        Pattern { name: "large payment abroad", weight: 10, part_of: abroad.collect() },
    ];
    patterns.retain(|pattern| !pattern.part_of.is_empty());
    for pattern in &mut patterns {
        pattern.part_of.dedup_by(|a, b| a.id == b.id);
    }
    patterns
}

fn shown(payment: &Payment, payments: &Payments) -> Value {
    let merchant = &payments.merchants[payment.merchant];
    json!({
        "transaction_id": payment.id,
        "at": payment.at.to_string(),
        "amount": payment.amount(),
        "status": if payment.declined { "declined" } else { "settled" },
        "merchant_id": merchant.id,
        "merchant": merchant.name,
        "category": merchant.category,
        "country": merchant.country,
    })
}

fn no_customer(customer_id: &str) -> String {
    format!("There is no customer {customer_id}. The ids run from C-00001 to C-{CUSTOMERS:05}.")
}
