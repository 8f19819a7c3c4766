//! A closed loop: each connection asks again as soon as it has its answer, and every answer is checked.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};

/// What is asked, and what a right answer holds.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    authority: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    expected: Box<str>,
}

impl Target {
    /// A modern request for `method` to the endpoint `url`; a right answer holds the text `expected`.
    pub(crate) fn new(url: &str, method: &str, mut params: Value, expected: &str) -> Result<Self> {
        let uri: Uri = url.parse()?;
        let version = "2026-07-28";
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": { "name": "weir-bench", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let mut headers = vec![("mcp-protocol-version", version.to_owned()), ("mcp-method", method.to_owned())];
        if let Some(name) = params["name"].as_str() {
            headers.push(("mcp-name", name.to_owned()));
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string().into();
        Ok(Self {
            authority: uri.authority().context("no host in the URL")?.to_string(),
            headers,
            body,
            expected: expected.into(),
        })
    }

    /// Opens a connection of its own.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, target: self.clone() })
    }
}

/// One connection to a target.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    target: Target,
}

impl Connection {
    /// Asks once and gives the answer's body.
    pub(crate) async fn ask(&mut self) -> Result<Bytes> {
        let request = Request::post("/mcp")
            .header("host", &self.target.authority)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let request = self.target.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(self.target.body.clone()))?).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    pub(crate) fn is_right(&self, answer: &[u8]) -> bool {
        let expected = self.target.expected.as_bytes();
        answer.windows(expected.len()).any(|window| window == expected)
    }
}

/// How hard and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) period: Duration,
}

impl Load {
    /// Loads the target, after a warm-up that does not count.
    pub(crate) async fn run(&self, name: &str, target: &Target) -> Result<Seen> {
        self.run_each(name, std::slice::from_ref(target)).await
    }

    /// Loads the targets, each of which has its share of the connections.
    pub(crate) async fn run_each(&self, name: &str, targets: &[Target]) -> Result<Seen> {
        self.during(self.period / 5, targets).await?;
        let started = Instant::now();
        let (latency, wrong) = self.during(self.period, targets).await?;
        Ok(Seen { name: name.to_owned(), connections: self.connections, took: started.elapsed(), latency, wrong })
    }

    async fn during(&self, period: Duration, targets: &[Target]) -> Result<(Histogram<u64>, u64)> {
        let until = Instant::now() + period;
        let mut loops = JoinSet::new();
        for target in targets.iter().cycle().take(self.connections) {
            let mut connection = target.connect().await?;
            loops.spawn(async move {
                let (mut latency, mut wrong) = (Histogram::<u64>::new(3)?, 0);
                while Instant::now() < until {
                    let asked = Instant::now();
                    let answer = connection.ask().await?;
                    latency.record(u64::try_from(asked.elapsed().as_micros())?)?;
                    wrong += u64::from(!connection.is_right(&answer));
                }
                anyhow::Ok((latency, wrong))
            });
        }
        let (mut all, mut wrong) = (Histogram::<u64>::new(3)?, 0);
        while let Some(ended) = loops.join_next().await {
            let (latency, more_wrong) = ended??;
            all.add(latency)?;
            wrong += more_wrong;
        }
        Ok((all, wrong))
    }
}

/// What a load came to.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    name: String,
    connections: usize,
    took: Duration,
    latency: Histogram<u64>,
    wrong: u64,
}

impl Seen {
    /// Answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.took.as_secs_f64()
    }

    /// What so much of the answers stayed under.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.rate();
        write!(
            f,
            "{:<32} {:>4} connections  {rate:>8.0} /s  p50 {:>7.2} ms  p99 {:>7.2} ms  max {:>7.2} ms  wrong answers {}",
            self.name,
            self.connections,
            self.latency_ms(0.5),
            self.latency_ms(0.99),
            self.latency.max() as f64 / 1000.0,
            self.wrong
        )
    }
}
