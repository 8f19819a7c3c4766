//! The rows, made from a seed. What one column says agrees with the others: an invoice belongs to an order that its
//! customer placed while the account was open, its amount is that order's total, and its status follows from its dates.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::words::{COUNTRIES, Country, LANGUAGES, MAIL_DOMAINS, NOTES, PRODUCTS, TAGS};
use super::{AS_OF, CUSTOMERS, INVOICES, ORDERS};
use crate::random::Random;

const DAY_US: i64 = 86_400_000_000;
/// Odd numbers above 2^53: no double can hold any of them, so that a lost digit shows.
const ACCOUNT_NUMBER_FIRST: i64 = (1 << 53) + 100_001;
const ORDER_ID_FIRST: i64 = (1 << 53) + 1;

pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) account_number: i64,
    pub(crate) public_id: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) phone: String,
    pub(crate) status: &'static str,
    pub(crate) segment: &'static str,
    pub(crate) country: &'static str,
    pub(crate) currency: &'static str,
    pub(crate) city: &'static str,
    pub(crate) created_at: Timestamp,
    pub(crate) last_seen_at: Option<Timestamp>,
    /// After this the account placed no more orders.
    pub(crate) active_until: Timestamp,
    pub(crate) credit_limit_cents: i64,
    pub(crate) loyalty_points: i64,
    pub(crate) risk_score: f64,
    pub(crate) newsletter: bool,
    pub(crate) tags: Vec<&'static str>,
    pub(crate) profile: Value,
    pub(crate) avatar_hash: [u8; 16],
}

pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) customer: usize,
    pub(crate) placed_at: Timestamp,
    pub(crate) status: &'static str,
    pub(crate) channel: &'static str,
    pub(crate) total_cents: i64,
    pub(crate) items: Value,
}

pub(crate) struct Invoice {
    pub(crate) id: String,
    pub(crate) order: usize,
    pub(crate) status: &'static str,
    pub(crate) issued_on: Date,
    pub(crate) due_date: Date,
    pub(crate) paid_at: Option<Timestamp>,
    pub(crate) reminded_at: Option<Timestamp>,
}

/// The moment at which all of it is true.
pub(crate) fn as_of() -> Timestamp {
    let date: Date = AS_OF.parse().expect("a constant date");
    midnight(date)
}

pub(crate) fn customers(seed: u64) -> Vec<Customer> {
    let mut random = Random::new(seed, "customers");
    (1..=CUSTOMERS).map(|number| customer(number, &mut random)).collect()
}

pub(crate) fn orders(seed: u64, customers: &[Customer]) -> Vec<Order> {
    let mut random = Random::new(seed, "orders");
    let mut orders: Vec<Order> = (0..ORDERS).map(|_| order(customers, &mut random)).collect();
    orders.sort_by_key(|order| order.placed_at);
    for (order, id) in orders.iter_mut().zip((ORDER_ID_FIRST..).step_by(2)) {
        order.id = id;
    }
    orders
}

pub(crate) fn invoices(seed: u64, customers: &[Customer], orders: &[Order]) -> Vec<Invoice> {
    let mut random = Random::new(seed, "invoices");
    let sent = |order: &Order| matches!(order.status, "shipped" | "delivered");
    let billable: Vec<usize> = (0..orders.len()).filter(|&index| sent(&orders[index])).collect();
    assert!(billable.len() >= INVOICES, "the seed leaves too few orders to bill");
    // Evenly spread; the others were paid at once.
    (0..INVOICES)
        .map(|number| {
            let order = billable[number * billable.len() / INVOICES];
            let customer = &customers[orders[order].customer];
            invoice(number + 1, order, orders[order].placed_at, customer, &mut random)
        })
        .collect()
}

