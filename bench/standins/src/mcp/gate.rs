//! Makes a connection speak one era only. rmcp knows both: without this a legacy server would answer `server/discover`,
//! and a modern one would hang up after `initialize` instead of answering the next request.

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, ProtocolVersion, ServerJsonRpcMessage};
use rmcp::transport::Transport;

use crate::Era;

#[derive(Debug)]
pub(crate) struct Gate<T> {
    inner: T,
    era: Era,
}

impl<T> Gate<T> {
    pub(crate) fn new(inner: T, era: Era) -> Self {
        Self { inner, era }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Gate<T> {
    type Error = T::Error;

    fn send(&mut self, item: ServerJsonRpcMessage) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let message = self.inner.receive().await?;
            let Some(refusal) = refusal(self.era, &message) else { return Some(message) };
            // This future may be dropped at any await, and the answer must not be lost with it.
            let answer = self.inner.send(refusal);
            tokio::spawn(async move {
                if let Err(error) = answer.await {
                    tracing::debug!(%error, "the caller was gone before its answer");
                }
            });
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}

fn refusal(era: Era, message: &ClientJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let error = match &request.request {
        ClientRequest::DiscoverRequest(_) if !era.speaks_modern() => {
            ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "Method not found", None)
        }
        ClientRequest::InitializeRequest(initialize) if !era.speaks_legacy() => {
            unsupported(initialize.params.protocol_version.clone())
        }
        _ => return None,
    };
    Some(ServerJsonRpcMessage::error(error, Some(request.id.clone())))
}

/// MCP 2026-07-28, basic/versioning: what a modern server answers to a version that it does not speak.
pub(super) fn unsupported(requested: ProtocolVersion) -> ErrorData {
    ErrorData::unsupported_protocol_version(requested, &[ProtocolVersion::V_2026_07_28])
}
