//! MCP in lines, as over standard input and output.

use anyhow::{Context as _, Result};
use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, AsyncWrite};

use super::McpServer;
use super::gate::Gate;
use super::handler::Handler;

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
