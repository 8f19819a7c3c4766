//! Rows in the text format of `COPY`.

use std::fmt::{Display, Write as _};

use super::decimal;
use super::generate::{Customer, Invoice, Order};

pub(super) fn customers(customers: &[Customer]) -> String {
    let mut rows = String::new();
    for customer in customers {
        row(
            &mut rows,
            &[
                &customer.id,
                &customer.account_number,
                &customer.public_id,
                &customer.name,
                &customer.email,
                &customer.phone,
                &customer.status,
                &customer.segment,
                &customer.country,
                &customer.city,
                &customer.created_at,
                &Nullable(customer.last_seen_at),
                &decimal(customer.credit_limit_cents),
                &customer.loyalty_points,
                &customer.risk_score,
                &customer.newsletter,
                &array(&customer.tags),
                &customer.profile,
                &hex(&customer.avatar_hash),
            ],
        );
    }
    rows
}

pub(super) fn orders(orders: &[Order], customers: &[Customer]) -> String {
    let mut rows = String::new();
    for order in orders {
        let customer = &customers[order.customer];
        row(
            &mut rows,
            &[
                &order.id,
                &customer.id,
                &order.placed_at,
                &order.status,
                &order.channel,
                &customer.currency,
                &decimal(order.total_cents),
                &order.items,
            ],
        );
    }
    rows
}

pub(super) fn invoices(invoices: &[Invoice], orders: &[Order], customers: &[Customer]) -> String {
    let mut rows = String::new();
    for invoice in invoices {
        let order = &orders[invoice.order];
        let customer = &customers[order.customer];
        row(
            &mut rows,
            &[
                &invoice.id,
                &order.id,
                &customer.id,
                &decimal(order.total_cents),
                &customer.currency,
                &invoice.status,
                &invoice.issued_on,
                &invoice.due_date,
                &Nullable(invoice.paid_at),
                &Nullable(invoice.reminded_at),
            ],
        );
    }
    rows
}

/// Prints as nothing where there is nothing. Every other value of ours prints as something.
struct Nullable<T>(Option<T>);

impl<T: Display> Display for Nullable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}

fn row(rows: &mut String, values: &[&dyn Display]) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            rows.push('\t');
        }
        let value = value.to_string();
        if value.is_empty() {
            rows.push_str("\\N");
        }
        for letter in value.chars() {
            match letter {
                '\\' => rows.push_str("\\\\"),
                '\t' => rows.push_str("\\t"),
                '\n' => rows.push_str("\\n"),
                '\r' => rows.push_str("\\r"),
                _ => rows.push(letter),
            }
        }
    }
    rows.push('\n');
}

fn array(elements: &[&str]) -> String {
    let elements: Vec<String> =
        elements.iter().map(|element| format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    format!("{{{}}}", elements.join(","))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::from("\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}
