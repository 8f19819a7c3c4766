//! What the mainframe knows of the customers: their accounts, what was booked on them, and their orders. It agrees with
//! the tables of [`customers`](crate::customers) for the same seed.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::ebcdic::Record;
use crate::customers::{Customer, Order, as_of, customers, decimal, invoices, orders};

#[derive(Debug)]
pub(super) struct Accounts {
    accounts: HashMap<i64, Account>,
    orders: HashMap<i64, Value>,
}

#[derive(Debug)]
struct Account {
    record: Vec<u8>,
    currency: &'static str,
    /// Oldest first.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    kind: Kind,
    order: i64,
    /// What the customer owes is negative, and so is what makes them owe.
    amount_cents: i64,
    /// After it.
    balance_cents: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Purchase,
    Payment,
}

impl Accounts {
    pub(super) fn generate(seed: u64) -> Self {
        let customers = customers(seed);
        let orders = orders(seed, &customers);
        let mut entries: Vec<Vec<Entry>> = customers.iter().map(|_| Vec::new()).collect();
        let billed: HashMap<usize, Option<Timestamp>> =
            invoices(seed, &customers, &orders).into_iter().map(|invoice| (invoice.order, invoice.paid_at)).collect();
        for (index, order) in orders.iter().enumerate() {
            // What is not sent is not booked, and what has no invoice was paid at once.
            if matches!(order.status, "shipped" | "delivered") {
                let paid_at = billed.get(&index).copied().unwrap_or(Some(order.placed_at));
                let entry =
                    |at, kind, amount_cents| Entry { at, kind, order: order.id, amount_cents, balance_cents: 0 };
                let booked = &mut entries[order.customer];
                booked.push(entry(order.placed_at, Kind::Purchase, -order.total_cents));
                booked.extend(paid_at.map(|at| entry(at, Kind::Payment, order.total_cents)));
            }
        }
        let orders_by_id = orders.iter().map(|order| (order.id, order_status(order, &customers[order.customer])));
        let accounts = customers.iter().zip(entries).map(|(customer, mut entries)| {
            // The sort is stable: what was paid at once was bought first.
            entries.sort_by_key(|entry| entry.at);
            let mut balance_cents = 0;
            for entry in &mut entries {
                balance_cents += entry.amount_cents;
                entry.balance_cents = balance_cents;
            }
            let record = account_record(customer, &entries);
            (customer.account_number, Account { record, currency: customer.currency, entries })
        });
        Self { accounts: accounts.collect(), orders: orders_by_id.collect() }
    }

    /// One record by `ACCTREC`.
    pub(super) fn account(&self, number: i64) -> Option<&[u8]> {
        self.accounts.get(&number).map(|account| account.record.as_slice())
    }

    /// So many records by `HISTREC`, newest first, of this day (`YYYYMMDD`) and later.
    pub(super) fn history(&self, number: i64, from: i64, max: usize) -> Option<Vec<u8>> {
        let account = self.accounts.get(&number)?;
        let wanted = account.entries.iter().enumerate().rev().take_while(|(_, entry)| day(utc(entry.at)) >= from);
        let records = wanted.take(max).flat_map(|(index, entry)| entry.record(index as i64 + 1, account.currency));
        Some(records.collect())
    }

    pub(super) fn order(&self, id: i64) -> Option<&Value> {
        self.orders.get(&id)
    }
}

impl Entry {
    fn record(&self, number: i64, currency: &str) -> Vec<u8> {
        let at = utc(self.at);
        let time = i64::from(at.hour()) * 10_000 + i64::from(at.minute()) * 100 + i64::from(at.second());
        let (kind, text) = match self.kind {
            Kind::Purchase => ("PU", "Köp / purchase"),
            Kind::Payment => ("PY", "Payment, thank you"),
        };
        Record::default()
            .packed_unsigned(5, number)
            .digits(8, day(at))
            .digits(6, time)
            .text(2, kind)
            .binary(8, self.order)
            .text(24, text)
            .zoned(11, self.amount_cents)
            .packed(13, self.balance_cents)
            .text(3, currency)
            .into_bytes()
    }
}

fn account_record(customer: &Customer, entries: &[Entry]) -> Vec<u8> {
    let status = match customer.status {
        "active" => "A",
        "suspended" => "S",
        _ => "C",
    };
    let segment = match customer.segment {
        "consumer" => 10,
        "business" => 20,
        _ => 30,
    };
    let last = entries.last();
    let record = Record::default()
        .binary(8, customer.account_number)
        .text(8, &customer.id)
        .text(32, &customer.name)
        .text(1, status)
        .digits(2, segment)
        .text(20, customer.city)
        .text(2, customer.country)
        .text(3, customer.currency)
        .digits(8, day(utc(customer.created_at)))
        .packed(13, last.map_or(0, |entry| entry.balance_cents))
        .packed(13, customer.credit_limit_cents)
        .zoned(11, last.map_or(0, |entry| entry.amount_cents))
        // Goodwill or a fee, a small one.
        .sign_and_digits(7, customer.loyalty_points % 4_001 - 2_000)
        .binary(4, customer.loyalty_points)
        .binary(2, customer.account_number / 2 % 9_999)
        .digits(4, (customer.risk_score * 10_000.0) as i64);
    let this_year = utc(as_of()).year();
    let years = (0..3).map(|ago| this_year - ago);
    let record = years.fold(record, |record, year| {
        let bought = entries.iter().filter(|entry| entry.kind == Kind::Purchase && utc(entry.at).year() == year);
        let (count, volume_cents) = bought.fold((0, 0), |(count, sum), entry| (count + 1, sum - entry.amount_cents));
        record.digits(4, i64::from(year)).binary(2, count).packed(13, volume_cents)
    });
    record.text(26, "").into_bytes()
}

fn order_status(order: &Order, customer: &Customer) -> Value {
    json!({
        "order_id": order.id,
        "customer_id": customer.id,
        "account": customer.account_number,
        "status": order.status.to_uppercase(),
        "placed": utc(order.placed_at).strftime("%Y-%m-%d").to_string(),
        "total": decimal(order.total_cents),
        "currency": customer.currency,
        "lines": order.items.as_array().map_or(0, Vec::len),
    })
}

fn utc(moment: Timestamp) -> DateTime {
    moment.to_zoned(TimeZone::UTC).datetime()
}

/// As `YYYYMMDD`.
fn day(at: DateTime) -> i64 {
    i64::from(at.year()) * 10_000 + i64::from(at.month()) * 100 + i64::from(at.day())
}
