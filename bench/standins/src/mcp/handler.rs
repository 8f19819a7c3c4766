//! What the server answers, whatever the transport.

use std::borrow::Cow;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode, ErrorData, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{McpServer, awkward, enrichment};
use crate::Era;

/// What a tool answers, or an error of the protocol.
pub(super) type Answer = Result<CallToolResult, ErrorData>;

/// The server as one connection sees it.
#[derive(Clone)]
pub(super) struct Handler {
    server: McpServer,
    /// From the upgrade of a WebSocket; over HTTP every request has its own.
    authorization: Option<String>,
}

/// A call that is running. Dropped before it has an answer, it counts as cancelled.
struct Open<'a> {
    server: &'a McpServer,
    finished: bool,
}

impl Handler {
    pub(super) fn new(server: McpServer, authorization: Option<String>) -> Self {
        Self { server, authorization }
    }

    fn authorization(&self, context: &RequestContext<RoleServer>) -> Option<String> {
        let request = context.extensions.get::<Parts>();
        let header = request.and_then(|request| request.headers.get(AUTHORIZATION)?.to_str().ok());
        header.map(str::to_owned).or_else(|| self.authorization.clone())
    }

    async fn answer(&self, request: CallToolRequestParams, context: &RequestContext<RoleServer>) -> Answer {
        let faults = self.server.next_faults();
        if faults.hang {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(faults.delay_ms)).await;
        if faults.fail_next > 0 {
            return Ok(refusal("The enrichment service is not well just now. Try again later."));
        }
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let outcome = match request.name.as_ref() {
            "get_merchant" => enrichment::get_merchant(&self.server, arguments),
            "get_customer_history" => enrichment::get_customer_history(&self.server, arguments),
            "check_fraud_patterns" => enrichment::check_fraud_patterns(&self.server, arguments),
            "log_transaction_enrichment" => {
                let client = context.client_info().map(|client| client.name);
                let meta = serde_json::to_value(&context.meta).expect("it came as JSON");
                enrichment::log(&self.server, arguments, client, self.authorization(context), meta)
            }
            name => return awkward::call(&self.server, name, arguments, context).await,
        };
        Ok(outcome.map_or_else(refusal, structured))
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("payment-enrichment", env!("CARGO_PKG_VERSION")))
            .with_instructions("Looks up merchants and payments, and keeps what was found out about a payment.")
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.server.0.options.era {
            Era::Both => Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS),
            Era::LegacyOnly => Cow::Borrowed(ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25)),
            Era::ModernOnly => Cow::Borrowed(&[ProtocolVersion::V_2026_07_28]),
        }
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.server.0.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.server.0.tools.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if self.server.0.tools.iter().all(|tool| tool.name != request.name) {
            return Err(unknown(&request.name));
        }
        let open = Open::new(&self.server, &request.name);
        tokio::select! {
            answer = self.answer(request, &context) => {
                open.finish();
                answer.map(CallToolResponse::from)
            }
            () = context.ct.cancelled() => Err(ErrorData::new(ErrorCode::INTERNAL_ERROR, "cancelled", None)),
        }
    }
}

impl<'a> Open<'a> {
    fn new(server: &'a McpServer, tool: &str) -> Self {
        server.0.observed.update(|seen| *seen.calls.entry(tool.to_owned()).or_default() += 1);
        Self { server, finished: false }
    }

    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.server.0.observed.update(|seen| if self.finished { seen.finished += 1 } else { seen.cancelled += 1 });
    }
}

/// A tool with a schema for an object of these properties, of which the ones named are required.
pub(super) fn tool(name: &'static str, description: &'static str, properties: Value, required: &[&str]) -> Tool {
    let mut schema = JsonObject::new();
    schema.insert("type".into(), json!("object"));
    schema.insert("properties".into(), properties);
    schema.insert("required".into(), json!(required));
    schema.insert("additionalProperties".into(), json!(false));
    Tool::new(name, description, schema)
}

/// The same content for programs and for models.
pub(super) fn structured(value: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    result
}

/// An error that the caller's model is meant to read.
pub(super) fn refusal(message: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(message)])
}

/// MCP 2025-11-25, server/tools, "Error Handling": wrong arguments are an error of the tool, so that a model can mend
/// them.
pub(super) fn arguments<T: DeserializeOwned>(arguments: Value) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|error| format!("The arguments do not fit: {error}."))
}

fn unknown(name: &str) -> ErrorData {
    ErrorData::new(ErrorCode::INVALID_PARAMS, format!("Unknown tool: {name}"), None)
}
