//! A downstream that counts how often it is asked, and that a test can hold, break and change behind Weir's back.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tests::PATIENCE;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What it saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// How often each target was read, whatever came of it.
    pub(super) reads: HashMap<String, usize>,
    pub(super) writes: usize,
    /// How many reads are under way, and how many were at most.
    pub(super) running: usize,
    pub(super) running_max: usize,
}

impl Seen {
    /// How often anything was read.
    pub(super) fn all(&self) -> usize {
        self.reads.values().sum()
    }

    /// How often this target was read.
    pub(super) fn of(&self, target: &str) -> usize {
        self.reads.get(target).copied().unwrap_or_default()
    }
}

/// Speaks HTTP:
///
/// | request | answer |
/// |---|---|
/// | `GET /value/{key}` | the value that the key had when the request came, and the number of this read |
/// | `PUT /value/{key}/{value}` | sets it |
/// | `POST /echo` | the number of this read |
/// | `GET /status/{code}` | an answer with that status |
/// | `GET /refused` | an error screen |
pub(super) struct Source {
    pub(super) url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    values: Mutex<HashMap<String, u64>>,
    reads: AtomicU64,
    seen: watch::Sender<Seen>,
    /// Whether reads wait.
    held: watch::Sender<bool>,
    /// Whether everything is answered with 503.
    broken: watch::Sender<bool>,
}

/// Counts a read as under way, also one whose caller goes.
struct UnderWay<'a>(&'a Shared);

impl Source {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            values: Mutex::default(),
            reads: AtomicU64::new(0),
            seen: watch::Sender::default(),
            held: watch::Sender::default(),
            broken: watch::Sender::default(),
        });
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self { url, shared, serving })
    }

    pub(super) fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    /// Waits until it has seen something.
    pub(super) async fn wait_until(&self, reached: impl FnMut(&Seen) -> bool) -> Result<Seen> {
        let mut seen = self.shared.seen.subscribe();
        let reached = tokio::time::timeout(PATIENCE, seen.wait_for(reached)).await;
        let reached = reached.with_context(|| format!("waited in vain; seen so far: {:?}", self.seen()))?;
        Ok(reached?.clone())
    }

    /// Changes a value behind Weir's back.
    pub(super) fn set(&self, key: &str, value: u64) {
        self.shared.values().insert(key.to_owned(), value);
    }

    /// Whether reads wait before they are answered. What they will say is settled when they come.
    pub(super) fn hold(&self, hold: bool) {
        self.shared.held.send_replace(hold);
    }

    /// Whether every request is answered with 503.
    pub(super) fn breaks(&self, broken: bool) {
        self.shared.broken.send_replace(broken);
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn values(&self) -> std::sync::MutexGuard<'_, HashMap<String, u64>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> (StatusCode, Value) {
        let (parts, body) = request.into_parts();
        // Whatever it holds, it is read to its end, so that the connection can be used again.
        let _ = body.collect().await;
        let target = parts.uri.path().to_owned();
        let words: Vec<_> = target.split('/').skip(1).collect();
        if let ["value", key, value] = words[..]
            && parts.method == Method::PUT
        {
            if *self.broken.borrow() {
                return (StatusCode::SERVICE_UNAVAILABLE, json!({ "down": true }));
            }
            self.seen.send_modify(|seen| seen.writes += 1);
            self.values().insert(key.to_owned(), value.parse().unwrap_or_default());
            return (StatusCode::OK, json!({ "key": key, "value": value }));
        }
        let under_way = UnderWay::begin(self, &target);
        let fetch = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        let (status, answer) = match words[..] {
            ["value", key] => {
                let value = self.values().get(key).copied().unwrap_or_default();
                (StatusCode::OK, json!({ "key": key, "value": value, "fetch": fetch }))
            }
            ["echo"] => (StatusCode::OK, json!({ "fetch": fetch })),
            ["status", code] => {
                let code = code.parse().unwrap_or(StatusCode::NOT_FOUND);
                (code, json!({ "fetch": fetch }))
            }
            ["refused"] => (StatusCode::OK, json!({ "refused": true, "fetch": fetch })),
            _ => (StatusCode::NOT_FOUND, json!({ "fetch": fetch })),
        };
        let mut held = self.held.subscribe();
        let _ = held.wait_for(|held| !held).await;
        drop(under_way);
        if *self.broken.borrow() {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "down": true }))
        } else {
            (status, answer)
        }
    }
}

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared, target: &str) -> Self {
        shared.seen.send_modify(|seen| {
            *seen.reads.entry(target.to_owned()).or_default() += 1;
            seen.running += 1;
            seen.running_max = seen.running_max.max(seen.running);
        });
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.seen.send_modify(|seen| seen.running -= 1);
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| {
            let shared = shared.clone();
            async move {
                let (status, answer) = shared.answer(request).await;
                let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                *response.status_mut() = status;
                response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
                Ok::<_, Infallible>(response)
            }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}
