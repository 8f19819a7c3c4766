//! Which era of MCP a server speaks, and the handshake that goes with it.
//!
//! MCP 2026-07-28, "stdio", "Backward Compatibility": ask `server/discover`; an answer or a modern error means modern,
//! any other error or silence means legacy. A WebSocket has one shared channel as stdio has, so the same rule holds; over HTTP
//! an answer that is no JSON-RPC at all means legacy besides ("Streamable HTTP", "Backward Compatibility").

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use config::downstream::Era;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    failure::Failure,
    peer::{Answer, Peer},
    request::{self, MODERN_VERSION},
};
use crate::{Deadline, json::unquote};

/// The legacy version that is asked for, and those that are accepted besides.
const LEGACY_VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// "Unsupported protocol version" (MCP 2026-07-28, "Versioning and Compatibility").
const UNSUPPORTED_VERSION: i64 = -32022;
/// The errors that only a modern server knows: headers, missing capability, version.
const MODERN_ERRORS: [i64; 3] = [-32020, -32021, UNSUPPORTED_VERSION];
/// How much of what a server says of its versions is repeated.
const VERSIONS_SHOWN: usize = 5;
const VERSION_CHARS_SHOWN: usize = 20;

/// How long is waited for answers in the handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the answer to `server/discover`, before a server is taken for one that does not know it.
    pub(super) probe: Duration,
    /// For the answer to the message that must be answered.
    pub(super) handshake: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { probe: Duration::from_secs(2), handshake: Duration::from_secs(10) }
    }
}

/// A server that is yet to be known, whatever carries the questions to it.
pub(super) trait Stranger {
    /// Puts the request that `build` makes for its id, and waits for the answer for as long as `patience`. A server is not told
    /// when it ran out: before a handshake it may not know how.
    fn ask(
        &self,
        patience: Duration,
        build: impl FnOnce(u64) -> String + Send,
    ) -> impl Future<Output = Result<Asked, Failure>> + Send;

    /// Sends the end of the legacy handshake, which settled this version.
    fn initialized(&self, version: &'static str) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The modern era was settled.
    fn speak_modern(&self) {}
}

/// What a stranger said.
pub(super) enum Asked {
    Answer(Answer),
    /// Nothing in time.
    Silence,
    /// It did not take the question for one of this protocol; what happened.
    Refused(Failure),
}

/// What the handshake told of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Server {
    /// Whether it speaks the modern era.
    pub(super) modern: bool,
    /// The version that is spoken.
    pub(super) version: &'static str,
    /// Whether it says that it has tools at all.
    pub(super) tools: bool,
    /// Whether it tells when the list of its tools changes.
    pub(super) list_changed: bool,
}

/// Finds out how the server at the other end of `peer` wants to be spoken to.
pub(super) async fn settle<S: Stranger + Sync>(peer: &S, era: Era, patience: Patience) -> Result<Server, Failure> {
    match era {
        Era::Legacy => initialize(peer, patience.handshake).await,
        Era::Modern => match discover(peer, patience.handshake).await? {
            Discovered::Modern(server) => Ok(speak_modern(peer, server)),
            Discovered::Legacy => {
                Err(Failure::protocol("it does not speak MCP 2026-07-28: set `era: legacy` or `auto`"))
            }
        },
        Era::Auto => match discover(peer, patience.probe).await? {
            Discovered::Modern(server) => Ok(speak_modern(peer, server)),
            Discovered::Legacy => initialize(peer, patience.handshake).await,
        },
    }
}

enum Discovered {
    Modern(Server),
    Legacy,
}

fn speak_modern(peer: &impl Stranger, server: Server) -> Server {
    peer.speak_modern();
    server
}

async fn discover(peer: &(impl Stranger + Sync), patience: Duration) -> Result<Discovered, Failure> {
    let answer = peer.ask(patience, |id| request::own(id, "server/discover", true, &[])).await?;
    match answer {
        Asked::Answer(Answer::Result(result)) => discovered(&result),
        Asked::Answer(Answer::Error(error)) => refused(&error),
        Asked::Answer(Answer::Lost { failure, .. }) => Err(failure.as_ref().clone()),
        Asked::Answer(Answer::Malformed) | Asked::Silence | Asked::Refused(_) => Ok(Discovered::Legacy),
    }
}

fn discovered(result: &Bytes) -> Result<Discovered, Failure> {
    #[derive(Deserialize)]
    struct Discovery<'a> {
        #[serde(rename = "supportedVersions", default)]
        versions: Vec<String>,
        #[serde(borrow)]
        capabilities: Option<&'a RawValue>,
    }
    let Ok(discovery) = serde_json::from_slice::<Discovery<'_>>(result) else { return Ok(Discovered::Legacy) };
    let server = server(true, MODERN_VERSION, discovery.capabilities);
    choose(&discovery.versions).map(|modern| if modern { Discovered::Modern(server) } else { Discovered::Legacy })
}

