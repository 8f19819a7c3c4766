//! What to put where so that Claude uses this Weir.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use config::{Config, SecretRef, downstream::Stdio};
use serde_json::{Map, Value, json};

/// What the snippets say for one config, or for one router that runs.
#[derive(Debug)]
pub(super) struct Snippets<'a> {
    binary: &'a Path,
    endpoint: String,
    /// The config of a router that Claude Desktop can start for itself.
    own: Option<Own<'a>>,
    /// Where the key comes from that callers of the endpoint need.
    key: Option<String>,
}

#[derive(Debug)]
struct Own<'a> {
    file: &'a Path,
    config: &'a Config,
}

/// Text to copy, and where it belongs.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) advice: String,
    pub(super) text: String,
}

/// Stands for a key that only its owner knows.
const YOUR_KEY: &str = "YOUR_KEY";
/// What a process behind Weir gets where the config says nothing: there, or not missed.
const USUAL: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

impl<'a> Snippets<'a> {
    pub(super) fn of_config(config: &'a Config, file: &'a Path, binary: &'a Path) -> Self {
        let keys = config.identity.api_keys.as_ref();
        // With keys and without roles for `local`, a router of one's own would have nobody who may do anything.
        let own = keys.is_none() || !config.identity.local.roles.is_empty();
        let key = keys.map(|keys| {
            let file = keys.file.display();
            format!("`weir keys create --file {file} --subject NAME --role ROLE` prints one")
        });
        Self { binary, endpoint: endpoint_of(config), own: own.then_some(Own { file, config }), key }
    }

    pub(super) fn of_endpoint(url: &str, binary: &'a Path) -> Self {
        let key = "whoever runs that Weir gives you one; where it asks for none, leave it out".to_owned();
        Self { binary, endpoint: url.to_owned(), own: None, key: Some(key) }
    }

    /// Desktop starts programs and speaks to them over stdio; it passes next to nothing of its environment on.
    pub(super) fn claude_desktop(&self) -> Snippet {
        let (args, env, what) = match &self.own {
            Some(own) => {
                let variables = own.variables().into_iter();
                let env: Map<_, _> = variables.map(|name| (name.to_owned(), value_of(name))).collect();
                let what = format!(
                    "It starts a router of its own; `weir init --claude-desktop --url {}` is for one that runs.",
                    self.endpoint
                );
                (json!(["stdio", "--config", own.file]), env, what)
            }
            None => {
                let env = self.key.iter().map(|_| ("WEIR_API_KEY".to_owned(), json!(YOUR_KEY))).collect();
                (json!(["stdio", "--url", self.endpoint]), env, format!("The router has to run.{}", self.key_advice()))
            }
        };
        let mut server = json!({ "command": self.binary, "args": args });
        if !env.is_empty() {
            server["env"] = Value::Object(env);
        }
        Snippet {
            advice: format!(
                "put this into claude_desktop_config.json (Settings, Developer, Edit Config) and restart it. {what}"
            ),
            text: format!("{:#}", json!({ "mcpServers": { "weir": server } })),
        }
    }

    pub(super) fn claude_code(&self) -> Snippet {
        let header = match &self.key {
            Some(_) => format!(" --header \"Authorization: Bearer {YOUR_KEY}\""),
            None => String::new(),
        };
        Snippet {
            advice: format!("run this while the router runs.{}", self.key_advice()),
            text: format!("claude mcp add --transport http weir {}{header}", self.endpoint),
        }
    }

    /// The Messages API connects from outside, so it needs a public HTTPS endpoint.
    pub(super) fn api(&self) -> Snippet {
        let mut server = json!({ "type": "url", "url": self.endpoint, "name": "weir" });
        if self.key.is_some() {
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

    fn key_advice(&self) -> String {
        self.key.as_ref().map(|advice| format!(" {YOUR_KEY}: {advice}.")).unwrap_or_default()
    }
}

impl<'a> Own<'a> {
    /// The environment variables that the config refers to.
    fn variables(&self) -> Vec<&'a str> {
        let downstreams = || self.config.downstreams.values();
        let secrets =
            self.config.secrets.master.iter().chain(downstreams().flat_map(|downstream| downstream.secrets()));
        let of_secrets = secrets.filter_map(|reference| match reference {
            SecretRef::Env(name) => Some(name.as_str()),
            SecretRef::File(_) | SecretRef::Vault(_) | SecretRef::Command(_) => None,
        });
        let processes = downstreams().filter_map(|downstream| downstream.mcp.as_ref()?.stdio.as_ref());
        let of_processes = processes.flat_map(variables_to_pass);
        let mut names: Vec<&str> = Vec::new();
        for name in of_secrets.chain(of_processes) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// Those that the operator listed.
fn variables_to_pass(process: &Stdio) -> impl Iterator<Item = &str> {
    process.pass_env.iter().map(String::as_str).filter(|name| !USUAL.contains(name))
}

fn value_of(variable: &str) -> Value {
    json!(format!("the value of {variable}"))
}

/// Where callers on this machine, or those whom the operator named, reach the router.
fn endpoint_of(config: &Config) -> String {
    let base = config.server.public_url.clone().unwrap_or_else(|| {
        let scheme = if config.server.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", reachable(config.server.listen))
    });
    format!("{}/mcp", base.trim_end_matches('/'))
}

/// An address that stands for every one of this machine is none that can be called.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
