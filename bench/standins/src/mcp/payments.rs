//! Merchants, and what the customers paid there. A few customers have had their cards misused, in ways that can be
//! found in the data.

use std::collections::HashMap;
use std::ops::Range;

use jiff::Timestamp;
use serde::Serialize;

use crate::customers::{Customer, after, as_of, before, customers, decimal, moment_between};
use crate::random::Random;

pub(super) const MERCHANTS: usize = 200;
const PAYMENTS_PER_CUSTOMER_MAX: i64 = 12;
const MINUTE_US: i64 = 60_000_000;
const YEAR_US: i64 = 365 * 24 * 60 * MINUTE_US;

const CATEGORIES: &[(&str, &str, Risk, Range<i64>)] = &[
    ("groceries", "5411", Risk::Low, 800..18_000),
    ("restaurants", "5812", Risk::Low, 1_200..12_000),
    ("fuel", "5541", Risk::Low, 2_000..11_000),
    ("electronics", "5732", Risk::Medium, 4_000..180_000),
    ("travel", "4722", Risk::Medium, 9_000..250_000),
    ("clothing", "5651", Risk::Low, 1_500..30_000),
    ("online games", "5816", Risk::Medium, 100..9_000),
    ("gift cards", "5947", Risk::High, 1_000..50_000),
    ("money transfer", "4829", Risk::High, 2_000..150_000),
];
const NAME_STARTS: &[&str] =
    &["Blue", "Copper", "Harbour", "Linden", "North", "Old Mill", "Quiet", "River", "Sankt-Georg", "Vélo"];
const NAME_ENDS: &[&str] =
    &["& Daughters", "Company", "Corner", "Depot", "Handel", "House", "Market", "Point", "Stores", "Trading"];
const CITIES: &[(&str, &str)] = &[
    ("US", "Chicago"),
    ("GB", "Leeds"),
    ("DE", "Hamburg"),
    ("FR", "Lyon"),
    ("SE", "Malmö"),
    ("AU", "Perth"),
    ("CA", "Toronto"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Risk {
    Low,
    Medium,
    High,
}

#[derive(Debug, Serialize)]
pub(super) struct Merchant {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) category: &'static str,
    pub(super) mcc: &'static str,
    pub(super) country: &'static str,
    pub(super) city: &'static str,
    pub(super) risk: Risk,
    /// Of all its payments.
    pub(super) chargeback_percent: f64,
    #[serde(skip)]
    amounts_cents: Range<i64>,
}

#[derive(Debug)]
pub(super) struct Payment {
    pub(super) id: String,
    /// Its place in [`Payments::merchants`].
    pub(super) merchant: usize,
    pub(super) amount_cents: i64,
    pub(super) at: Timestamp,
    pub(super) declined: bool,
}

/// One customer's payments, oldest first.
#[derive(Debug)]
pub(super) struct History {
    pub(super) country: &'static str,
    pub(super) currency: &'static str,
    pub(super) payments: Vec<Payment>,
}

#[derive(Debug)]
pub(super) struct Payments {
    pub(super) merchants: Vec<Merchant>,
    histories: HashMap<String, History>,
    /// Whose payment it is.
    owners: HashMap<String, String>,
}

impl Payments {
    pub(super) fn generate(seed: u64) -> Self {
        let mut random = Random::new(seed, "payments");
        let merchants: Vec<Merchant> = (1..=MERCHANTS).map(|number| merchant(number, &mut random)).collect();
        let mut histories = HashMap::new();
        let mut owners = HashMap::new();
        let mut number = 0;
        for customer in customers(seed) {
            let mut payments = usual(&customer, &merchants, &mut random);
            if random.chance(3) {
                payments.extend(misuse(&customer, &merchants, &mut random));
            }
            payments.sort_by_key(|payment| payment.at);
            for payment in &mut payments {
                number += 1;
                payment.id = format!("T-{number:07}");
                owners.insert(payment.id.clone(), customer.id.clone());
            }
            let history = History { country: customer.country, currency: customer.currency, payments };
            histories.insert(customer.id, history);
        }
        Self { merchants, histories, owners }
    }

    pub(super) fn merchant(&self, id: &str) -> Option<&Merchant> {
        self.merchants.iter().find(|merchant| merchant.id == id)
    }

    pub(super) fn history(&self, customer_id: &str) -> Option<&History> {
        self.histories.get(customer_id)
    }

    pub(super) fn owner(&self, payment_id: &str) -> Option<&str> {
        self.owners.get(payment_id).map(String::as_str)
    }
}

impl Payment {
    pub(super) fn amount(&self) -> String {
        decimal(self.amount_cents)
    }
}

fn merchant(number: usize, random: &mut Random) -> Merchant {
    let (category, mcc, risk, amounts_cents) = random.pick(CATEGORIES).clone();
    let &(country, city) = random.pick(CITIES);
    let chargebacks_per_mille = match risk {
        Risk::Low => random.between(0, 4),
        Risk::Medium => random.between(2, 12),
        Risk::High => random.between(9, 40),
    };
    Merchant {
        id: format!("M-{number:04}"),
        name: format!("{} {}", random.pick(NAME_STARTS), random.pick(NAME_ENDS)),
        category,
        mcc,
        country,
        city,
        risk,
        chargeback_percent: chargebacks_per_mille as f64 / 10.0,
        amounts_cents,
    }
}

/// People mostly pay at home, at different times, and mostly with success.
fn usual(customer: &Customer, merchants: &[Merchant], random: &mut Random) -> Vec<Payment> {
    let from = customer.created_at.max(before(customer.active_until, YEAR_US));
    (0..random.between(0, PAYMENTS_PER_CUSTOMER_MAX + 1))
        .map(|_| {
            let merchant = (0..8)
                .map(|_| random.index(merchants.len()))
                .find(|&index| merchants[index].country == customer.country && merchants[index].risk != Risk::High)
                .unwrap_or_else(|| random.index(merchants.len()));
            let Range { start, end } = merchants[merchant].amounts_cents;
            // Small amounts are more frequent than large ones.
            let amount_cents = start + ((end - start) as f64 * random.fraction().powi(2)) as i64;
            Payment {
                id: String::new(),
                merchant,
                amount_cents,
                at: moment_between(from, customer.active_until, random),
                declined: random.chance(3),
            }
        })
        .collect()
}

/// A stolen card: tried with pennies, then used for as much as it gives, within the hour and at a merchant where goods
/// are as good as money.
fn misuse(customer: &Customer, merchants: &[Merchant], random: &mut Random) -> Vec<Payment> {
    let risky: Vec<usize> = (0..merchants.len()).filter(|&index| merchants[index].risk == Risk::High).collect();
    let fallback = random.index(merchants.len());
    let merchant = if risky.is_empty() { fallback } else { *random.pick(&risky) };
    let mut at =
        before(as_of().min(customer.active_until), random.between(60, 20_000) * MINUTE_US).max(customer.created_at);
    let amounts_cents = [
        random.between(50, 200),
        random.between(50, 200),
        random.between(40_000, 150_000),
        random.between(40_000, 150_000),
    ];
    amounts_cents
        .into_iter()
        .enumerate()
        .map(|(index, amount_cents)| {
            at = after(at, random.between(1, 120) * 1_000_000);
            Payment { id: String::new(), merchant, amount_cents, at, declined: index == 3 }
        })
        .collect()
}