fn customer(number: usize, random: &mut Random) -> Customer {
    let country = random.pick(COUNTRIES);
    let name = format!("{} {}", random.pick(country.given_names), random.pick(country.family_names));
    let created_at = before(as_of(), random.between(60 * DAY_US, 6 * 365 * DAY_US));
    let last_seen_at = moment_between(created_at, as_of(), random);
    let status = match random.index(100) {
        0..88 => "active",
        88..93 => "suspended",
        _ => "closed",
    };
    let segment = match random.index(100) {
        0..80 => "consumer",
        80..96 => "business",
        _ => "enterprise",
    };
    let limit_factor = match segment {
        "consumer" => 1,
        "business" => 20,
        _ => 500,
    };
    Customer {
        id: format!("C-{number:05}"),
        account_number: ACCOUNT_NUMBER_FIRST + 2 * random.between(0, 1_000_000) * CUSTOMERS as i64 + 2 * number as i64,
        public_id: uuid(random),
        email: email(&name, number, random),
        phone: phone(country, random),
        name,
        status,
        segment,
        country: country.code,
        currency: country.currency,
        city: country.cities[random.index(country.cities.len())],
        created_at,
        last_seen_at: (status != "active" || random.chance(92)).then_some(last_seen_at),
        active_until: if status == "active" { as_of() } else { last_seen_at },
        credit_limit_cents: random.between(0, 500_000) * limit_factor,
        loyalty_points: random.between(0, 50_000),
        risk_score: random.fraction(),
        newsletter: random.chance(40),
        tags: TAGS.iter().copied().filter(|_| random.chance(12)).collect(),
        profile: profile(number, random),
        avatar_hash: (u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes(),
    }
}

fn order(customers: &[Customer], random: &mut Random) -> Order {
    // A few customers place many orders; the step, which shares no factor with their number, keeps those few from being
    // the first ones.
    let rank = (random.fraction().powi(2) * customers.len() as f64) as usize;
    let customer = rank * 769 % customers.len();
    let Customer { created_at, active_until, segment, .. } = customers[customer];
    let latest = active_until.min(before(as_of(), 4 * DAY_US));
    let placed_at = moment_between(created_at, latest, random);
    let quantity_max = match segment {
        "consumer" => 3,
        "business" => 15,
        _ => 80,
    };
    let lines: Vec<_> = (0..random.between(1, 5))
        .map(|_| {
            let &(sku, name, price_cents) = random.pick(PRODUCTS);
            (sku, name, price_cents, random.between(1, quantity_max + 1))
        })
        .collect();
    let list_price_cents: i64 = lines.iter().map(|(_, _, price_cents, quantity)| price_cents * quantity).sum();
    let discount_percent = if random.chance(30) { random.between(1, 16) } else { 0 };
    let recent = before(as_of(), 21 * DAY_US) < placed_at;
    Order {
        id: 0,
        customer,
        placed_at,
        status: match (recent, random.index(100)) {
            (_, 0..6) => "cancelled",
            (true, 6..50) => "pending",
            (true, _) => "shipped",
            (false, _) => "delivered",
        },
        channel: ["web", "web", "web", "phone", "store"][random.index(5)],
        total_cents: list_price_cents * (100 - discount_percent) / 100,
        items: lines
            .iter()
            .map(|&(sku, name, price_cents, quantity)| {
                json!({ "sku": sku, "name": name, "quantity": quantity, "price": decimal(price_cents) })
            })
            .collect(),
    }
}

fn invoice(number: usize, order: usize, placed_at: Timestamp, customer: &Customer, random: &mut Random) -> Invoice {
    let issued_at = after(placed_at, random.between(0, 3 * DAY_US));
    let due_at = after(issued_at, if customer.segment == "enterprise" { 60 } else { 30 } * DAY_US);
    let was_due = due_at < as_of();
    let paid = random.chance(if was_due { 94 } else { 45 });
    let reminded = was_due && !paid && random.chance(60);
    let issued_on = date(issued_at);
    Invoice {
        id: format!("I-{}-{number:06}", issued_on.year()),
        order,
        status: match (paid, was_due) {
            (true, _) => "paid",
            (false, true) => "overdue",
            (false, false) => "open",
        },
        issued_on,
        due_date: date(due_at),
        paid_at: paid.then(|| moment_between(issued_at, as_of().min(after(due_at, 10 * DAY_US)), random)),
        reminded_at: reminded.then(|| moment_between(due_at, as_of(), random)),
    }
}

fn profile(number: usize, random: &mut Random) -> Value {
    let mut profile = json!({
        "language": random.pick(LANGUAGES),
        "consents": { "marketing": random.chance(40), "analytics": random.chance(60) },
        // As above: only an exact reader gets this right.
        "ledger_offset": (1_i64 << 53) + 1 + 2 * number as i64,
    });
    if random.chance(25) {
        profile["note"] = json!(random.pick(NOTES));
    }
    if random.chance(30) {
        profile["household"] = json!({ "size": random.between(1, 7), "since": 2010 + random.between(0, 15) });
    }
    profile
}

fn email(name: &str, number: usize, random: &mut Random) -> String {
    let plain: String = name.to_lowercase().chars().filter_map(plain_letter).collect();
    format!("{plain}.{number}@{}", random.pick(MAIL_DOMAINS))
}

fn plain_letter(letter: char) -> Option<char> {
    match letter {
        ' ' | '-' => Some('.'),
        'a'..='z' => Some(letter),
        'à' | 'ä' | 'å' => Some('a'),
        'ç' => Some('c'),
        'è' | 'é' | 'ê' | 'ë' => Some('e'),
        'ï' | 'î' | 'ı' => Some('i'),
        'ö' | 'ô' => Some('o'),
        'ş' | 'ß' => Some('s'),
        'ü' => Some('u'),
        _ => None,
    }
}

fn phone(country: &Country, random: &mut Random) -> String {
    let digit = |random: &mut Random| char::from(b'0' + random.index(10) as u8);
    country.phone.chars().map(|letter| if letter == '#' { digit(random) } else { letter }).collect()
}

fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

pub(crate) fn decimal(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

pub(crate) fn moment_between(from: Timestamp, to: Timestamp, random: &mut Random) -> Timestamp {
    after(from, random.between(0, (to.as_microsecond() - from.as_microsecond()).max(1)))
}

pub(crate) fn after(moment: Timestamp, microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(moment.as_microsecond() + microseconds).expect("some years around now")
}

pub(crate) fn before(moment: Timestamp, microseconds: i64) -> Timestamp {
    after(moment, -microseconds)
}

fn date(moment: Timestamp) -> Date {
    moment.to_zoned(TimeZone::UTC).date()
}

fn midnight(date: Date) -> Timestamp {
    date.to_zoned(TimeZone::UTC).expect("UTC has every midnight").timestamp()
}
