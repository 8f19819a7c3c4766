//! Callers and networks that mean harm, in front of real processes: floods of frames, crowds of slow callers, no descriptors left,
//! and the proxy that a company has in front.

mod behind_nginx;
mod descriptors;
mod http2;
mod slow;

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tempfile::TempDir;
use tests::{Ask, Fleet, keys, open_house};

/// What the tool answers when it is asked for much: more than any socket takes by itself.
const MUCH_BYTES: usize = 12 << 20;

/// Processes in front of a server with one tool, `raw__work`, whose calls are counted.
struct House {
    fleet: Fleet,
    server: RawServer,
    key: String,
}

impl House {
    /// So many replicas with these settings of `server`; files that they name are in `dir`.
    async fn start(replicas: usize, dir: TempDir, settings: Value) -> Result<Self> {
        Self::start_with(None, replicas, dir, settings).await
    }

    /// The same, with no more than so many open files in each process.
    async fn start_with(files_max: Option<u32>, replicas: usize, dir: TempDir, settings: Value) -> Result<Self> {
        let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
            Some("tools/list") => {
                Some(vec![Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#)])
            }
            Some("tools/call") => {
                let much = message.params.as_deref().is_some_and(|params| params.contains("much"));
                let filler = " ".repeat(if much { MUCH_BYTES } else { 0 });
                Some(vec![Action::result(message, &format!("{{\"content\":[{filler}]}}"))])
            }
            _ => None,
        })
        .await?;
        let mut config = open_house(&[("raw", &server.url)]);
        config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
        config["server"] = settings;
        let key = keys(dir.path(), &[("alice", &["all"])])?.remove(0);
        let fleet = Fleet::start_with(files_max, replicas, dir, config).await?;
        Ok(Self { fleet, server, key })
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>> {
        (0..self.fleet.len()).map(|replica| self.fleet.address(replica)).collect()
    }

    /// How many calls have reached the downstream.
    fn calls(&self) -> usize {
        self.server.received().iter().filter(|message| message.tool().is_some()).count()
    }

    /// A call on its own connection, which it closes, as bytes.
    fn wire(&self, host: &str, arguments: Value) -> Vec<u8> {
        Ask::call("raw__work", arguments).key(&self.key).header("connection", "close").wire(host)
    }

    /// One call at a replica.
    async fn call(&self, replica: usize) -> Result<()> {
        let answer = self.fleet.call(replica, &self.key, "raw__work", json!({})).await?;
        ensure!(answer.status == 200 && answer.result()?["isError"] != true, "{answer:?}");
        Ok(())
    }
}

/// The statuses of all answers in these bytes.
fn statuses(answers: &str) -> Vec<u16> {
    let after = |start: &str| start.get(..3).and_then(|status| status.parse().ok());
    answers.split("HTTP/1.1 ").skip(1).filter_map(after).collect()
}
