//! The one place where the kinds of downstream are registered.

use std::sync::Arc;

use config::{
    Downstream, DownstreamName, Sources, Tool,
    downstream::{Kind, Transport},
    secret::SecretError,
};
use indexmap::IndexMap;

use crate::{
    Adapter,
    credential::{Credentials, Setting, TokenMeter},
    mainframe, mcp, postgres, ticketing,
    tls::Trust,
};

/// Why an adapter cannot be made from its config.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A secret that it needs cannot be read.
    #[error("{setting}: {source}")]
    Secret {
        /// Where in the config the reference stands.
        setting: String,
        /// Why it cannot be read.
        source: SecretError,
    },
    /// A setting has no meaning to the library that must use it.
    #[error("{setting}: {message}")]
    Setting {
        /// Where in the config it stands.
        setting: String,
        /// What is wrong and what is right.
        message: String,
    },
}

/// Makes the adapter for one downstream. Connects to nothing: a downstream that is not there yet is no reason not to start.
/// Relative files are looked for in `sources`. Must run inside a tokio runtime. `meter` counts
/// what is asked for at authorization servers.
///
/// # Errors
/// [`BuildError`] names the setting that is wrong.
pub fn build(
    name: &DownstreamName,
    downstream: &Downstream,
    sources: &Sources,
    meter: TokenMeter,
) -> Result<Arc<dyn Adapter>, BuildError> {
    let several_kinds = || BuildError::Setting {
        setting: format!("downstreams.{name}"),
        message: "give exactly one of `postgres`, `mainframe`, `ticketing` and `mcp`".to_owned(),
    };
    let section = section(name, downstream);
    let setting = Setting { section: &section, downstream: name.as_str(), sources, meter };
    let shown = || -> Result<_, BuildError> {
        let trust = Trust::showing(downstream.tls(), sources, &section)?;
        Ok(Shown { credentials: Credentials::new(downstream.credential(), setting)?, trust, section: &section })
    };
    Ok(match downstream.kind().ok_or_else(several_kinds)? {
        Kind::Postgres(settings) => {
            Arc::new(postgres::Postgres::new(name, settings, &with_effects(downstream), sources)?)
        }
        Kind::Mainframe(settings) => {
            Arc::new(mainframe::Mainframe::new(name, settings, &with_effects(downstream), shown()?, sources)?)
        }
        Kind::Ticketing(settings) => {
            Arc::new(ticketing::Ticketing::new(name, settings, downstream, shown()?, sources)?)
        }
        Kind::Mcp(settings) => match settings.transport() {
            Some(Transport::Http(http)) => {
                Arc::new(mcp::http::McpHttpServer::new(name, settings, http, shown()?, sources)?)
            }
            _ => Arc::new(mcp::McpServer::new(name, settings, shown()?, sources)?),
        },
    })
}

/// What a downstream is shown over a network: in its requests, and while a connection is made.
pub(crate) struct Shown<'a> {
    pub(crate) credentials: Credentials,
    pub(crate) trust: Trust,
    /// Where both stand in the config.
    pub(crate) section: &'a str,
}

/// The section of the config that says how a downstream is reached.
fn section(name: &DownstreamName, downstream: &Downstream) -> String {
    let kind = match downstream.kind() {
        Some(Kind::Postgres(_)) => "postgres",
        Some(Kind::Mainframe(_)) => "mainframe",
        Some(Kind::Ticketing(_)) => "ticketing",
        Some(Kind::Mcp(mcp)) => match mcp.transport() {
            Some(Transport::Http(_)) => "mcp.http",
            Some(Transport::WebSocket(_)) => "mcp.websocket",
            Some(Transport::Stdio(_)) => "mcp.stdio",
            None => "mcp",
        },
        None => "",
    };
    format!("downstreams.{name}.{kind}")
}

/// A mistake in a setting that only its adapter can understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The keys below the downstream, such as `tools`, `get_account`, `answer`.
    pub keys: Vec<String>,
    /// What is wrong and what is right.
    pub message: String,
}

/// Everything that is wrong with settings that only the adapter of this downstream understands, such as a copybook. Connects to
/// nothing and reads no secret. Relative files are looked for in `sources`.
#[must_use]
pub fn check(downstream: &Downstream, sources: &Sources) -> Vec<Mistake> {
    match downstream.kind() {
        Some(Kind::Mainframe(settings)) => mainframe::check(settings, &downstream.tools, sources),
        Some(Kind::Postgres(_) | Kind::Ticketing(_) | Kind::Mcp(_)) | None => Vec::new(),
    }
}

/// The tools with the effect that holds for each: what callers read of a tool agrees with what is enforced.
fn with_effects(downstream: &Downstream) -> IndexMap<String, Tool> {
    let mut tools = downstream.tools.clone();
    for (name, tool) in &mut tools {
        tool.effect = Some(downstream.effect_of(name));
    }
    tools
}
