//! MCP in lines, as over standard input and output.

use std::path::Path;

use anyhow::{Context as _, Result};
use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::gate::Gate;
use super::handler::Handler;
use super::{McpServer, Seen};

pub(super) async fn serve(
    server: McpServer,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<()> {
    let era = server.0.options.era;
    let transport = Gate::new(AsyncRwTransport::new(input, output), era);
    match Handler::new(server, None).serve(transport).await {
        Ok(service) => {
            service.waiting().await?;
            Ok(())
        }
        // A caller that only asked and left is no failure.
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(error).context("no session came about"),
    }
}

/// Writes down what is seen whenever it changes, for as long as it is polled.
pub(super) async fn keep_tally(mut seen: watch::Receiver<Seen>, folder: &Path) -> Result<()> {
    let file = folder.join(format!("{}.json", std::process::id()));
    let written = file.with_extension("part");
    loop {
        let tally = {
            let seen = seen.borrow_and_update();
            let running = seen.calls.values().sum::<u64>() - seen.finished - seen.cancelled;
            json!({ "running": running, "finished": seen.finished, "cancelled": seen.cancelled })
        };
        // Whoever reads it finds a whole one.
        std::fs::write(&written, tally.to_string())?;
        std::fs::rename(&written, &file)?;
        seen.changed().await?;
    }
}
