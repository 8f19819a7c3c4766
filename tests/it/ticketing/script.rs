//! A Jira of exact answers: what it says to each request is up to the test.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server. Ends when it is dropped.
pub(super) struct Script {
    pub(super) url: String,
    seen: watch::Sender<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) requests: Vec<Heard>,
    /// Requests that hang and whose caller is still there.
    pub(super) hanging: usize,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Value,
}

pub(super) enum Say {
    Json(u16, Value),
    /// With headers, each with its line end.
    With(u16, String, Value),
    /// Nothing, until the caller is gone.
    Hang,
    /// The connection ends.
    Close,
}

impl Script {
    pub(super) async fn start(say: impl Fn(&Heard) -> Say + Send + Sync + 'static) -> Result<Self> {
        Self::start_at("127.0.0.1:0", say).await
    }

    pub(super) async fn start_at(address: &str, say: impl Fn(&Heard) -> Say + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (seen, say) = (watch::Sender::new(Seen::default()), Arc::new(say));
        let told = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (told, say) = (told.clone(), say.clone());
                connections.spawn(async move { serve(stream, &told, &*say).await });
            }
        });
        Ok(Self { url, seen, task })
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(super) async fn wait_until(&self, holds: impl FnMut(&Seen) -> bool) -> Result<()> {
        let mut seen = self.seen.subscribe();
        tokio::time::timeout(PATIENCE, seen.wait_for(holds)).await.context("never seen")??;
        Ok(())
    }

    /// The methods and targets of all requests but the probes.
    pub(super) fn asked(&self) -> Vec<String> {
        let seen = self.seen();
        let others = seen.requests.iter().filter(|heard| !heard.target.ends_with("/myself"));
        others.map(|heard| format!("{} {}", heard.method, heard.target)).collect()
    }

    /// How many requests were to change something.
    pub(super) fn writes(&self) -> usize {
        let is_write = |heard: &&Heard| heard.method == "POST" && !heard.target.ends_with("/search/jql");
        self.seen().requests.iter().filter(is_write).count()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: &watch::Sender<Seen>, say: &(dyn Fn(&Heard) -> Say + Send + Sync)) {
    while let Some(heard) = read(&mut stream).await {
        seen.send_modify(|seen| seen.requests.push(heard.clone()));
        let (status, headers, body) = match say(&heard) {
            Say::Json(status, body) => (status, String::new(), body),
            Say::With(status, headers, body) => (status, headers, body),
            Say::Close => return,
            Say::Hang => {
                seen.send_modify(|seen| seen.hanging += 1);
                let _ = stream.read(&mut [0]).await;
                return seen.send_modify(|seen| seen.hanging -= 1);
            }
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let length: usize = length.trim().parse().ok()?;
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let first = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut words = first.lines().next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let body = serde_json::from_slice(&bytes[end..]).unwrap_or_default();
    Some(Heard { method, target, body })
}

/// An issue in the status `To Do`, as Jira writes it.
pub(super) fn issue(key: &str, project: &str) -> Value {
    json!({ "id": "10001", "key": key, "fields": {
        "summary": "Card declined", "project": { "key": project, "name": "Support" },
        "status": { "name": "To Do", "statusCategory": { "key": "new", "name": "To Do" } },
        "issuetype": { "name": "Task" }, "priority": { "name": "High" }, "labels": ["cards"],
        "assignee": null, "reporter": { "displayName": "Ann", "emailAddress": "ann@example.com" },
        "created": "2026-11-20T08:00:00.000+0000", "updated": "2026-11-21T10:00:00.000+0200",
        "description": { "type": "doc", "version": 1, "content": [
            { "type": "paragraph", "content": [{ "type": "text", "text": "It was declined." }] }
        ] },
    } })
}

/// What Jira says to everything that a ticket in `SUP` can be asked; nothing is remembered.
pub(super) fn usual(heard: &Heard) -> Say {
    let path = heard.target.split('?').next().unwrap_or_default();
    let comment = json!({ "id": "7", "author": { "displayName": "Bot" }, "body": null, "created": "2026-11-22T08:00:00.000+0000" });
    match (heard.method.as_str(), path) {
        ("GET", "/rest/api/3/myself") => Say::Json(200, json!({ "accountId": "5" })),
        ("POST", "/rest/api/3/issue") => Say::Json(201, json!({ "id": "10001", "key": "SUP-1", "self": "" })),
        ("POST", "/rest/api/3/search/jql") => {
            Say::Json(200, json!({ "issues": [issue("SUP-1", "SUP")], "isLast": true }))
        }
        ("GET", path) if path.ends_with("/comment") => Say::Json(200, json!({ "comments": [], "total": 0 })),
        ("POST", path) if path.ends_with("/comment") => Say::Json(201, comment),
        ("GET", path) if path.ends_with("/transitions") => Say::Json(
            200,
            json!({ "transitions": [
            { "id": "21", "name": "Start", "to": { "name": "In Progress", "statusCategory": { "key": "indeterminate" } } },
            { "id": "31", "name": "Close", "to": { "name": "Done", "statusCategory": { "key": "done" } } },
        ] }),
        ),
        ("POST", path) if path.ends_with("/transitions") => Say::Json(204, Value::Null),
        ("GET", path) => Say::Json(200, issue(path.rsplit('/').next().unwrap_or_default(), "SUP")),
        _ => Say::Json(405, Value::Null),
    }
}
