//! What a server offers: all pages of its list, each definition as it came, what cannot be offered left out alone.

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{answer::is_object, connection::Connection, era::Server, peer::Answer, request};
use crate::{
    AdapterError, CallContext, CallerInputs, Deadline, ErrorClass, LeftOut, Offer, OfferedTool, Rejection, Sent,
    json::{self, unquote},
};

const PAGES_MAX: usize = 100;
const TOOLS_MAX: usize = 5_000;
const BYTES_MAX: usize = 32 << 20;
const NAME_BYTES_MAX: usize = 256;
const DEFINITION_BYTES_MAX: usize = 256 << 10;
/// How deep a definition may nest. Deeper ones are an attack on whoever walks them (MCP 2026-07-28, "JSON Schema Usage").
const DEPTH_MAX: usize = 64;
/// The longest that a server's word on the freshness of its list is believed.
const FRESH_MAX: Duration = Duration::from_secs(24 * 3600);
/// The error of a server that does not know the method.
const METHOD_NOT_FOUND: &str = "-32601";

/// How a list is to be asked for.
pub(super) struct Terms<'a> {
    pub(super) downstream: &'a str,
    /// How long one page may take.
    pub(super) attempt_timeout: Duration,
    /// How long the list holds where the server says nothing.
    pub(super) fresh_for: Duration,
    /// What of the caller changes the results of its tools.
    pub(super) caller_inputs: CallerInputs,
}

/// A server that can be asked, whatever carries the questions to it.
pub(super) trait Asked {
    /// What the handshake told of it.
    fn server(&self) -> Server;

    /// Puts the request that `build` makes for its id, and waits for the answer until `limit`.
    fn ask(
        &self,
        limit: Deadline,
        build: impl Fn(u64) -> String + Send + Sync,
    ) -> impl Future<Output = Result<Answer, AdapterError>> + Send;
}

impl Asked for Arc<Connection> {
    fn server(&self) -> Server {
        self.server
    }

    async fn ask(&self, limit: Deadline, build: impl Fn(u64) -> String + Send + Sync) -> Result<Answer, AdapterError> {
        self.peer.ask(limit, build).await
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    tools: Vec<&'a RawValue>,
    #[serde(borrow, rename = "nextCursor")]
    next_cursor: Option<&'a RawValue>,
    #[serde(rename = "ttlMs")]
    ttl_ms: Option<serde_json::Number>,
}

/// Ends `listing` by the deadline of `ctx`, and when nobody wants it any more.
pub(super) async fn in_time(
    downstream: &str,
    ctx: &CallContext,
    listing: impl Future<Output = Result<Offer, AdapterError>>,
) -> Result<Offer, AdapterError> {
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => Err(AdapterError::maybe_sent(ErrorClass::Cancelled, "The listing was cancelled.")),
        listed = tokio::time::timeout_at(ctx.deadline.at(), listing) => listed.unwrap_or_else(|_| {
            let message = format!("{downstream} did not list its tools in time.");
            Err(AdapterError::maybe_sent(ErrorClass::Timeout, message))
        }),
    }
}

/// Asks for all pages.
pub(super) async fn list(
    server: &(impl Asked + Sync),
    ctx: &CallContext,
    terms: Terms<'_>,
) -> Result<Offer, AdapterError> {
    let mut gathered = Gathered::default();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let limit = ctx.deadline.within(terms.attempt_timeout);
        let Some(bytes) = page(server, &terms, limit, cursor.as_deref()).await? else { break };
        let page = is_object(std::str::from_utf8(&bytes).unwrap_or_default())
            .then(|| serde_json::from_slice::<Page<'_>>(&bytes).ok())
            .flatten()
            .ok_or_else(|| protocol(&terms, "is no list of tools"))?;
        gathered.add(&page, bytes.len(), &terms.caller_inputs);
        let next = page.next_cursor.map(|next| next.get().to_owned()).filter(|next| unquote(next).is_some());
        if next.is_none() {
            return Ok(gathered.into_offer(terms.fresh_for));
        }
        if next == cursor || gathered.is_full() {
            break;
        }
        cursor = next;
    }
    if cursor.is_some() {
        gathered.leave_out(
            String::new(),
            format!("the list goes on after {} tools and was cut there", gathered.tools.len()),
        );
    }
    Ok(gathered.into_offer(terms.fresh_for))
}

