//! What to put where so that Claude uses this Weir.

use std::path::Path;

use config::{Config, SecretRef};
use serde_json::{Map, Value, json};

/// What the snippets say for one config.
#[derive(Debug)]
pub(super) struct Snippets<'a> {
    config: &'a Config,
    file: &'a Path,
    binary: &'a Path,
    endpoint: String,
}

/// Text to copy, and where it belongs.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) advice: String,
    pub(super) text: String,
}

/// Stands for a key that only its owner knows.
const YOUR_KEY: &str = "YOUR_KEY";

impl<'a> Snippets<'a> {
    pub(super) fn new(config: &'a Config, file: &'a Path, binary: &'a Path) -> Self {
        let scheme = if config.server.tls.is_some() { "https" } else { "http" };
        let base = config.server.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", config.server.listen));
        Self { config, file, binary, endpoint: format!("{}/mcp", base.trim_end_matches('/')) }
    }

    /// Desktop starts programs and speaks to them over stdio; it passes none of the shell's environment on.
    pub(super) fn claude_desktop(&self) -> Snippet {
        let variables: Map<String, Value> =
            self.variables().into_iter().map(|name| (name.clone(), json!(format!("the value of {name}")))).collect();
        let mut server = json!({ "command": self.binary, "args": ["stdio", "--config", self.file] });
        if !variables.is_empty() {
            server["env"] = Value::Object(variables);
        }
        let advice = "put this into claude_desktop_config.json (Settings, Developer, Edit Config) and restart it. It starts a router of its own; \
                      to use one that runs, take `stdio --url URL` and WEIR_API_KEY in `env`."
            .to_owned();
        Snippet { advice, text: format!("{:#}", json!({ "mcpServers": { "weir": server } })) }
    }

    pub(super) fn claude_code(&self) -> Snippet {
        let header =
            if self.wants_key() { format!(" --header \"Authorization: Bearer {YOUR_KEY}\"") } else { String::new() };
        Snippet {
            advice: format!("run this while `weir serve` runs.{}", self.key_advice()),
            text: format!("claude mcp add --transport http weir {}{header}", self.endpoint),
        }
    }

    /// The Messages API connects from outside, so it needs a public HTTPS endpoint.
    pub(super) fn api(&self) -> Snippet {
        let mut server = json!({ "type": "url", "url": self.endpoint, "name": "weir" });
        if self.wants_key() {
            server["authorization_token"] = json!(YOUR_KEY);
        }
        let tools = json!([{ "type": "mcp_toolset", "mcp_server_name": "weir" }]);
        let is_public = self.endpoint.starts_with("https://");
        let reach = if is_public {
            ""
        } else {
            " The API connects from outside: give Weir a public https:// address first and name it under `server.public_url`."
        };
        Snippet {
            advice: format!(
                "add this to a request to /v1/messages with the header `anthropic-beta: mcp-client-2025-11-20`.{reach}{}",
                self.key_advice()
            ),
            text: format!("{:#}", json!({ "mcp_servers": [server], "tools": tools })),
        }
    }

    fn wants_key(&self) -> bool {
        self.config.identity.api_keys.is_some()
    }

    fn key_advice(&self) -> String {
        match &self.config.identity.api_keys {
            None => String::new(),
            Some(keys) => format!(
                " {YOUR_KEY}: `weir keys create --file {} --subject NAME --role ROLE` prints one.",
                keys.file.display()
            ),
        }
    }

    /// The environment variables that the config refers to.
    fn variables(&self) -> Vec<&String> {
        let mut references: Vec<&SecretRef> = self.config.secrets.master.iter().collect();
        for downstream in self.config.downstreams.values() {
            references.extend(downstream.secrets());
        }
        let mut names: Vec<&String> = Vec::new();
        for reference in references {
            if let SecretRef::Env(name) = reference
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }
}
