//! A look at the database, where traffic does not tell whether it can be reached.

use std::time::Duration;

use deadpool_postgres::{Pool, Timeouts};
use tokio::time::timeout;

use super::failure;

/// One cheap question. An error without a reason says nothing about the database: all connections were in use.
pub(super) async fn probe(pool: Pool, limit: Duration) -> Result<(), Option<String>> {
    let timeouts = Timeouts { wait: Some(limit), create: Some(limit), recycle: Some(limit) };
    let client = pool.timeout_get(&timeouts).await.map_err(|error| failure::why_unreachable(&error, limit))?;
    match timeout(limit, client.check_connection()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            drop(deadpool_postgres::Object::take(client));
            Err(Some("a connection was open but gave no answer".to_owned()))
        }
    }
}