fn refused(error: &Bytes) -> Result<Discovered, Failure> {
    #[derive(Deserialize)]
    struct Refusal<'a> {
        #[serde(borrow)]
        code: Option<&'a RawValue>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    #[derive(Deserialize, Default)]
    struct Supported {
        #[serde(default)]
        supported: Vec<String>,
    }
    let refusal = serde_json::from_slice::<Refusal<'_>>(error).ok();
    // A code outside every integer type is just another code.
    let code = refusal.as_ref().and_then(|refusal| refusal.code?.get().parse::<i64>().ok());
    let data = refusal.as_ref().and_then(|refusal| refusal.data);
    match code {
        Some(UNSUPPORTED_VERSION) => {
            let data = data.and_then(|data| serde_json::from_str::<Supported>(data.get()).ok()).unwrap_or_default();
            let others: Vec<_> = data.supported.into_iter().filter(|version| version != MODERN_VERSION).collect();
            choose(&others).map(|_| Discovered::Legacy)
        }
        Some(code) if MODERN_ERRORS.contains(&code) => {
            Err(Failure::protocol(format!("it refuses `server/discover` (error {code})")))
        }
        _ => Ok(Discovered::Legacy),
    }
}

/// True for the modern version, false for a legacy one, an error where there is no common one.
fn choose(versions: &[String]) -> Result<bool, Failure> {
    if versions.iter().any(|version| version == MODERN_VERSION) {
        Ok(true)
    } else if versions.iter().any(|version| LEGACY_VERSIONS.contains(&version.as_str())) {
        Ok(false)
    } else {
        Err(Failure::protocol("it speaks no version of MCP that Weir knows").because(shown(versions)))
    }
}

/// Some of the versions that a server says it speaks, for the operator: short, and without the control characters of a stranger.
fn shown(versions: &[String]) -> String {
    let short = |version: &String| format!("{:?}", version.chars().take(VERSION_CHARS_SHOWN).collect::<String>());
    let some: Vec<_> = versions.iter().take(VERSIONS_SHOWN).map(short).collect();
    some.join(", ")
}

async fn initialize(peer: &(impl Stranger + Sync), patience: Duration) -> Result<Server, Failure> {
    #[derive(Deserialize)]
    struct Initialized<'a> {
        #[serde(borrow, rename = "protocolVersion")]
        version: Option<&'a RawValue>,
        #[serde(borrow)]
        capabilities: Option<&'a RawValue>,
    }
    let answer = peer.ask(patience, |id| request::initialize(id, LEGACY_VERSIONS[0])).await?;
    let result = match answer {
        Asked::Answer(Answer::Result(result)) => result,
        Asked::Answer(Answer::Error(_)) => return Err(Failure::protocol("it refuses `initialize`")),
        Asked::Answer(Answer::Lost { failure, .. }) => return Err(failure.as_ref().clone()),
        Asked::Answer(Answer::Malformed) => return Err(Failure::protocol("its answer to `initialize` is none")),
        Asked::Refused(failure) => return Err(failure),
        Asked::Silence => {
            return Err(Failure::unreachable(format!("no answer to `initialize` within {} ms", patience.as_millis())));
        }
    };
    let answered = serde_json::from_slice::<Initialized<'_>>(&result)
        .map_err(|_| Failure::protocol("its answer to `initialize` is none"))?;
    let version = answered.version.and_then(|version| unquote(version.get())).unwrap_or_default();
    let Some(version) = LEGACY_VERSIONS.into_iter().find(|known| *known == version) else {
        return Err(Failure::protocol("it speaks no version of MCP that Weir knows"));
    };
    let server = server(false, version, answered.capabilities);
    peer.initialized(version).await?;
    Ok(server)
}

fn server(modern: bool, version: &'static str, capabilities: Option<&RawValue>) -> Server {
    #[derive(Deserialize, Default)]
    struct Capabilities<'a> {
        #[serde(borrow)]
        tools: Option<&'a RawValue>,
    }
    #[derive(Deserialize, Default)]
    struct Tools {
        #[serde(default, rename = "listChanged")]
        list_changed: bool,
    }
    let capabilities: Capabilities<'_> =
        capabilities.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let tools: Option<Tools> = capabilities.tools.map(|raw| serde_json::from_str(raw.get()).unwrap_or_default());
    Server { modern, version, tools: tools.is_some(), list_changed: tools.unwrap_or_default().list_changed }
}

impl Stranger for Arc<Peer> {
    async fn ask(&self, patience: Duration, build: impl FnOnce(u64) -> String + Send) -> Result<Asked, Failure> {
        let limit = Deadline::after(patience);
        let lost = |error: crate::AdapterError| Failure::lost("the connection was closed").because(error);
        let mut in_flight = self.start(None, None, |id| Ok(build(id))).await.map_err(lost)?;
        let answer = tokio::time::timeout_at(limit.at(), in_flight.answer()).await;
        if answer.is_err() {
            in_flight.forget();
        }
        Ok(answer.map_or(Asked::Silence, Asked::Answer))
    }

    async fn initialized(&self, _: &'static str) -> Result<(), Failure> {
        self.say(request::INITIALIZED.to_owned());
        Ok(())
    }

    fn speak_modern(&self) {
        Peer::speak_modern(self);
    }
}

#[cfg(test)]
mod tests;
