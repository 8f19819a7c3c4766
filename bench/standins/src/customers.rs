//! A customer database with realistic data: customers, their orders, their invoices.
//!
//! The same seed makes the same rows on every machine. Some columns are there because types matter: integers that no
//! double can hold, exact decimals, moments with microseconds, dates, UUIDs, bytes, arrays with awkward elements,
//! nested JSON.

mod copy;
mod generate;
#[cfg(test)]
mod tests;
mod words;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::SinkExt as _;
use std::pin::pin;
use tokio_postgres::{NoTls, Transaction};

pub(crate) use generate::{
    Customer, Order, after, as_of, before, customers, decimal, invoices, moment_between, orders,
};

pub const CUSTOMERS: usize = 2_000;
pub const ORDERS: usize = 8_000;
pub const INVOICES: usize = 6_000;
/// The seed to use where none matters.
pub const SEED: u64 = 42;
/// The day at whose start the data is true: what was due before it and is not paid is overdue.
pub const AS_OF: &str = "2026-11-01";

const SCHEMA: &str = include_str!("customers/schema.sql");
const INDEXES: &str = include_str!("customers/indexes.sql");

/// Creates the tables in a database that has none of them, and fills them.
pub async fn load(url: &str, seed: u64) -> Result<()> {
    let (mut client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("cannot reach Postgres to load the customers")?;
    let connection = tokio::spawn(connection);
    let customers = customers(seed);
    let orders = orders(seed, &customers);
    let invoices = invoices(seed, &customers, &orders);

    let transaction = client.transaction().await?;
    transaction.batch_execute(SCHEMA).await.context("cannot create the tables; the database has to be empty")?;
    fill(&transaction, "customers", copy::customers(&customers)).await?;
    fill(&transaction, "orders", copy::orders(&orders, &customers)).await?;
    fill(&transaction, "invoices", copy::invoices(&invoices, &orders, &customers)).await?;
    transaction.batch_execute(INDEXES).await?;
    transaction.commit().await?;

    drop(client);
    connection.await?.context("Postgres hung up after the customers were loaded")
}

async fn fill(transaction: &Transaction<'_>, table: &str, rows: String) -> Result<()> {
    let sink = transaction.copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN")).await?;
    let mut sink = pin!(sink);
    sink.send(rows.into()).await?;
    sink.finish().await.with_context(|| format!("cannot fill the table {table}"))?;
    Ok(())
}