/// One page; `None` when the server has no tools and does not know the question.
async fn page(
    asked: &(impl Asked + Sync),
    terms: &Terms<'_>,
    limit: Deadline,
    cursor: Option<&str>,
) -> Result<Option<Bytes>, AdapterError> {
    let cursor = cursor.map(|cursor| ("cursor", cursor));
    let server = asked.server();
    let build = |id| request::own(id, "tools/list", server.modern, cursor.as_slice());
    match asked.ask(limit, build).await? {
        Answer::Result(result) => Ok(Some(result)),
        Answer::Error(error) if !server.tools && has_code(&error, METHOD_NOT_FOUND) => Ok(None),
        Answer::Error(error) => {
            let message = format!("{} refused to list its tools.", terms.downstream);
            Err(AdapterError::rejected(message, Rejection::Rpc(error)))
        }
        Answer::Malformed => Err(protocol(terms, "is neither a result nor an error")),
        Answer::Lost { failure, sent, alone } => Err(failure.for_call(terms.downstream, sent, alone)),
    }
}

fn protocol(terms: &Terms<'_>, what: &str) -> AdapterError {
    let message = format!("What {} answered to `tools/list` {what}.", terms.downstream);
    AdapterError::new(ErrorClass::Protocol, Sent::Yes, message)
}

fn has_code(error: &Bytes, code: &str) -> bool {
    let error = std::str::from_utf8(error).ok().and_then(json::Object::parse);
    error.is_some_and(|error| error.get("code") == Some(code))
}

#[derive(Default)]
struct Gathered {
    tools: Vec<OfferedTool>,
    left_out: Vec<LeftOut>,
    names: HashSet<Arc<str>>,
    bytes: usize,
    ttl: Option<Duration>,
}

impl Gathered {
    fn add(&mut self, page: &Page<'_>, bytes: usize, caller_inputs: &CallerInputs) {
        self.bytes += bytes;
        // MCP 2026-07-28, server/utilities/caching: less than 0 is 0, and nothing stated is left to us.
        let ttl = page.ttl_ms.as_ref().and_then(serde_json::Number::as_f64).map(|ms| ms.max(0.0));
        let ttl = ttl.map(|ms| Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(FRESH_MAX).min(FRESH_MAX));
        self.ttl = self.ttl.into_iter().chain(ttl).min();
        for definition in &page.tools {
            if self.is_full() {
                break;
            }
            match check(definition.get()) {
                Ok(name) if self.names.contains(name.as_str()) => {
                    self.leave_out(name, "the server lists this name twice; the first one counts".to_owned());
                }
                Ok(name) => {
                    let local_name: Arc<str> = name.into();
                    self.names.insert(Arc::clone(&local_name));
                    let (definition, caller_inputs) = ((*definition).to_owned(), caller_inputs.clone());
                    self.tools.push(OfferedTool { local_name, definition, caller_inputs });
                }
                Err((name, reason)) => self.leave_out(name, reason),
            }
        }
    }

    fn leave_out(&mut self, local_name: String, reason: String) {
        if self.left_out.len() < TOOLS_MAX {
            self.left_out.push(LeftOut { local_name, reason });
        }
    }

    fn is_full(&self) -> bool {
        self.tools.len() >= TOOLS_MAX || self.bytes > BYTES_MAX
    }

    fn into_offer(self, fresh_for: Duration) -> Offer {
        Offer { tools: self.tools, left_out: self.left_out, fresh_for: Some(self.ttl.unwrap_or(fresh_for)) }
    }
}

/// The name of a tool that can be offered, or its name as far as it has one and why it cannot.
fn check(definition: &str) -> Result<String, (String, String)> {
    let nameless = |reason: &str| (String::new(), reason.to_owned());
    let object = json::Object::parse(definition).ok_or_else(|| nameless("it is no JSON object"))?;
    let name = object.get("name").and_then(unquote).ok_or_else(|| nameless("it has no `name`"))?;
    let bad = |reason: String| (name.chars().take(80).collect(), reason);
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(bad(format!("its name has {} bytes; from 1 to {NAME_BYTES_MAX} can be used", name.len())));
    }
    if definition.len() > DEFINITION_BYTES_MAX {
        return Err(bad(format!(
            "its definition has {} bytes; at most {DEFINITION_BYTES_MAX} can be used",
            definition.len()
        )));
    }
    if depth(definition) > DEPTH_MAX {
        return Err(bad(format!("its definition nests deeper than {DEPTH_MAX} levels")));
    }
    match object.get("inputSchema") {
        Some(schema) if is_object(schema) => Ok(name.into_owned()),
        Some(_) => Err(bad("its `inputSchema` is no JSON object".to_owned())),
        None => Err(bad("it has no `inputSchema`".to_owned())),
    }
}

/// How deep valid JSON nests.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
