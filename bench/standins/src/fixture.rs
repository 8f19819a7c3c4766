//! The server behind which the official conformance suite finds every tool, resource and prompt it asks for by name.
//!
//! It is a real server on rmcp and speaks both eras, so that the suite can be run against it alone, and against Weir in
//! front of it; what passes must be the same. Texts and schemas that the suite compares are its own; the rest is ours.

// Logging, sampling and roots are deprecated by the protocol (SEP-2577); the suite asks for them as long as they exist.
#![expect(deprecated, reason = "the suite asks for deprecated parts of the protocol too")]

mod ask;
mod call;
mod content;
mod prompts;
mod resources;
mod rounds;
mod serve;
mod tasks;
mod tools;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult, CompletionInfo,
    ErrorData, GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
    PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, RequestStateCodec,
    ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::Era;

/// Changes that a listener which falls behind may miss; it then reads on from the newest.
const CHANGES_MAX: usize = 64;

/// What all connections to one fixture share.
#[derive(Clone)]
pub struct Fixture {
    world: Arc<World>,
}

impl std::fmt::Debug for Fixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixture").field("era", &self.world.era).finish_non_exhaustive()
    }
}

struct World {
    era: Era,
    changes: broadcast::Sender<Change>,
    extra_tool: AtomicBool,
    extra_prompt: AtomicBool,
    states: RequestStateCodec,
    tasks: TaskManager,
}

/// What a subscription can be told of.
#[derive(Debug, Clone, Copy)]
enum Change {
    Tools,
    Prompts,
}

impl Fixture {
    pub fn new(era: Era) -> Self {
        // One process seals and opens its own states, so a key of this process is enough.
        let key: [u8; 32] = rand::random();
        let world = World {
            era,
            changes: broadcast::channel(CHANGES_MAX).0,
            extra_tool: AtomicBool::new(false),
            extra_prompt: AtomicBool::new(false),
            states: RequestStateCodec::try_new(key).expect("32 bytes are the shortest key it takes"),
            tasks: TaskManager::new(),
        };
        Self { world: Arc::new(world) }
    }

    /// The handler of one connection (or, in the modern era over HTTP, of one request).
    pub(crate) fn session(&self) -> Session {
        Session { world: Arc::clone(&self.world), log_level: Mutex::new(LoggingLevel::Info) }
    }
}

/// One connection's view of the fixture.
pub(crate) struct Session {
    world: Arc<World>,
    /// Set by `logging/setLevel`, which only legacy callers have.
    log_level: Mutex<LoggingLevel>,
}

impl Session {
    /// Adds or takes away a tool (or prompt) for everybody, and tells whoever listens.
    fn toggle(&self, change: Change) {
        let switch = match change {
            Change::Tools => &self.world.extra_tool,
            Change::Prompts => &self.world.extra_prompt,
        };
        switch.fetch_xor(true, Ordering::Relaxed);
        // Nobody listening is no failure.
        let _ = self.world.changes.send(change);
    }

    fn log_level(&self) -> LoggingLevel {
        *self.log_level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerHandler for Session {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("weir-conformance-fixture", env!("CARGO_PKG_VERSION")))
            .with_instructions("Tools, resources and prompts of the MCP conformance suite.")
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.world.era {
            Era::Both => Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS),
            Era::LegacyOnly => Cow::Borrowed(ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE)),
            Era::ModernOnly => Cow::Borrowed(&[ProtocolVersion::V_2026_07_28]),
        }
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all(self.world.extra_tool.load(Ordering::Relaxed))))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all(self.world.extra_tool.load(Ordering::Relaxed)).into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        call::call(self, request, context).await
    }

    async fn set_level(&self, request: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        *self.log_level.lock().unwrap_or_else(PoisonError::into_inner) = request.level;
        Ok(())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = prompts::completions(&request.argument.value);
        CompletionInfo::with_all_values(values)
            .map(CompleteResult::new)
            .map_err(|reason| ErrorData::internal_error(reason, None))
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::all(self.world.extra_prompt.load(Ordering::Relaxed))))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&request, &context)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::all()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&request.uri).map(ReadResourceResponse::from)
    }

    async fn subscribe(&self, request: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        // No resource of the fixture ever changes, so there is nothing to remember.
        resources::read(&request.uri).map(drop)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resources::read(&request.uri).map(drop)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.world.changes.subscribe();
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = context.cancelled() => return Ok(()),
            };
            // The sink refuses what the filter leaves out; a closed subscription ends at the next cancellation.
            let _ = match change {
                Ok(Change::Tools) => context.sink().notify_tool_list_changed().await,
                Ok(Change::Prompts) => context.sink().notify_prompt_list_changed().await,
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.world.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(&self, request: UpdateTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.world.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.world.tasks.cancel_task(&request.task_id)
    }
}

/// The fixture writes its definitions as JSON, the form in which the suite states what it wants to see.
fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the fixture's own definitions fit rmcp's model")
}
