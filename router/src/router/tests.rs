//! Bugs: an adapter that panics costs the one call that met it, and nothing else.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use adapters::{
    Adapter, AdapterError, AdapterEvent, CallContext, CallerInputs, Offer, OfferedTool, Reply, Request, State,
};
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use serde_json::{Value, json, value::to_raw_value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Router;
use crate::{Downstream, downstream::Revision, server, telemetry};

const TOOLS: [&str; 5] = ["read", "write", "cached", "refreshed", "again"];
/// One call at a time: a place, a permit or a lease that a panic kept would be missed by the next one.
const CONFIG: &str = r#"
identity: { local: { roles: [all] } }
policy: { roles: { all: { allow: ["*"] } } }
downstreams:
  broken:
    mcp: { websocket: { url: "ws://127.0.0.1:9" } }
    calls_max: 1
    calls_max_shared: 1
    tools:
      read: { effect: read }
      again: { effect: read }
      write: { effect: write }
      cached: { effect: read, cache: { fresh_for: 1h, partition: shared } }
      refreshed: { effect: read, cache: { fresh_for: 10ms, stale_while_refreshing: 1h, partition: shared } }
"#;

/// Answers each call, except that it panics when it is told to.
#[derive(Debug, Default)]
struct Broken {
    panics_at: Mutex<Option<&'static str>>,
    panicked: AtomicUsize,
    answered: AtomicUsize,
    listed: AtomicUsize,
}

impl Broken {
    fn panic_at(&self, tool: &'static str) {
        *self.panics_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(tool);
    }
}

impl Adapter for Broken {
    fn list<'a>(&'a self, _ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>> {
        Box::pin(async {
            assert!(self.listed.fetch_add(1, Ordering::Relaxed) > 0, "a bug in the first listing");
            let tool = |name: &&str| {
                let definition = json!({ "name": name, "inputSchema": { "type": "object" } });
                let definition = to_raw_value(&definition).expect("a JSON value has a JSON text");
                OfferedTool { local_name: (*name).into(), definition, caller_inputs: CallerInputs::Known(Vec::new()) }
            };
            Ok(Offer { tools: TOOLS.iter().map(tool).collect(), ..Offer::default() })
        })
    }

    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>> {
        Box::pin(async move {
            if request.effect.writes() {
                ctx.about_to_send().await?;
            }
            let told = self
                .panics_at
                .lock()
                .expect("nobody panics while holding it")
                .take_if(|at| **at == *request.local_name);
            if told.is_some() {
                self.panicked.fetch_add(1, Ordering::Relaxed);
                panic!("a bug");
            }
            let number = self.answered.fetch_add(1, Ordering::Relaxed);
            Ok(Reply::Complete(format!(r#"{{"content":[],"number":{number}}}"#).into()))
        })
    }

    /// Says again and again that its list changed, so that it is asked for soon after a failure.
    fn events(&self) -> BoxStream<'static, AdapterEvent> {
        let changed = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((AdapterEvent::ListChanged, ()))
        });
        stream::iter([AdapterEvent::State(State::up())]).chain(changed.boxed()).boxed()
    }
}

struct Scene {
    router: Arc<Router>,
    broken: Arc<Broken>,
}

impl Scene {
    async fn new() -> Self {
        telemetry::recorder();
        let loaded = config::parse(CONFIG, "weir.yaml", Path::new(".")).expect("a config");
        let surroundings = loaded.surroundings().expect("it refers to nothing");
        let broken = Arc::<Broken>::default();
        let of_config = loaded.config.downstreams.iter().map(|(name, settings)| {
            let revision = Revision::of(settings, &loaded.sources, &[]);
            let made = Downstream::new(name, settings, &loaded.sources, revision, None);
            let mut downstream = made.expect("it can be made");
            downstream.adapter = broken.clone();
            Arc::new(downstream)
        });
        let router = Router::with(&loaded, &surroundings, of_config.collect()).expect("a router");
        let scene = Self { router, broken };
        scene.until("the tools are listed", async || scene.router.tools().len() >= TOOLS.len()).await;
        scene
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .unwrap_or_else(|_| panic!("waited in vain until {what}"));
    }

    /// Status and body of a call by the plain API, or by MCP.
    async fn call(&self, path: &str, tool: &str) -> (u16, Value) {
        let name = format!("broken__{tool}");
        let (headers, body) = if path == "/mcp" {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            let params = json!({ "name": name, "arguments": {}, "_meta": meta });
            let headers = format!("mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: {name}\r\n");
            (headers, json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string())
        } else {
            (String::new(), json!({ "name": name }).to_string())
        };
        let (mut caller, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(server::serve_io(self.router.clone(), far));
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        caller.write_all(head.as_bytes()).await.expect("there is room");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
    }

    /// What the newest audit record says that became of its call.
    fn recorded(&self) -> String {
        let newest = self.router.audit.recent(1).pop().expect("a record");
        let record: Value = serde_json::from_str(newest.get()).expect("JSON");
        record["outcome"].as_str().unwrap_or_default().to_owned()
    }

    fn records(&self) -> usize {
        self.router.audit.recent(1_000).len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_an_adapter_costs_the_call_that_met_it() {
    let scene = Scene::new().await;
    for tool in ["read", "cached"] {
        scene.broken.panic_at(tool);
        let (status, body) = scene.call("/v1/tools/call", tool).await;
        assert_eq!((status, scene.recorded().as_str()), (500, "internal_error"), "{tool}: {body}");
        assert!(!body.to_string().contains("a bug"), "{body}");
        scene.broken.panic_at(tool);
        let (status, body) = scene.call("/mcp", tool).await;
        assert_eq!(
            (&body["error"]["code"], scene.recorded().as_str()),
            (&json!(-32603), "internal_error"),
            "{status} {body}"
        );
        assert_eq!(scene.call("/v1/tools/call", "again").await.0, 200, "{tool}: nothing is kept");
        assert_eq!(scene.call("/v1/tools/call", tool).await.0, 200, "{tool}: it is only a call");
    }
    assert_eq!(scene.broken.panicked.load(Ordering::Relaxed), 4);
    assert_eq!(scene.records(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_had_left_when_a_bug_struck_is_of_unknown_outcome() {
    let scene = Scene::new().await;
    scene.broken.panic_at("write");
    let (status, body) = scene.call("/v1/tools/call", "write").await;
    assert_eq!(scene.recorded(), "outcome_unknown", "{status} {body}");
    assert!(body.to_string().contains("weir/operation_id"), "{body}");
    assert_eq!(scene.call("/v1/tools/call", "write").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_for_a_fetch_that_panics_are_told_and_the_next_one_fetches() {
    let scene = Scene::new().await;
    scene.broken.panic_at("cached");
    let calls = futures_util::future::join_all((0..8).map(|_| scene.call("/v1/tools/call", "cached"))).await;
    // Some may find what the fetch after it brought.
    assert!(calls.iter().all(|(status, _)| matches!(status, 200 | 500)), "{calls:?}");
    assert_eq!(scene.broken.panicked.load(Ordering::Relaxed), 1);
    assert_eq!(scene.call("/v1/tools/call", "cached").await.0, 200);
    assert_eq!(scene.records(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_behind_a_stale_answer_costs_nobody_anything() {
    let scene = Scene::new().await;
    let number = async || {
        let (status, body) = scene.call("/v1/tools/call", "refreshed").await;
        assert_eq!(status, 200, "{body}");
        body["result"]["number"].as_u64().unwrap_or_else(|| panic!("{body}"))
    };
    let first = number().await;
    scene.broken.panic_at("refreshed");
    scene
        .until("a refresh has panicked", async || {
            let stale = number().await == first;
            scene.broken.panicked.load(Ordering::Relaxed) == 1 && stale
        })
        .await;
    scene.until("a later one has not", async || number().await > first).await;
}
