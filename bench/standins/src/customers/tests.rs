use std::time::Instant;

use tokio_postgres::{Client, NoTls};

use super::{AS_OF, CUSTOMERS, INVOICES, ORDERS, SEED, load};
use crate::postgres::{PgOptions, PrivatePg};

async fn loaded(pg: &PrivatePg, name: &str, seed: u64) -> Client {
    let url = pg.create_database(name).await.expect("a database");
    load(&url, seed).await.expect("it loads");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("Postgres answers");
    tokio::spawn(connection);
    client
}

async fn ask<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> T {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

#[tokio::test]
async fn the_database_has_exact_counts_and_agrees_with_itself() {
    let pg = PrivatePg::start(PgOptions::default()).await.expect("Postgres starts");
    let started = Instant::now();
    let client = loaded(&pg, "one", SEED).await;
    assert!(started.elapsed().as_secs() < 10, "loading took {:?}", started.elapsed());

    for (table, count) in [("customers", CUSTOMERS), ("orders", ORDERS), ("invoices", INVOICES)] {
        assert_eq!(ask::<i64>(&client, &format!("SELECT count(*) FROM {table}")).await, count as i64, "{table}");
    }
    for contradiction in [
        "SELECT count(*) FROM orders JOIN customers c ON c.id = customer_id WHERE placed_at < created_at",
        "SELECT count(*) FROM orders JOIN customers c ON c.id = customer_id \
         WHERE c.status <> 'active' AND placed_at > last_seen_at",
        "SELECT count(*) FROM invoices i JOIN orders o ON o.id = order_id \
         WHERE amount <> total OR i.customer_id <> o.customer_id OR i.currency <> o.currency OR issued_on < placed_at::date OR o.status NOT IN ('shipped', 'delivered')",
        "SELECT count(*) FROM invoices WHERE (status = 'paid') <> (paid_at IS NOT NULL) \
         OR (reminded_at IS NOT NULL AND status <> 'overdue')",
        &format!(
            "SELECT count(*) FROM invoices WHERE status <> 'paid' AND (status = 'overdue') <> (due_date < '{AS_OF}')"
        ),
        // Every one of these numbers is lost by whoever reads it as a double.
        "SELECT count(*) FROM customers WHERE account_number <= 9007199254740992 OR account_number % 2 = 0 \
         OR (profile->>'ledger_offset')::int8 % 2 = 0",
        "SELECT count(*) FROM orders WHERE id <= 9007199254740992 OR id % 2 = 0",
        "SELECT count(*) FROM orders WHERE total <= 0",
    ] {
        assert_eq!(ask::<i64>(&client, contradiction).await, 0, "{contradiction}");
    }
    for variety in [
        "SELECT count(DISTINCT status) = 3 FROM customers",
        "SELECT count(DISTINCT status) = 3 FROM invoices",
        "SELECT count(DISTINCT status) = 4 FROM orders",
        "SELECT count(*) > 0 FROM customers WHERE 'gift, wrapped' = ANY(tags)",
        "SELECT count(*) > 0 FROM customers WHERE tags = '{}'",
        "SELECT count(*) > 0 FROM customers WHERE last_seen_at IS NULL",
        "SELECT count(*) > 0 FROM customers WHERE profile->>'note' LIKE E'%\\n%'",
        "SELECT count(*) > 0 FROM customers WHERE name LIKE '%O''Brien'",
        "SELECT count(*) > 0 FROM invoices WHERE status = 'overdue' AND reminded_at IS NULL",
        "SELECT count(*) > 0 FROM orders WHERE total <> trunc(total)",
        "SELECT bool_and(length(avatar_hash) = 16) FROM customers",
        "SELECT EXISTS (SELECT FROM customers WHERE id = 'C-00042')",
    ] {
        assert!(ask::<bool>(&client, variety).await, "{variety}");
    }
}

#[tokio::test]
async fn the_seed_alone_decides_the_rows() {
    let pg = PrivatePg::start(PgOptions::default()).await.expect("Postgres starts");
    let table = |name| format!("(SELECT string_agg(t::text, '' ORDER BY id) FROM {name} t)");
    let digest = format!("SELECT md5({} || {} || {})", table("customers"), table("orders"), table("invoices"));
    let mut digests = Vec::new();
    for (name, seed) in [("one", SEED), ("two", SEED), ("three", SEED + 1)] {
        digests.push(ask::<String>(&loaded(&pg, name, seed).await, &digest).await);
    }
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

#[tokio::test]
async fn a_database_that_is_not_empty_is_refused_and_kept() {
    let pg = PrivatePg::start(PgOptions::default()).await.expect("Postgres starts");
    let client = loaded(&pg, "one", SEED).await;
    let error = load(&pg.url_of("one"), SEED).await.expect_err("it has the tables already");
    assert!(error.to_string().contains("has to be empty"), "{error}");
    assert_eq!(ask::<i64>(&client, "SELECT count(*) FROM customers").await, CUSTOMERS as i64);
}
